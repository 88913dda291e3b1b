"""Read shards: windows of any length, in any order, from several processes at once.

What a set holds comes from the folder's index.json or, without a valid one, from opening every shard. In both cases each process checks a
file when it first opens it, and a clip when it first reads it.

HDF5 takes half a millisecond to read a window, mostly to find its chunks. So a whole clip is read when its first window is
requested, which also verifies its checksums, and cached in memory; windows are slices of it. The least recently used clips
are dropped when the cache exceeds `memory` bytes.
"""

import dataclasses
import os
import sys
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import h5py
import numpy as np

from dataset_tools.lib.core.addresses import find_files
from dataset_tools.lib.core.errors import UserError
from dataset_tools.lib.core.timebase import FPS, SAMPLES_PER_FRAME
from dataset_tools.lib.shard_io.shard_check import check_clip, damage_as_user_error, open_known, validate_shard
from dataset_tools.lib.shard_io.shard_format import (
    FILE_TEXTS,
    MOTION_WIDTH,
    REBUILD,
    STREAMS,
    ClipEntry,
    ShardInfo,
    check_numbers,
)
from dataset_tools.lib.shard_io.shard_index import INDEX, known_shards, read_index

COMMON_FIELDS = ("pose_layout", "i3d_weights")
"""Fields in which corpora must agree to be read together."""
WEIGHTS_SEPARATOR = " or "
"""Separates the pose weights of several corpora."""


MAX_OPEN = 64
"""Shards that a process has open at once: systems allow 256 to 1024 files."""


class Window(NamedTuple):
    """One window of one clip. In a batch, each array has a first axis B."""

    pose: np.ndarray
    """(frames, P, J, 3) float32."""
    audio: np.ndarray
    """(frames * 735,) float32."""
    i3d: np.ndarray
    """(2048,) float32."""
    motion: np.ndarray
    """(frames, R, 219) float32, R steps for each frame; R = 0 if the shards have no such stream."""


