"""Training in several processes (torchrun): each takes its share of every batch, and gradients are averaged.

Without torchrun all functions here return their argument unchanged. Window i of a batch goes to process i mod N, so the
first K windows of the batch are the first K / N windows of every process.
"""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import TypeVar

import torch
import torch.distributed as dist
from torch import nn

from dataset_tools.lib.core.errors import UserError
from dataset_tools.lib.parallel.orphans import end_with_parent

T = TypeVar("T", bound=Sequence | torch.Tensor)
Net = TypeVar("Net", bound=nn.Module)


@contextmanager
def processes() -> Iterator[None]:
    """Join the process group if torchrun started this process: with nccl and one GPU per process on CUDA, else with gloo.

    Raises UserError where there are fewer GPUs than processes.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        yield
        return
    if (
        "TORCHELASTIC_RUN_ID" in os.environ
    ):  # torchrun's process is the parent, and leaves these behind when it is killed
        end_with_parent(os.getppid())
    cuda = torch.cuda.is_available()
    if cuda:
        own, count = int(os.environ["LOCAL_RANK"]), torch.cuda.device_count()
        if own >= count:
            raise UserError(
                f"torchrun: process {own + 1} of this machine has no GPU of its own, there are {count}; lower --nproc-per-node"
            )
        torch.cuda.set_device(own)
    dist.init_process_group("nccl" if cuda else "gloo", timeout=timedelta(minutes=30))
    try:
        yield
    finally:
        dist.destroy_process_group()


def world_size() -> int:
    """Number of processes (torch's world size)."""
    return dist.get_world_size() if dist.is_initialized() else 1


def rank() -> int:
    """Number of this process; process 0 writes the results."""
    return dist.get_rank() if dist.is_initialized() else 0


def local_rows(batch: T) -> T:
    """This process's rows of a batch."""
    return batch[rank() :: world_size()] if world_size() > 1 else batch  # type: ignore[return-value]  # a slice of a list is a list


def require_even(section: str, **sizes: int) -> None:
    """Raises UserError unless every size is a multiple of the number of processes."""
    for name, size in sizes.items():
        if size % world_size():
            raise UserError(f"{section}.{name} must be a multiple of the {world_size()} processes, found {size}")


@torch.no_grad()
def gather_rows(rows: torch.Tensor) -> torch.Tensor:
    """The rows (B, ...) of all processes in the order of the batch, from this process's share (B / N, ...)."""
    if world_size() == 1:
        return rows
    shares = [torch.empty_like(rows, memory_format=torch.contiguous_format) for _ in range(world_size())]
    dist.all_gather(shares, rows.contiguous())
    return torch.stack(shares, 1).flatten(0, 1)


def sum_over_processes(value: torch.Tensor) -> torch.Tensor:
    """Sum of a tensor over the processes, without gradient."""
    if world_size() == 1:
        return value
    value = value.detach().clone()
    dist.all_reduce(value)
    return value


def any_process(flag: bool, device: torch.device | str = "cpu") -> bool:
    """Whether the flag is set in any process; all processes must call this."""
    return flag if world_size() == 1 else bool(sum_over_processes(torch.tensor(float(flag), device=device)))


def average_gradients(parameters: Sequence[nn.Parameter]) -> None:
    """Replace gradients by their means over the processes, in one message. Missing gradients stay missing; they are missing in
    all processes, because all run the same steps."""
    if world_size() == 1:
        return
    gradients = [p.grad for p in parameters if p.grad is not None]
    flat = torch.cat([g.flatten() for g in gradients])
    dist.all_reduce(flat)
    for gradient, mean in zip(gradients, (flat / world_size()).split([g.numel() for g in gradients]), strict=True):
        gradient.copy_(mean.view_as(gradient))


def share_statistics(net: Net, device: torch.device) -> Net:
    """Make batch normalisation use the batches of all processes. Raises UserError on the CPU, where torch can't."""
    if world_size() == 1 or not any(isinstance(m, nn.modules.batchnorm._BatchNorm) for m in net.modules()):
        return net
    if device.type != "cuda":
        raise UserError("batch normalisation (preset 'paper') can't be shared between CPU processes; use one process")
    return nn.SyncBatchNorm.convert_sync_batchnorm(net)
