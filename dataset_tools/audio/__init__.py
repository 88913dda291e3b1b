"""The stage audio: each clip's sound as mono at 22 050 Hz, as long as its picture."""
