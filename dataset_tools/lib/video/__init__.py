"""Read and write video, also untrusted or unusual files, and compute optical flow."""
