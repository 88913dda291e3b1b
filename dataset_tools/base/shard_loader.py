"""Batches of windows from loader workers, handed over in shared memory that is used again.

A DataLoader that collates passes every batch through memory made anew for it, which costs more than reading the windows.
Here the batches' memory is made once: a worker copies its windows there and passes on only the number of the place.
"""

import math
import mmap
from collections.abc import Iterable, Iterator, Sequence

import torch

from dataset_tools.base.shard_format import I3D_WIDTH, MOTION_WIDTH
from dataset_tools.base.shard_set import ShardSet, Window
from dataset_tools.base.timebase import FPS, SAMPLES_PER_FRAME


def load_batches(
    shards: ShardSet, batches: Iterable[Sequence[tuple[str, int]]], frames: int, *, largest: int, workers: int = 2,
    prefetch: int = 2,
) -> Iterator[Window]:  # fmt: skip
    """The batches, each a list of at most `largest` windows (clip id, first frame), as torch tensors, in order: pose
    (B, frames, P, J, 3), audio (B, frames * 735), i3d (B, 2048), motion (B, frames, R, 219), all float32.

    `workers` forked processes read ahead, `prefetch` batches each; with 0 this process reads, which is fastest once the
    clips are held and nothing else is to be done for a batch. A batch is overwritten once the next but one is asked for:
    move it to a device, or clone it, before that. Memory: workers * prefetch + 2 batches. Raises as `ShardSet.read`.
    """
    filling = _Filling(shards, [_place(shards, largest, frames) for _ in range(workers * prefetch + 2)], frames)
    orders = ((number % len(filling.places), batch) for number, batch in enumerate(batches))
    filled = map(filling.__getitem__, orders)
    if workers:
        filled = torch.utils.data.DataLoader(
            filling, sampler=orders, batch_size=None, num_workers=workers, prefetch_factor=prefetch,
            multiprocessing_context="fork",
        )  # fmt: skip
    for place, count in filled:
        yield Window(*(values[:count] for values in filling.places[place]))


def _place(shards: ShardSet, windows: int, frames: int) -> Window:
    """Memory for one batch that processes forked from this one share; no file of /dev/shm, which may be small."""
    info = shards.info
    sizes = {
        "pose": (frames, info.people, info.joints, 3), "audio": (frames * SAMPLES_PER_FRAME,), "i3d": (I3D_WIDTH,),
        "motion": (frames, info.motion_rate // FPS, MOTION_WIDTH),
    }  # fmt: skip
    shared = {}
    for name, size in sizes.items():
        memory = mmap.mmap(-1, max(4, 4 * windows * math.prod(size)))
        shared[name] = torch.frombuffer(memory, dtype=torch.float32)[: windows * math.prod(size)].view(windows, *size)
    return Window(**shared)


class _Filling(torch.utils.data.Dataset):
    """Fills the place that an order names with the order's windows; answers with the place and their number."""

    def __init__(self, shards: ShardSet, places: list[Window], frames: int):
        self.shards, self.places, self.frames = shards, places, frames

    def __getitem__(self, order: tuple[int, Sequence[tuple[str, int]]]) -> tuple[int, int]:
        place, windows = order
        self.shards.read_batch(windows, self.frames, Window(*(values[: len(windows)].numpy() for values in self.places[place])))
        return place, len(windows)
