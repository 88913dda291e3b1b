"""JukeBox's convolutions without gradients on a CPU, as matrix products of rows. A row holds all channels of one time step.

Torch's 1-D convolution of 32 channels over a second of audio reaches a sixth of a core's peak. Here a kernel of k taps is k
products of the rows (L, C), and ReLU and sum work in place. Results equal torch's up to rounding.
"""

from collections.abc import Iterable

import torch
import torch.nn.functional as F
from torch import nn

from d2m_model.nets.conv_blocks import DownBlock, ResidualConv, ResidualStack, UpBlock
from d2m_model.nets.cpu.switch import is_plain

PIECE = 2048
"""Rows of a piece. With 32 channels they take 256 KB, so that a core's cache holds the input and the results."""


def through(blocks: Iterable[nn.Module], x: torch.Tensor) -> torch.Tensor:
    """x (B, C, L) through blocks of `conv_blocks` or their parts, one after another; by rows if `takes(x)`."""
    if takes(x):
        return torch.stack([in_rows(nn.Sequential(*blocks), one.t()).t() for one in x])
    for block in blocks:
        x = block(x)
    return x


def doubled_output(x: torch.Tensor, rise: nn.ConvTranspose1d, out: nn.Conv1d) -> torch.Tensor:
    """out(rise(x)) for x (B, C, L), computed as one transposed convolution to (B, 1, 2 L); equal up to rounding.

    rise: kernel 4, stride 2, padding 1; out: kernel 3, padding 1, one channel. There is no non-linearity between them. The
    64 channels of `rise` at the full rate would cost as much time and memory as the rest of a small decoder.
    """
    if is_plain():
        return out(rise(x))
    assert rise.bias is not None and out.bias is not None
    length = 2 * x.shape[2]
    kernel = F.conv1d(rise.weight, out.weight, padding=2)  # (C, 1, 6)
    taps = torch.einsum("oct,c->t", out.weight, rise.bias)  # the bias of `rise`, seen through each tap of `out`
    if takes(x):
        y = torch.stack([spread(one.t(), kernel[:, 0], out.bias + taps.sum()) for one in x])[:, None]
    else:
        y = F.conv_transpose1d(x, kernel, out.bias + taps.sum(), stride=2, padding=2)
    # At both ends `out` pads with zeros, but the joint kernel reads the samples that `rise` cuts off: subtract these.
    before = torch.einsum("bi,ic,oc->bo", x[:, :, 0], rise.weight[:, :, 0], out.weight[:, :, 0]) + taps[0]
    after = torch.einsum("bi,ic,oc->bo", x[:, :, -1], rise.weight[:, :, 3], out.weight[:, :, 2]) + taps[2]
    return y - F.pad(before[:, :, None], (0, length - 1)) - F.pad(after[:, :, None], (length - 1, 0))


def takes(x: torch.Tensor) -> bool:
    """Whether `x` is computed by rows: float32 on the CPU, without gradients, autocast and `plain_torch`."""
    return (
        x.device.type == "cpu"
        and x.dtype == torch.float32
        and not torch.is_grad_enabled()
        and not torch.is_autocast_enabled("cpu")
        and not is_plain()
    )


def in_rows(block: nn.Module, rows: torch.Tensor) -> torch.Tensor:
    """`block` on rows (L, C), which gives rows (L', C')."""
    match block:
        case ResidualStack():
            return residual_stack(rows, block)
        case nn.Conv1d(stride=(2,)):
            return halved(rows, block)
        case nn.Conv1d():
            return same(rows, block)
        case nn.ConvTranspose1d():
            return doubled(rows, block)
        case DownBlock() | UpBlock():
            return in_rows(block.model, rows)
        case nn.Sequential():
            for part in block:
                rows = in_rows(part, rows)
            return rows
    raise TypeError(f"{type(block).__name__} cannot be computed by rows")


def same(rows: torch.Tensor, conv: nn.Conv1d) -> torch.Tensor:
    """Rows (L, C) to (L, C'): a convolution that keeps the length, with kernel 1 or 3 and any dilation."""
    assert conv.bias is not None
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
    assert conv.bias is not None
    taps = conv.weight.permute(2, 1, 0).reshape(2, 2 * channels, -1)
    return torch.addmm(conv.bias, pairs[:-1], taps[0]).addmm_(pairs[1:], taps[1])


def doubled(rows: torch.Tensor, conv: nn.ConvTranspose1d) -> torch.Tensor:
    """Rows (L, C) to (2 L, C'): a transposed convolution with kernel 4, stride 2, padding 1."""
    before, even, odd, after = conv.weight.permute(2, 0, 1)[[3, 1, 2, 0]]  # (C, C') each
    assert conv.bias is not None
    pairs = torch.addmm(torch.cat([conv.bias, conv.bias]), rows, torch.cat([even, odd], 1))
    width = even.shape[1]
    pairs[1:, :width].addmm_(rows[:-1], before)
    pairs[:-1, width:].addmm_(rows[1:], after)
    return pairs.reshape(2 * len(rows), width)


def residual_stack(rows: torch.Tensor, stack: ResidualStack) -> torch.Tensor:
    """A stack on rows (L, C), in pieces that fit the processor's cache, each with its receptive field on either side."""
    made, reach = torch.empty_like(rows), stack.reach
    size = max(PIECE, 4 * reach)  # deep stacks have a large receptive field
    for start in range(0, len(rows), size):
        first = max(0, start - reach)
        piece = rows[first : start + size + reach].clone()
        for block in stack.model:
            assert isinstance(block, ResidualConv)
            piece = residual(piece, block)
        made[start : start + size] = piece[start - first : start - first + size]
    return made


def residual(rows: torch.Tensor, block: ResidualConv) -> torch.Tensor:
    """A residual convolution on rows (L, C), in place."""
    _, wide, _, narrow = block.model
    assert isinstance(wide, nn.Conv1d) and isinstance(narrow, nn.Conv1d) and narrow.bias is not None
    hidden = same(rows.relu(), wide).relu_()
    return rows.addmm_(hidden, narrow.weight[:, :, 0].t()).add_(narrow.bias)


def spread(rows: torch.Tensor, kernel: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
    """Rows (L, C) to (2 L,): a transposed convolution to one channel with kernel (C, 6), bias (), stride 2, padding 2."""
    pairs = rows @ kernel[:, 2:4]
    pairs[:-1] += rows[1:] @ kernel[:, 0:2]
    pairs[1:] += rows[:-1] @ kernel[:, 4:6]
    return pairs.reshape(-1) + bias
