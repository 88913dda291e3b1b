"""D2M-GAN (Zhu et al., ECCV 2022): networks, training, generation and evaluation, one module per stage."""

import dataset_tools  # noqa: F401 - what it does for `python -m`
