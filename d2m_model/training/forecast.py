"""Estimates the cost of a training without running it: parameters, memory, hours on one GPU."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

GPU = "A100"
RATE = 312e12 * 0.35
"""Floating-point operations per second of a training in bf16: 35 % of the maker's figure."""
STATE = 16
"""Bytes per parameter in training: the parameter, its gradient and Adam's two averages, in fp32."""


@dataclass(frozen=True, kw_only=True)
class Forecast:
    """Cost of a whole training."""

    parameters: int
    step_operations: float
    """Floating-point operations of a step, forward and backward."""
    memory: float
    """Bytes, at most: weights, gradients, optimizer state and activations kept for the backward pass."""
    steps: int

    @property
    def hours(self) -> float:
        """Hours on one `GPU`."""
        return self.steps * self.step_operations / RATE / 3600

    def summary(self) -> str:
        """The forecast as one line."""
        hours = f"{self.hours:.1f} hours" if self.hours >= 0.1 else f"{self.hours * 3600:.0f} s"
        return (
            f"{self.parameters / 1e6:.1f} M parameters, {self.steps} steps of {self.step_operations / 1e12:.2f} T operations, "
            f"{self.memory / 2**30:.1f} GiB of memory, about {hours} on one {GPU}"
        )


def forecast(
    build: Callable[[], tuple[nn.Module, Callable[[], torch.Tensor]]], steps: int, *, half: bool = True
) -> Forecast:
    """The cost of training a network for `steps` steps. `build` returns the network and a function that computes the loss of a
    step; it runs on torch's meta device, where nothing is stored or computed. half: activations are kept in bf16."""
    kept = 0

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        nonlocal kept
        if not isinstance(tensor, nn.Parameter):
            kept += tensor.numel() * (
                min(2, tensor.element_size()) if half and tensor.is_floating_point() else tensor.element_size()
            )
        return tensor

    with torch.device("meta"):
        net, loss = build()
        with (
            FlopCounterMode(display=False) as counter,
            torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor),
        ):
            loss().backward()
    parameters = sum(p.numel() for p in net.parameters())
    return Forecast(
        parameters=parameters, step_operations=counter.get_total_flops(), memory=STATE * parameters + kept, steps=steps
    )
