"""The adapter of AIST++ (Li et al., ICCV 2021): its names, its annotation files, and the corpus the stages read."""
