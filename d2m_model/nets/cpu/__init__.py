"""What a CPU computes faster than torch's own layers do, behind one switch (`switch.py`). Results equal torch's up to rounding.

Networks use `layers.Conv1d` instead of nn.Conv1d; the codec uses `row_convolution.through`; a training calls
`memory.keep_freed_memory`. The other files are the ways to compute.
"""
