"""The stage `generate`: finished music for a dance of any length, and the video with it."""
