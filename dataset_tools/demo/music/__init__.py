"""The demo's songs: score, sound and MIDI from a seed."""
