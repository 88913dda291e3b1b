"""Convolutions and memory as a CPU does them fast: equal to torch's but for rounding."""
