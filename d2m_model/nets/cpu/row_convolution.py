"""JukeBox's convolutions without a gradient on a CPU: products of rows, a row being all channels of one moment.

Torch's 1-D convolution of 32 channels over a second of sound reaches a sixth of what a core can do. A kernel of k taps is k products
of the rows (L, C) with a matrix each, and what lies beside it, ReLU and sum, stays in place. Equal but for rounding.
"""

import torch
from torch import nn


def takes(x: torch.Tensor) -> bool:
    """Whether `x` is for these: float32 on the CPU, where nobody asks for a gradient or another precision."""
    return (
        x.device.type == "cpu"
        and x.dtype == torch.float32
        and not torch.is_grad_enabled()
        and not torch.is_autocast_enabled("cpu")
    )


def same(rows: torch.Tensor, conv: nn.Conv1d) -> torch.Tensor:
    """Rows (L, C') of rows (L, C): a convolution that keeps the length, of kernel 1 or 3 and any dilation."""
    taps = conv.weight.permute(2, 1, 0)  # (k, C, C')
    made = torch.addmm(conv.bias, rows, taps[len(taps) // 2])
    reach = conv.dilation[0]
    if len(taps) == 3 and reach < len(rows):
        made[reach:].addmm_(rows[:-reach], taps[0])
        made[:-reach].addmm_(rows[reach:], taps[2])
    return made


def halved(rows: torch.Tensor, conv: nn.Conv1d) -> torch.Tensor:
    """Rows (L // 2, C') of rows (L, C): kernel 4, stride 2, padding 1."""
    length, channels = len(rows) // 2, rows.shape[1]
    padded = torch.cat([rows.new_zeros(1, channels), rows, rows.new_zeros(1, channels)])[: 2 * length + 2]
    pairs = padded.reshape(length + 1, 2 * channels)
    taps = conv.weight.permute(2, 1, 0).reshape(2, 2 * channels, -1)
    return torch.addmm(conv.bias, pairs[:-1], taps[0]).addmm_(pairs[1:], taps[1])


def doubled(rows: torch.Tensor, conv: nn.ConvTranspose1d) -> torch.Tensor:
    """Rows (2 L, C') of rows (L, C): transposed, kernel 4, stride 2, padding 1."""
    before, even, odd, after = conv.weight.permute(2, 0, 1)[[3, 1, 2, 0]]  # (C, C') each, by the row that it reads
    pairs = torch.addmm(torch.cat([conv.bias, conv.bias]), rows, torch.cat([even, odd], 1))
    width = even.shape[1]
    pairs[1:, :width].addmm_(rows[:-1], before)
    pairs[:-1, width:].addmm_(rows[1:], after)
    return pairs.reshape(2 * len(rows), width)


def residual(rows: torch.Tensor, block: nn.Sequential) -> torch.Tensor:
    """`rows` (L, C), changed in place: a residual convolution of `conv_blocks`."""
    _, wide, _, narrow = block
    hidden = same(rows.relu(), wide).relu_()
    return rows.addmm_(hidden, narrow.weight[:, :, 0].t()).add_(narrow.bias)


def spread(rows: torch.Tensor, kernel: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
    """(2 L,) of rows (L, C): transposed to one channel, stride 2, padding 2, of a kernel (C, 6) and a bias ()."""
    pairs = rows @ kernel[:, 2:4]
    pairs[:-1] += rows[1:] @ kernel[:, 0:2]
    pairs[1:] += rows[:-1] @ kernel[:, 4:6]
    return pairs.reshape(-1) + bias
