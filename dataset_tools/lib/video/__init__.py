"""Seeing dancers: 2-D pose by OpenPifPaf, tracking and joint layouts; I3D features; reading video, panels, normalising.

Imports no stage. OpenPifPaf is imported by `pifpaf_compat` and `pose_net` alone, which `poser` imports when it poses.
"""
