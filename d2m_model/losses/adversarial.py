"""Adversarial terms over several discriminators; each discriminator gives a score map and the feature maps of its layers."""

from collections.abc import Sequence
from functools import reduce

import torch
import torch.nn.functional as F

Scores = Sequence[torch.Tensor]
Features = Sequence[Sequence[torch.Tensor]]


def hinge_discriminator(real: Scores, fake: Scores) -> torch.Tensor:
    """Sum over scales of mean relu(1 - D(real)) + mean relu(1 + D(fake)) (paper, Eq. 2).

    real, fake: per scale a score map (B, 1, T). Returns a scalar.
    """
    return reduce(torch.add, (F.relu(1 - r).mean() + F.relu(1 + f).mean() for r, f in zip(real, fake, strict=True)))


def hinge_generator(fake: Scores) -> torch.Tensor:
    """Sum over scales of -mean D(fake). fake: per scale a score map (B, 1, T). Returns a scalar."""
    return reduce(torch.add, (-f.mean() for f in fake))


def feature_matching(real: Features, fake: Features) -> torch.Tensor:
    """L1 between the discriminators' features of real and generated input, averaged over scales and layers (paper, Eq. 3).

    real, fake: per scale a list of feature maps (B, C, T). `real` gets no gradient. Returns a scalar.
    """
    terms = [
        F.l1_loss(f, r.detach())
        for scale_real, scale_fake in zip(real, fake, strict=True)
        for r, f in zip(scale_real, scale_fake, strict=True)
    ]
    return torch.stack(terms).mean()
