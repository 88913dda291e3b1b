"""Convolution blocks of JukeBox's autoencoders (Dhariwal et al. 2020, section 3).

Attribute names and nesting give the state-dict keys of the published checkpoint, so attributes must stay called `model`.
"""

import torch
from torch import nn

DILATION_GROWTH = 3


class ResidualConv(nn.Module):
    """x + (ReLU, dilated convolution of kernel 3, ReLU, convolution of kernel 1)(x), on (B, width, L)."""

    def __init__(self, width: int, dilation: int):
        super().__init__()
        self.model = nn.Sequential(
            nn.ReLU(),
            nn.Conv1d(width, width, 3, padding=dilation, dilation=dilation),
            nn.ReLU(),
            nn.Conv1d(width, width, 1),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, width, L) to (B, width, L)."""
        return x + self.model(x)


class ResidualStack(nn.Module):
    """`depth` residual convolutions with dilations 1, 3, 9, ...; in decoders the dilations fall instead of rising."""

    def __init__(self, width: int, depth: int, *, falling: bool = False):
        super().__init__()
        dilations = [DILATION_GROWTH**i for i in range(depth)]
        self.reach = sum(dilations)
        """Time steps on either side that one output depends on."""
        self.model = nn.Sequential(*(ResidualConv(width, d) for d in (reversed(dilations) if falling else dilations)))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, width, L) to (B, width, L)."""
        return self.model(x)


class DownBlock(nn.Module):
    """(B, channels_in, L) to (B, channels_out, L / 2**halvings); each halving rounds down."""

    def __init__(self, channels_in: int, channels_out: int, halvings: int, width: int, depth: int):
        super().__init__()
        stages = [
            nn.Sequential(
                nn.Conv1d(width if i else channels_in, width, 4, stride=2, padding=1), ResidualStack(width, depth)
            )
            for i in range(halvings)
        ]
        self.model = nn.Sequential(*stages, nn.Conv1d(width, channels_out, 3, padding=1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, channels_in, L) to (B, channels_out, L / 2**halvings)."""
        return self.model(x)


class UpBlock(nn.Module):
    """(B, channels, L) to (B, channels, L * 2**doublings)."""

    def __init__(self, channels: int, doublings: int, width: int, depth: int):
        super().__init__()
        stages = [
            nn.Sequential(
                ResidualStack(width, depth, falling=True),
                nn.ConvTranspose1d(width, width if i < doublings - 1 else channels, 4, stride=2, padding=1),
            )
            for i in range(doublings)
        ]
        self.model = nn.Sequential(nn.Conv1d(channels, width, 3, padding=1), *stages)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, channels, L) to (B, channels, L * 2**doublings)."""
        return self.model(x)
