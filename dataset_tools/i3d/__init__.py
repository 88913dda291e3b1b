"""The stage i3d: visual features of each second of a clip."""
