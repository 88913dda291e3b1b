"""The stage pose: finds and tracks the 2D keypoints of the dancers."""
