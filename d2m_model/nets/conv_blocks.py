"""Convolution blocks of JukeBox's autoencoders (Dhariwal et al. 2020, section 3).

Attribute names and nesting give the state-dict keys of the published checkpoint, so attributes must stay called `model`.
"""

import torch
import torch.nn.functional as F
from torch import nn

from d2m_model.nets.cpu import row_convolution

DILATION_GROWTH = 3

PIECE = 2048
"""Rows of a piece. With 32 channels they take 256 KB, so that a core's cache holds the input and the results."""


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

    def rows(self, x: torch.Tensor) -> torch.Tensor:
        """`forward` on rows (L, width), changed in place; see `row_convolution`."""
        return row_convolution.residual(x, self.model)


class ResidualStack(nn.Module):
    """`depth` residual convolutions with dilations 1, 3, 9, ...; in decoders the dilations fall instead of rising."""

    def __init__(self, width: int, depth: int, *, falling: bool = False):
        super().__init__()
        dilations = [DILATION_GROWTH**i for i in range(depth)]
        self.model = nn.Sequential(*(ResidualConv(width, d) for d in (reversed(dilations) if falling else dilations)))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, width, L) to (B, width, L)."""
        return self.model(x)

    def rows(self, x: torch.Tensor) -> torch.Tensor:
        """`forward` on rows (L, width), in pieces that fit the processor's cache, each with its receptive field on either side."""
        made, reach = torch.empty_like(x), sum(block.model[1].dilation[0] for block in self.model)
        size = max(PIECE, 4 * reach)  # deep stacks have a large receptive field
        for start in range(0, len(x), size):
            first = max(0, start - reach)
            piece = x[first : start + size + reach].clone()
            for block in self.model:
                piece = block.rows(piece)
            made[start : start + size] = piece[start - first : start - first + size]
        return made


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

    def rows(self, x: torch.Tensor) -> torch.Tensor:
        """(L, channels_in) to (L / 2**halvings, channels_out)."""
        *stages, last = self.model
        for halve, stack in stages:
            x = stack.rows(row_convolution.halved(x, halve))
        return row_convolution.same(x, last)


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

    def rows(self, x: torch.Tensor) -> torch.Tensor:
        """(L, channels) to (L * 2**doublings, channels)."""
        first, *stages = self.model
        x = row_convolution.same(x, first)
        for stack, rise in stages:
            x = row_convolution.doubled(stack.rows(x), rise)
        return x


def doubled_output(x: torch.Tensor, rise: nn.ConvTranspose1d, out: nn.Conv1d) -> torch.Tensor:
    """out(rise(x)) for x (B, C, L), computed as one transposed convolution to (B, 1, 2 L); equal up to rounding.

    rise: kernel 4, stride 2, padding 1; out: kernel 3, padding 1, one channel. There is no non-linearity between them. The
    64 channels of `rise` at the full rate would cost as much time and memory as the rest of a small decoder.
    """
    length = 2 * x.shape[2]
    kernel = F.conv1d(rise.weight, out.weight, padding=2)  # (C, 1, 6)
    taps = torch.einsum("oct,c->t", out.weight, rise.bias)  # the bias of `rise`, seen through each tap of `out`
    if row_convolution.takes(x):
        y = torch.stack([row_convolution.spread(one.t(), kernel[:, 0], out.bias + taps.sum()) for one in x])[:, None]
    else:
        y = F.conv_transpose1d(x, kernel, out.bias + taps.sum(), stride=2, padding=2)
    # At both ends `out` pads with zeros, but the joint kernel reads the samples that `rise` cuts off: subtract these.
    before = torch.einsum("bi,ic,oc->bo", x[:, :, 0], rise.weight[:, :, 0], out.weight[:, :, 0]) + taps[0]
    after = torch.einsum("bi,ic,oc->bo", x[:, :, -1], rise.weight[:, :, 3], out.weight[:, :, 2]) + taps[2]
    return y - F.pad(before[:, :, None], (0, length - 1)) - F.pad(after[:, :, None], (length - 1, 0))
