"""Reading and writing video, whatever a file says of itself, and its optical flow."""
