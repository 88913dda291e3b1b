"""Reading shards: windows of any length, in any order, from several processes at once.

HDF5 takes half a millisecond for a window, most of it to find its way to the chunks and little for their bytes. So a clip
is read whole when its first window is asked for, which also verifies its checksums, and held in memory; windows are
slices of it. Clips that were not asked for longest make room where `memory` bytes are not enough.
"""

import dataclasses
import os
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import h5py
import numpy as np

from dataset_tools.lib.core.errors import UserError
from dataset_tools.lib.core.timebase import FPS, SAMPLES_PER_FRAME
from dataset_tools.lib.shard_io.shard_check import damage_as_user_error, open_shard, validate_shard
from dataset_tools.lib.shard_io.shard_format import (
    FILE_TEXTS,
    MOTION_WIDTH,
    REBUILD,
    STREAMS,
    ClipEntry,
    ShardInfo,
    check_numbers,
)

SHARED = ("pose_layout", "i3d_weights")
"""What corpora must have in common to be read as one."""
OR = " or "
"""Between the pose weights of several corpora."""


class Window(NamedTuple):
    """One window of one clip; of a batch of windows each array has a first axis B."""

    pose: np.ndarray
    """(frames, P, J, 3) float32."""
    audio: np.ndarray
    """(frames * 735,) float32."""
    i3d: np.ndarray
    """(2048,) float32."""
    motion: np.ndarray
    """(frames, R, 219) float32, R steps for each frame; R = 0 where the shards have no such stream."""


