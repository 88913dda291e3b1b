"""D2M-GAN (Zhu et al., ECCV 2022): networks, training, generation and evaluation, a folder for each stage."""

import os

import dataset_tools  # noqa: F401 - what it does for `python -m`

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
"""Threads that wait for each other sleep instead of spinning (docs/performance.md). OpenMP reads it when torch is loaded."""
