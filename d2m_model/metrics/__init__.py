"""Metrics of generated music: pure functions from audio or onset times to numbers, and what is shared by those who use them."""
