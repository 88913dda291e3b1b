"""Precomputes what a trained network's weights allow, so that each forward pass does less; the output stays the same."""

from typing import TypeVar

import torch
from torch import nn
from torch.nn.utils import parametrize

from d2m_model.nets.cpu.layers import Conv1d

N = TypeVar("N", bound=nn.Module)


def fuse_for_inference(net: N) -> N:
    """Replace every normalised weight g·v/|v| in `net` by its value and transform the weights of large convolutions
    (`nets/cpu/layers.py`). Changes `net` in place and returns it.

    For networks that only generate: a fused network cannot be trained on, nor load a training checkpoint.
    """
    for module in net.modules():
        if parametrize.is_parametrized(module, "weight"):
            assert isinstance(module.weight, torch.Tensor)
            weight = module.weight.detach()
            parametrize.remove_parametrizations(module, "weight", leave_parametrized=True)
            # Torch leaves a frozen weight as a plain attribute, which .to(device) and state_dict() overlook.
            module.weight = nn.Parameter(weight, requires_grad=False)
        if isinstance(module, Conv1d):
            module.fuse_for_inference()
    return net
