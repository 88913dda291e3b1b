"""The stage evaluate: scores of every system and control, and of any two folders of audio files."""
