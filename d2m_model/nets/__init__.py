"""Networks. Each takes and gives tensors with named axes and knows nothing of files or training."""
