"""From a dance of any length to a finished sound and a video with it: windows, cross-fades, denoising, muxing."""
