"""Support for AIST++ (Li et al., ICCV 2021): its names, its annotation files, and its conversion to a corpus."""
