"""JukeBox's convolutions without gradients on a CPU, as matrix products of rows. A row holds all channels of one time step.

Torch's 1-D convolution of 32 channels over a second of audio reaches a sixth of a core's peak. Here a kernel of k taps is k
products of the rows (L, C), and ReLU and sum work in place. Results equal torch's up to rounding.
"""

import torch
from torch import nn


def takes(x: torch.Tensor) -> bool:
    """Whether these functions can take `x`: float32 on the CPU, without gradients and without autocast."""
    return (
        x.device.type == "cpu"
        and x.dtype == torch.float32
        and not torch.is_grad_enabled()
        and not torch.is_autocast_enabled("cpu")
    )


def same(rows: torch.Tensor, conv: nn.Conv1d) -> torch.Tensor:
    """Rows (L, C) to (L, C'): a convolution that keeps the length, with kernel 1 or 3 and any dilation."""
    taps = conv.weight.permute(2, 1, 0)  # (k, C, C')
    made = torch.addmm(conv.bias, rows, taps[len(taps) // 2])
    reach = conv.dilation[0]
    if len(taps) == 3 and reach < len(rows):
        made[reach:].addmm_(rows[:-reach], taps[0])
        made[:-reach].addmm_(rows[reach:], taps[2])
    return made


def halved(rows: torch.Tensor, conv: nn.Conv1d) -> torch.Tensor:
    """Rows (L, C) to (L // 2, C'): a convolution with kernel 4, stride 2, padding 1."""
    length, channels = len(rows) // 2, rows.shape[1]
    padded = torch.cat([rows.new_zeros(1, channels), rows, rows.new_zeros(1, channels)])[: 2 * length + 2]
    pairs = padded.reshape(length + 1, 2 * channels)
    taps = conv.weight.permute(2, 1, 0).reshape(2, 2 * channels, -1)
    return torch.addmm(conv.bias, pairs[:-1], taps[0]).addmm_(pairs[1:], taps[1])


def doubled(rows: torch.Tensor, conv: nn.ConvTranspose1d) -> torch.Tensor:
    """Rows (L, C) to (2 L, C'): a transposed convolution with kernel 4, stride 2, padding 1."""
    before, even, odd, after = conv.weight.permute(2, 0, 1)[[3, 1, 2, 0]]  # (C, C') each
    pairs = torch.addmm(torch.cat([conv.bias, conv.bias]), rows, torch.cat([even, odd], 1))
    width = even.shape[1]
    pairs[1:, :width].addmm_(rows[:-1], before)
    pairs[:-1, width:].addmm_(rows[1:], after)
    return pairs.reshape(2 * len(rows), width)


def residual(rows: torch.Tensor, block: nn.Sequential) -> torch.Tensor:
    """A residual convolution of `conv_blocks` on rows (L, C), in place."""
    _, wide, _, narrow = block
    hidden = same(rows.relu(), wide).relu_()
    return rows.addmm_(hidden, narrow.weight[:, :, 0].t()).add_(narrow.bias)


def spread(rows: torch.Tensor, kernel: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
    """Rows (L, C) to (2 L,): a transposed convolution to one channel with kernel (C, 6), bias (), stride 2, padding 2."""
    pairs = rows @ kernel[:, 2:4]
    pairs[:-1] += rows[1:] @ kernel[:, 0:2]
    pairs[1:] += rows[:-1] @ kernel[:, 4:6]
    return pairs.reshape(-1) + bias
