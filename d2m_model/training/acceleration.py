"""bf16 arithmetic and compilation, which pay off on a GPU only. By default nothing changes on the CPU, so results stay equal."""

import functools
from typing import Any

import torch
import torch._functorch.config
from torch import nn


def in_bf16(device: torch.device, precision: str) -> bool:
    """Whether `precision` means bf16 on this device; 'auto' does on CUDA devices that have it."""
    return precision == "bf16" or (precision == "auto" and device.type == "cuda" and torch.cuda.is_bf16_supported())


def accelerate(module: nn.Module, device: torch.device, precision: str = "auto", compiling: str = "auto") -> nn.Module:
    """Change a module in place and return it. Its weights keep their names, and weights and outputs stay float32.

    precision : 'bf16' runs `forward` under autocast; 'auto' does so on CUDA devices that have it.
    compiling : 'always' compiles the module with torch.compile at its first call; 'auto' does so on CUDA. A module whose batch
        normalisation is shared between processes is not compiled: torch.compile can't trace their communication.
    """
    cuda = device.type == "cuda"
    if in_bf16(device, precision):
        module.forward = _in_bf16(module.forward, device.type)
    shared = any(isinstance(part, nn.SyncBatchNorm) for part in module.modules())
    if not shared and (compiling == "always" or (compiling == "auto" and cuda)):
        # isolate_recompiles: otherwise all wrapped forwards, which are one code object, would share torch's limit of 8 versions.
        module.compile(dynamic=False, isolate_recompiles=True)
        # balance.py runs several backward passes through one graph, so none may donate its buffers, not even one that torch
        # finds in its cache of earlier trainings.
        torch._functorch.config.donated_buffer = False
    return module


def _in_bf16(forward, device: str):
    @functools.wraps(forward)
    def wrapped(*args, **options):
        with torch.autocast(device, torch.bfloat16):
            result = forward(*args, **options)
        return _to_float32(result)

    return wrapped


def _to_float32(value: Any) -> Any:
    if isinstance(value, torch.Tensor):
        return value.float() if value.is_floating_point() else value
    return type(value)(_to_float32(item) for item in value)
