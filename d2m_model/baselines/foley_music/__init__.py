"""Foley Music (Gan et al., ECCV 2020): a score from the body's keypoints."""
