"""Networks. Each maps tensors with named axes to tensors; none reads files or trains."""
