"""The stage audio: extracts the audio of each clip as mono at 22 050 Hz, exactly as long as its video."""
