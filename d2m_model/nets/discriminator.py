"""Multi-scale discriminator of the paper's Table T11, for waveforms (1 channel) and for code sequences."""

from dataclasses import dataclass
from itertools import pairwise
from math import gcd

import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.utils.parametrizations import weight_norm

from d2m_model.nets.cpu.layers import Conv1d

LEAK = 0.2
STRIDED_LAYERS = 4  # layers of kernel 41, stride 4, grouped


@dataclass(frozen=True, kw_only=True)
class DiscriminatorConfig:
    """Sizes of one discriminator block: its seven convolutions' channels and the first one's kernel."""

    widths: tuple[int, ...] = (16, 64, 256, 1024, 1024, 1024)
    """Channels of the first six convolutions; the seventh gives the score, 1 channel."""
    first_kernel: int = 15
    scales: int = 3
    """Number of blocks: the first reads the input, each further one the input averaged down by 2 once more."""

    def scaled(self, factor: float) -> "DiscriminatorConfig":
        """This config with every width multiplied by `factor` and rounded to a multiple of 4, as the groups need."""
        widths = tuple(max(4, 4 * round(width * factor / 4)) for width in self.widths)
        return DiscriminatorConfig(widths=widths, first_kernel=self.first_kernel, scales=self.scales)


DISCRIMINATORS = {
    "paper": DiscriminatorConfig(),
    "released": DiscriminatorConfig(widths=(32, 128, 512, 1024, 1024, 512), first_kernel=16),
}


def discriminator_config(preset: str = "paper", *, width: float = 1.0, scales: int = 3) -> DiscriminatorConfig:
    """Sizes of a preset with its widths multiplied by `width` and with 1 to 3 scales. Raises ValueError for other values."""
    if preset not in DISCRIMINATORS:
        raise ValueError(f"discriminator preset must be one of {', '.join(DISCRIMINATORS)}, found '{preset}'")
    if not 1 <= scales <= 3:
        raise ValueError(f"discriminator scales must be 1, 2 or 3, found {scales}")
    base = DISCRIMINATORS[preset]
    return DiscriminatorConfig(widths=base.widths, first_kernel=base.first_kernel, scales=scales).scaled(width)


class DiscriminatorBlock(nn.Module):
    """One block of Table T11: weight-normalised convolutions, LeakyReLU after each but the last."""

    def __init__(self, config: DiscriminatorConfig, channels: int = 1):
        super().__init__()
        widths = config.widths
        layers: list[nn.Module] = [
            nn.Sequential(
                nn.ReflectionPad1d(7), _conv(channels, widths[0], config.first_kernel), nn.LeakyReLU(LEAK, inplace=True)
            )
        ]
        for before, after in pairwise(widths[: STRIDED_LAYERS + 1]):
            groups = gcd(before // 4, after)
            layers.append(
                nn.Sequential(
                    _conv(before, after, 41, stride=4, padding=20, groups=groups), nn.LeakyReLU(LEAK, inplace=True)
                )
            )
        layers.append(nn.Sequential(_conv(widths[-2], widths[-1], 5, padding=2), nn.LeakyReLU(LEAK, inplace=True)))
        layers.append(_conv(widths[-1], 1, 3, padding=1))
        self.model = nn.ModuleDict({f"layer_{i}": layer for i, layer in enumerate(layers)})

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, list[torch.Tensor]]:
        """Score map (B, 1, ceil(T / 256)) and the six feature maps before it, for x (B, channels, T), T at least 8."""
        features = []
        for layer in self.model.values():
            x = layer(x)
            features.append(x)
        return features[-1], features[:-1]


class MultiScaleDiscriminator(nn.Module):
    """`config.scales` blocks: on the input, and on the input averaged down by 2 and by 4. Each scores windows, not whole inputs."""

    def __init__(self, config: DiscriminatorConfig, channels: int = 1):
        super().__init__()
        self.model = nn.ModuleDict({f"disc_{i}": DiscriminatorBlock(config, channels) for i in range(config.scales)})

    def forward(self, x: torch.Tensor) -> tuple[list[torch.Tensor], list[list[torch.Tensor]]]:
        """For x (B, channels, T): per scale the score map (B, 1, T_i), and per scale the list of feature maps (B, C, T)."""
        scores, features = [], []
        for index, block in enumerate(self.model.values()):
            if index:
                x = F.avg_pool1d(x, 4, stride=2, padding=1, count_include_pad=False)
            score, layers = block(x)
            scores.append(score)
            features.append(layers)
        return scores, features


def _conv(before: int, after: int, kernel: int, **options: int) -> nn.Conv1d:
    conv = Conv1d(before, after, kernel, **options)
    nn.init.normal_(conv.weight, 0.0, 0.02)
    return weight_norm(conv)
