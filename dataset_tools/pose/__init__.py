"""The stage pose: the dancers' 2D keypoints, tracked."""
