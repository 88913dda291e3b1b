"""The stage `generate`: from a dance of any length to a finished sound, and a video with it."""