@dataclass
class ShardSet:
    """All shards `<split>-NNNNN.h5` of a folder: validated at once, opened on first read in each process, which then
    holds the clips it has read. With `also`, those of further corpora beside them: clips with fewer pose slots than others
    get empty ones, motion is left out unless all have it, and pose may come from different weights.

    Raises UserError when there is none, one is not valid, numbers are missing, shards disagree in what they hold, or
    a clip is in two of them.
    """

    folder: Path
    split: str
    also: tuple[Path, ...] = ()
    memory: int = 1 << 30
    """Bytes of clips that each process holds, at least one clip."""
    infos: tuple[ShardInfo, ...] = field(init=False)
    info: ShardInfo = field(init=False)
    """What holds for all: the first shard's info, with the most people, the common motion rate and every pose weights."""
    clips: list[ClipEntry] = field(init=False)
    """Every clip, sorted by id."""

    def __post_init__(self):
        self.folder = Path(self.folder)
        corpora = [self._infos_of(Path(folder)) for folder in (self.folder, *self.also)]
        for infos in corpora[1:]:
            for name in SHARED:
                if (theirs := getattr(infos[0], name)) != (own := getattr(corpora[0][0], name)):
                    raise UserError(
                        f"{infos[0].path}: {name} is '{theirs}', but '{own}' in {self.folder}; make both corpora with the same"
                    )
        self.infos = tuple(info for infos in corpora for info in infos)
        rates, weights = {info.motion_rate for info in self.infos}, sorted({info.pose_weights for info in self.infos})
        self.info = dataclasses.replace(
            self.infos[0], people=max(info.people for info in self.infos), motion_rate=rates.pop() if len(rates) == 1 else 0,
            pose_weights=OR.join(weights),
        )  # fmt: skip
        self._home: dict[str, tuple[int, ClipEntry]] = {}
        for index, info in enumerate(self.infos):
            for clip in info.clips:
                if clip.clip_id in self._home:
                    raise UserError(f"{info.path}: clip '{clip.clip_id}' is in two shards; {REBUILD}")
                self._home[clip.clip_id] = (index, clip)
        self.clips = [self._home[clip_id][1] for clip_id in sorted(self._home)]
        self._open: dict[int, h5py.File] = {}
        self._held: OrderedDict[str, Window] = OrderedDict()
        self._pid = os.getpid()

    def _infos_of(self, folder: Path) -> list[ShardInfo]:
        paths = sorted(folder.glob(f"{self.split}-*.h5"))
        if not paths:
            raise UserError(
                f"{folder}: no shard of the '{self.split}' split; run python -m dataset_tools.shards, or split.csv has no such clip"
            )
        expected = [f"{self.split}-{number:05d}.h5" for number in range(len(paths))]
        if [path.name for path in paths] != expected:
            missing = sorted(set(expected) - {path.name for path in paths})
            raise UserError(f"{folder}: shard {missing[0]} is missing among {len(paths)}; {REBUILD}")
        infos = [validate_shard(path) for path in paths]
        for info in infos:
            for name in (*FILE_TEXTS, "people", "motion_rate"):
                if getattr(info, name) != getattr(infos[0], name):
                    raise UserError(f"{info.path}: {name} differs from {infos[0].path.name}; {REBUILD}")
        return infos

    def read(self, clip_id: str, start_frame: int = 0, frames: int | None = None) -> Window:
        """Window of `frames` frames (default: to the end) from `start_frame`, with the sound of exactly that time and
        the i3d row of the second in which it starts (the last row where the window starts later than that).

        Raises KeyError for an unknown clip, ValueError for a window that is not inside the clip, UserError for a clip
        whose data fail their checksum.
        """
        return Window(*(values.copy() for values in self.view(clip_id, start_frame, frames)))

    def view(self, clip_id: str, start_frame: int = 0, frames: int | None = None) -> Window:
        """As `read`, but read-only and without a copy: for who copies it at once, for example into a batch."""
        entry = self._home[clip_id][1]
        stop = entry.frames if frames is None else start_frame + frames
        if not 0 <= start_frame < stop <= entry.frames:
            raise ValueError(f"{clip_id}: frames {start_frame} to {stop} are not inside its {entry.frames}")
        pose, audio, i3d, motion = self._clip(clip_id)
        row = min(start_frame // FPS, len(i3d) - 1)
        sound = audio[start_frame * SAMPLES_PER_FRAME : stop * SAMPLES_PER_FRAME]
        return Window(pose[start_frame:stop], sound, i3d[row], motion[start_frame:stop])

    def read_batch(self, windows: Sequence[tuple[str, int]], frames: int, out: Window | None = None) -> Window:
        """The windows (clip id, start_frame) of `frames` frames as one batch: pose (B, frames, P, J, 3), audio
        (B, frames * 735), i3d (B, 2048), motion (B, frames, R, 219). Give an earlier batch of the same size as `out` to have it filled again,
        which saves the system from clearing new memory. Raises as `read` does."""
        parts = [self.view(clip_id, start, frames) for clip_id, start in windows]
        return Window(*(np.stack(part, out=into) for part, into in zip(zip(*parts, strict=True), out or (None,) * 4)))

    def read_i3d(self, clip_id: str) -> np.ndarray:
        """All i3d rows of a clip, (W, 2048) float32."""
        return self._clip(clip_id).i3d.copy()

    def _clip(self, clip_id: str) -> Window:
        """All of a clip, its i3d (W, 2048): held, or read now."""
        if clip_id in self._held:
            self._held.move_to_end(clip_id)
            return self._held[clip_id]
        index = self._home[clip_id][0]
        with damage_as_user_error(self.infos[index].path, clip_id):
            group = self._file(index)[clip_id]
            motion = (
                group["motion"][...]
                if self.info.motion_rate
                else np.zeros((group.attrs["frames"], 0, MOTION_WIDTH), np.float32)
            )
            clip = Window(**{name: group[name][...] for name in STREAMS}, motion=motion)
            for name, values in zip(Window._fields, clip, strict=True):
                check_numbers(name, values)
            if lacking := self.info.people - clip.pose.shape[1]:
                clip = clip._replace(pose=np.pad(clip.pose, ((0, 0), (0, lacking), (0, 0), (0, 0))))
        for values in clip:
            values.flags.writeable = False
        self._held[clip_id] = clip
        while len(self._held) > 1 and sum(v.nbytes for held in self._held.values() for v in held) > self.memory:
            self._held.popitem(last=False)
        return clip

    def _file(self, index: int) -> h5py.File:
        # An HDF5 handle must not cross a fork: a process that inherited some forgets them and opens its own.
        if self._pid != os.getpid():
            self._open, self._pid = {}, os.getpid()
        if index not in self._open:
            self._open[index] = open_shard(self.infos[index].path)
        return self._open[index]

    def __getstate__(self):
        return {**self.__dict__, "_open": {}, "_held": OrderedDict()}
