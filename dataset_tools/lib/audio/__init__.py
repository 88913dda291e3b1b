"""Read audio files and process audio: mixing to mono, cross-fades, time stretching."""
