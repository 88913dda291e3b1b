"""D2M-GAN (Zhu et al., ECCV 2022): networks, training, generation and evaluation, a folder for each stage."""

import dataset_tools  # noqa: F401 - what it does for `python -m`
