"""Foley Music (Gan et al., ECCV 2020): composes a score from body keypoints."""
