"""Loss terms: pure functions from tensors to a scalar."""
