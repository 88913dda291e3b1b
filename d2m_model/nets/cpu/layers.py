"""The 1-D convolution of networks for which torch's own is slow on a CPU: the preset `released` and the discriminators."""

import torch
import torch.nn.functional as F
from torch import nn

from d2m_model.nets.cpu.matrix_product import Linear
from d2m_model.nets.cpu.minimal_filtering import LONG, SHORT, Filtered, TilePlan, filtered, transformed
from d2m_model.nets.cpu.strided_convolution import phased
from d2m_model.nets.cpu.switch import is_plain

WORTH_SHORT, WORTH_LONG = 256 * 256, 128 * 64
"""Smallest product of input and output channels at which minimal filtering's transforms cost less than they save, for
short and for long kernels."""
WORTH_PHASES = 4
"""Smallest stride that is computed by phases."""


class Conv1d(nn.Conv1d):
    """nn.Conv1d that on a CPU is computed in the fastest way for its sizes; the result is equal up to rounding.

    A kernel of 1 is a matrix product, which keeps the layout in rows. A large stride is computed by phases. A layer with
    many channels is computed by minimal filtering, in training and after `fuse_for_inference`. Torch computes all other
    layers, all other devices, and, except for strided layers, all precisions but float32.
    """

    padding: tuple[int, ...]
    bias: torch.Tensor

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int = 1, padding: int = 0, **options):
        super().__init__(inputs, outputs, kernel, stride, padding, **options)
        channels = inputs * outputs
        large = (kernel in SHORT and channels >= WORTH_SHORT) or (kernel in LONG and channels >= WORTH_LONG)
        dense = self.stride == (1,) and self.groups == 1
        self.by_phases = self.stride[0] >= WORTH_PHASES and self.padding_mode == "zeros" and self.dilation == (1,)
        self.by_product, self.by_filtering = dense and kernel == 1 and self.padding == (0,), dense and large
        self.taps: torch.Tensor | None = None
        """The transformed weight, after `fuse_for_inference`."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """x (B, C, L) to (B, O, L'), equal to nn.Conv1d up to rounding."""
        weight = self.weight  # a normalised weight is computed at each access
        if x.device.type == "cpu" and not is_plain():
            if self.by_phases:
                return phased(x, weight, self.bias, self.stride[0], self.padding[0], self.groups)
            if x.dtype == torch.float32 and not torch.is_autocast_enabled("cpu"):
                if self.by_product:
                    rows = Linear.apply(x.transpose(1, 2).flatten(0, 1), weight[:, :, 0], self.bias)
                    return rows.unflatten(0, (len(x), -1)).transpose(1, 2)
                trained = torch.is_grad_enabled() and weight.requires_grad
                if self.by_filtering and (trained or self.taps is not None):
                    return self._filter(x, weight)
        return self._conv_forward(x, weight, self.bias)

    def fuse_for_inference(self) -> None:
        """Transform the weight once; it must not change afterwards."""
        if self.by_filtering and not is_plain():
            self.taps = transformed(self.weight.detach().cpu())

    def _filter(self, x: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        (mirrored,), (dilation,) = self.padding, self.dilation
        if self.padding_mode == "zeros":
            x, mirrored = F.pad(x, (mirrored, mirrored)), 0
        batch, inputs, length = x.shape
        plan = TilePlan(batch, inputs, length, weight.shape[2], dilation, mirrored)
        if self.taps is None:
            rows = Filtered.apply(x, weight, self.bias, plan)
        else:
            rows = filtered(plan.pieces(x), self.taps, self.bias, plan)
        return rows.unflatten(0, (plan.batch, plan.outputs)).transpose(1, 2)
