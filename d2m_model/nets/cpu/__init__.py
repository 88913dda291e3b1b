"""Fast convolutions, products and memory handling for CPUs; results equal torch's up to rounding."""
