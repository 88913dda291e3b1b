"""The demo's songs: score, audio and MIDI from a seed."""
