"""The stage i3d: computes I3D features for each second of a clip."""
