"""Batches of windows from loader workers, handed over in shared memory that is used again: for training loops of one's
own. The stages here hold their windows in the process that trains.

A torch DataLoader passes every batch through memory made anew for it and takes as long for a message between processes as
the copying of a batch takes. Here the batches' memory is made once: a worker copies its windows there and passes on only
the number of the place. The fewer places there are, the more of them stay in the processor's cache.
"""

import math
import mmap
from collections.abc import Iterable, Iterator, Sequence
from functools import partial

import torch

from dataset_tools.base.shard_format import I3D_WIDTH, MOTION_WIDTH
from dataset_tools.base.shard_set import ShardSet, Window
from dataset_tools.base.timebase import FPS, SAMPLES_PER_FRAME
from dataset_tools.base.workers import in_turns

Order = tuple[int, Sequence[tuple[str, int]]]
"""Number of a place, the windows to be put there."""


def load_batches(
    shards: ShardSet, batches: Iterable[Sequence[tuple[str, int]]], frames: int, *, largest: int, workers: int = 2,
    prefetch: int = 1,
) -> Iterator[Window]:  # fmt: skip
    """The batches, each a list of at most `largest` windows (clip id, first frame), as torch tensors, in order: pose
    (B, frames, P, J, 3), audio (B, frames * 735), i3d (B, 2048), motion (B, frames, R, 219), all float32.

    `workers` forked processes read ahead, `prefetch` batches each; with 0 this process reads. Clips that this process holds
    when they are forked are theirs too. A batch is overwritten once the next is asked for: use it, move it to a device or
    clone it before that. Memory: workers * prefetch batches, at least one. Raises as `ShardSet.read`, and ProcessLost for a
    worker that was killed.
    """
    places = [_place(shards, largest, frames) for _ in range(max(1, workers * prefetch))]
    orders = ((number % len(places), batch) for number, batch in enumerate(batches))
    fill = partial(_fill, shards, [Window(*(values.numpy() for values in place)) for place in places], frames)
    for place, count in in_turns(fill, orders, workers, prefetch) if workers else map(fill, orders):
        yield Window(*(values[:count] for values in places[place]))


def _fill(shards: ShardSet, places: list[Window], frames: int, order: Order) -> tuple[int, int]:
    """Fill the place; returns its number and that of its windows."""
    place, windows = order
    shards.read_batch(windows, frames, Window(*(values[: len(windows)] for values in places[place])))
    return place, len(windows)


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