@dataclass
class ShardSet:
    """All shards `<split>-NNNNN.h5` of a folder. Each process opens and checks a shard when it first reads it. An index that does not fit
    the folder is said on stderr, and all shards are validated instead.

    also: folders of further corpora. Clips with fewer pose slots than others are padded with empty ones, `motion` is left out
    unless all corpora have it, and the pose weights may differ.

    Raises UserError if there is no shard, a shard is invalid, the numbering has gaps, shards have different attributes, or a clip
    is in two shards.
    """

    folder: Path
    split: str
    also: tuple[Path, ...] = ()
    memory: int = 1 << 30
    """Size of the cache of clips in each process, in bytes; it has at least one clip."""
    infos: tuple[ShardInfo, ...] = field(init=False)
    info: ShardInfo = field(init=False)
    """Info that holds for all shards: the first shard's, with the largest `people`, the common `motion_rate`, and all `pose_weights`."""
    clips: list[ClipEntry] = field(init=False)
    """Every clip, sorted by id."""

    def __post_init__(self):
        corpora = [self._validate_folder(folder) for folder in (self.folder, *self.also)]
        for infos in corpora[1:]:
            for name in COMMON_FIELDS:
                if (theirs := getattr(infos[0], name)) != (own := getattr(corpora[0][0], name)):
                    raise UserError(
                        f"{infos[0].path}: {name} is '{theirs}', but '{own}' in {self.folder}; build both corpora with the same one"
                    )
        self.infos = tuple(info for infos in corpora for info in infos)
        rates, weights = {info.motion_rate for info in self.infos}, sorted({info.pose_weights for info in self.infos})
        self.info = dataclasses.replace(
            self.infos[0], people=max(info.people for info in self.infos), motion_rate=rates.pop() if len(rates) == 1 else 0,
            pose_weights=WEIGHTS_SEPARATOR.join(weights),
        )  # fmt: skip
        self._locations: dict[str, tuple[int, ClipEntry]] = {}
        for index, info in enumerate(self.infos):
            for clip in info.clips:
                if clip.clip_id in self._locations:
                    raise UserError(f"{info.path}: clip '{clip.clip_id}' is in two shards; {REBUILD}")
                self._locations[clip.clip_id] = (index, clip)
        self.clips = [self._locations[clip_id][1] for clip_id in sorted(self._locations)]
        self._open: OrderedDict[int, h5py.File] = OrderedDict()
        self._cache: OrderedDict[str, Window] = OrderedDict()
        self._cached = 0  # bytes
        self._pid = os.getpid()

    def _validate_folder(self, folder: Path) -> list[ShardInfo]:
        paths = find_files(folder, f"{self.split}-*.h5")
        if not paths:
            raise UserError(
                f"{folder}: no shard of the '{self.split}' split; run python -m dataset_tools.shards, and check that split.csv has clips of this split"
            )
        expected = [f"{self.split}-{number:05d}.h5" for number in range(len(paths))]
        if [path.name for path in paths] != expected:
            missing = sorted(set(expected) - {path.name for path in paths})
            raise UserError(f"{folder}: shard {missing[0]} is missing among {len(paths)}; {REBUILD}")
        try:
            entries = read_index(folder)
            infos = known_shards(paths, entries) if entries else [validate_shard(path) for path in paths]
        except UserError as err:
            if not str(err).startswith(str(folder / INDEX)):
                raise
            print(f"note: {err}; reading all {len(paths)} shards instead ({REBUILD})", file=sys.stderr)
            infos = [validate_shard(path) for path in paths]
        for info in infos:
            for name in (*FILE_TEXTS, "people", "motion_rate"):
                if getattr(info, name) != getattr(infos[0], name):
                    raise UserError(f"{info.path}: {name} differs from {infos[0].path.name}; {REBUILD}")
        return infos

    def read(self, clip_id: str, start_frame: int = 0, frames: int | None = None) -> Window:
        """Window of `frames` frames (None: to the end) from `start_frame`, with the audio of exactly that time and the i3d row of
        the second in which it starts (or the last row).

        Raises KeyError for an unknown clip, ValueError for a window that is not inside the clip, and UserError for a clip with a
        wrong checksum.
        """
        return Window(*(values.copy() for values in self.view(clip_id, start_frame, frames)))

    def view(self, clip_id: str, start_frame: int = 0, frames: int | None = None) -> Window:
        """As `read`, but read-only and without a copy, for callers that copy it at once, for example into a batch."""
        entry = self._locations[clip_id][1]
        stop = entry.frames if frames is None else start_frame + frames
        if not 0 <= start_frame < stop <= entry.frames:
            raise ValueError(f"{clip_id}: frames {start_frame} to {stop} are not inside its {entry.frames}")
        pose, audio, i3d, motion = self._clip(clip_id)
        row = min(start_frame // FPS, len(i3d) - 1)
        window_audio = audio[start_frame * SAMPLES_PER_FRAME : stop * SAMPLES_PER_FRAME]
        return Window(pose[start_frame:stop], window_audio, i3d[row], motion[start_frame:stop])

    def read_batch(self, windows: Sequence[tuple[str, int]], frames: int, out: Window | None = None) -> Window:
        """Batch of the windows (clip id, start_frame) of `frames` frames: pose (B, frames, P, J, 3), audio (B, frames * 735),
        i3d (B, 2048), motion (B, frames, R, 219).

        out: an earlier batch of the same size, to be overwritten; this saves allocating memory. Raises as `read`.
        """
        parts = [self.view(clip_id, start, frames) for clip_id, start in windows]
        return Window(*(np.stack(part, out=into) for part, into in zip(zip(*parts, strict=True), out or (None,) * 4)))

    def read_i3d(self, clip_id: str) -> np.ndarray:
        """All I3D rows of a clip, (W, 2048) float32."""
        return self._clip(clip_id).i3d.copy()

    def _clip(self, clip_id: str) -> Window:
        """A whole clip, with i3d (W, 2048), from the cache or its shard."""
        if clip_id in self._cache:
            self._cache.move_to_end(clip_id)
            return self._cache[clip_id]
        index, entry = self._locations[clip_id]
        with damage_as_user_error(self.infos[index].path, clip_id):
            shard = self._file(index)
            check_clip(shard, self.infos[index], entry)
            group = shard[clip_id]
            motion = (
                group["motion"][...] if self.info.motion_rate else np.zeros((entry.frames, 0, MOTION_WIDTH), np.float32)
            )
            clip = Window(**{name: group[name][...] for name in STREAMS}, motion=motion)
            for name, values in zip(Window._fields, clip, strict=True):
                check_numbers(name, values)
            if lacking := self.info.people - clip.pose.shape[1]:
                clip = clip._replace(pose=np.pad(clip.pose, ((0, 0), (0, lacking), (0, 0), (0, 0))))
        for values in clip:
            values.flags.writeable = False
        self._cache[clip_id] = clip
        self._cached += _count_bytes(clip)
        while len(self._cache) > 1 and self._cached > self.memory:
            self._cached -= _count_bytes(self._cache.popitem(last=False)[1])
        return clip

    def _file(self, index: int) -> h5py.File:
        # An HDF5 handle must not be used after a fork, so a new process opens its own.
        if self._pid != os.getpid():
            self._open, self._pid = OrderedDict(), os.getpid()
        if index not in self._open:
            self._open[index] = open_known(self.infos[index])
            while len(self._open) > MAX_OPEN:
                self._open.popitem(last=False)[1].close()
        self._open.move_to_end(index)
        return self._open[index]

    def __getstate__(self):
        return {**self.__dict__, "_open": OrderedDict(), "_cache": OrderedDict(), "_cached": 0}


def _count_bytes(clip: Window) -> int:
    return sum(values.nbytes for values in clip)
