"""Residual stacks of dilated 1-D convolutions (paper Table 10), shared by the motion encoder and the code generators."""

import torch
from torch import nn
from torch.nn import functional as F
from torch.nn.utils.parametrizations import weight_norm

from d2m_model.nets.cpu.layers import Conv1d

SLOPE = 0.2  # of every LeakyReLU


def scaled_channels(channels: int, width: float) -> int:
    """Channel count scaled by the width multiplier: a multiple of 4, at least 4."""
    return max(4, 4 * round(channels * width / 4))


class SameConv1d(nn.Module):
    """Convolution that maps length L to ceil(L / stride) for any kernel. It pads by reflection, with zeros where L is too short."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int = 1, dilation: int = 1):
        super().__init__()
        self.conv = nn.Conv1d(inputs, outputs, kernel, stride, dilation=dilation)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, C, L) -> (B, C', ceil(L / stride))."""
        kernel, stride, dilation = self.conv.kernel_size[0], self.conv.stride[0], self.conv.dilation[0]
        length = x.shape[-1]
        total = max(0, (-(-length // stride) - 1) * stride + (kernel - 1) * dilation + 1 - length)
        mode = "reflect" if total - total // 2 < length else "constant"
        return self.conv(F.pad(x, (total // 2, total - total // 2), mode=mode))


class PaperResidualBlock(nn.Module):
    """One block of Table 10: LReLU, dilated k3, LReLU, k1, plus a shortcut; batch normalisation after each convolution."""

    def __init__(self, channels: int, dilation: int):
        super().__init__()
        self.block = nn.Sequential(
            nn.LeakyReLU(SLOPE),
            SameConv1d(channels, channels, 3, dilation=dilation),
            nn.BatchNorm1d(channels),
            nn.LeakyReLU(SLOPE),
            nn.Conv1d(channels, channels, 1),
            nn.BatchNorm1d(channels),
        )
        self.shortcut = nn.Conv1d(channels, channels, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, C, L) -> (B, C, L)."""
        return self.shortcut(x) + self.block(x)


class ReleasedResidualBlock(nn.Module):
    """The released program's block: weight normalisation instead of batch normalisation; names as in its checkpoints."""

    def __init__(self, channels: int, dilation: int):
        super().__init__()
        self.block = nn.Sequential(
            nn.LeakyReLU(SLOPE),
            nn.Identity(),  # the released program has a padding layer here, which its checkpoints count
            weight_norm(Conv1d(channels, channels, 3, dilation=dilation, padding=dilation, padding_mode="reflect")),
            nn.LeakyReLU(SLOPE),
            weight_norm(Conv1d(channels, channels, 1)),
        )
        self.shortcut = weight_norm(Conv1d(channels, channels, 1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, C, L) -> (B, C, L), L > dilation."""
        return self.shortcut(x) + self.block(x)


class TemporalBlock(nn.Module):
    """Pre-normalised residual block of the preset `fixed`; it keeps the length, and any length works."""

    def __init__(self, channels: int, dilation: int, dropout: float = 0.0):
        super().__init__()
        self.block = nn.Sequential(
            nn.GroupNorm(4, channels),
            nn.SiLU(),
            nn.Conv1d(channels, channels, 3, padding=dilation, dilation=dilation),
            nn.SiLU(),
            nn.Dropout(dropout),
            nn.Conv1d(channels, channels, 1),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, C, L) -> (B, C, L)."""
        return x + self.block(x)


def paper_stack(channels: int) -> list[nn.Module]:
    """Three blocks, dilations 1, 3, 9 (Table 10)."""
    return [PaperResidualBlock(channels, d) for d in (1, 3, 9)]


def released_stack(channels: int) -> list[nn.Module]:
    """Four blocks, dilations 1, 3, 9, 27, as in the released program."""
    return [ReleasedResidualBlock(channels, d) for d in (1, 3, 9, 27)]
