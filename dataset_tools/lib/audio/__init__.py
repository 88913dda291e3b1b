"""Sound files and what is done to sounds: one channel of two, cross-fades, stretching."""
