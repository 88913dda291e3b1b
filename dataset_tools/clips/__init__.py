"""The stage clips: dances cut from their videos, cropped, at 30 frames a second."""
