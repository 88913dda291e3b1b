"""Windows of the shards as training batches. The windows of step n depend on (seed, n) only."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from d2m_model.training.distributed import local_rows
from d2m_model.training.seeding import generator
from dataset_tools.lib.core.errors import UserError
from dataset_tools.lib.core.timebase import FPS, frames_to_samples, seconds_to_frames
from dataset_tools.lib.shard_io.shard_format import MOTION_WIDTH, ClipEntry
from dataset_tools.lib.shard_io.shard_set import ShardSet, Window

PEAK = 0.95
"""Peak to which a clip's audio is normalised, as in the released program."""
SILENCE = 1e-4
"""Clips with a lower peak are not normalised: that would only amplify their noise."""


class Batch(NamedTuple):
    """B windows of F frames; audio is peak-normalised per clip."""

    pose: torch.Tensor
    """(B, F, P, J, 3) float32: x px, y px, confidence."""
    audio: torch.Tensor
    """(B, F * 735) float32, within -0.95..0.95."""
    i3d: torch.Tensor
    """(B, 2048) float32: the features of the second in which the window starts."""
    motion: torch.Tensor
    """(B, F, R, 219) float32: R steps of SMPL motion per frame; R = 0 where the shards have none."""
    clips: list[ClipEntry]
    starts: list[int]
    """First frame of each window in its clip."""


def peak_gain(audio: np.ndarray) -> np.float32:
    """Gain that brings the peak of audio (S,) to `PEAK`; 1 for silence."""
    peak = np.abs(audio).max(initial=0)
    return np.float32(PEAK / peak if peak > SILENCE else 1.0)


class WindowData:
    """All windows of `seconds` that start on whole seconds in the clips of one split.

    also: shard folders of further corpora, whose clips are added. Clips are kept in memory if they fit into `memory` bytes, else
    each window is read from the shards.
    Raises UserError when no clip is as long as a window, and as ShardSet does for missing or damaged shards.
    """

    def __init__(self, folder: Path, split: str, seconds: float, *, memory: int = 4 << 30, also: Sequence[Path] = ()):
        self.shards = ShardSet(folder, split, tuple(also))
        self.clips = self.shards.clips
        self.frames = seconds_to_frames(seconds)
        last_starts = [clip.frames - self.frames for clip in self.clips]
        self.windows = [(i, start) for i, last in enumerate(last_starts) for start in range(0, last + 1, FPS)]
        """(index of the clip, first frame) of each window, in order."""
        if not self.windows:
            longest = max(clip.frames for clip in self.clips) / FPS
            raise UserError(
                f"{folder}: no '{split}' clip is as long as a window of {seconds} s; the longest is {longest:.2f} s"
            )
        info = self.shards.info
        per_frame = 4 * (info.people * info.joints * 3 + frames_to_samples(1) + info.motion_rate // FPS * MOTION_WIDTH)
        fits = per_frame * sum(clip.frames for clip in self.clips) <= memory
        self._whole = [self._load(clip.clip_id) for clip in self.clips] if fits else None
        self._gain: dict[int, np.float32] = {}

    def __len__(self) -> int:
        return len(self.windows)

    def batch(self, seed: int, step: int, size: int, jitter: int = 0) -> Batch:
        """Batch number `step`, or this process's share of it. Each epoch uses every window once, in a new random order.

        jitter: shift each window at random by up to so many frames, within its clip.
        """
        picked = []
        for position in range(step * size, (step + 1) * size):
            epoch, place = divmod(position, len(self))
            picked.append(self.windows[self._order(seed, epoch)[place]])
        if jitter:
            shifts = torch.randint(-jitter, jitter + 1, (size,), generator=generator(seed, "jitter", step)).tolist()
            picked = [(i, self._inside(i, start + shift)) for (i, start), shift in zip(picked, shifts, strict=True)]
        return self.gather(local_rows(picked))

    def gather(self, windows: list[tuple[int, int]]) -> Batch:
        """The batch of the given windows, each (index of the clip, first frame)."""
        parts = [self._window(i, start) for i, start in windows]
        pose, audio, i3d, motion = (torch.from_numpy(np.stack(stream)) for stream in zip(*parts, strict=True))
        return Batch(pose, audio, i3d, motion, [self.clips[i] for i, _ in windows], [start for _, start in windows])

    def clip_audio(self, index: int) -> torch.Tensor:
        """The whole audio of clip `index`, (frames * 735,), peak-normalised."""
        return torch.from_numpy(self._audio(index) * self._gain_of(index))

    def _load(self, clip_id: str) -> Window:
        return self.shards.read(clip_id)._replace(i3d=self.shards.read_i3d(clip_id))

    def _window(self, index: int, start: int) -> Window:
        if self._whole is None:
            window = self.shards.read(self.clips[index].clip_id, start, self.frames)
        else:
            whole, stop = self._whole[index], start + self.frames
            window = Window(
                pose=whole.pose[start:stop],
                audio=whole.audio[frames_to_samples(start) : frames_to_samples(stop)],
                i3d=whole.i3d[min(start // FPS, len(whole.i3d) - 1)],
                motion=whole.motion[start:stop],
            )
        return window._replace(audio=window.audio * self._gain_of(index))

    def _gain_of(self, index: int) -> np.float32:
        """Found when a clip is first used: to look at all clips first would read the whole corpus."""
        if index not in self._gain:
            self._gain[index] = peak_gain(self._audio(index))
        return self._gain[index]

    def _order(self, seed: int, epoch: int) -> list[int]:
        if getattr(self, "_shuffled", (None,))[0] != (seed, epoch):
            order = torch.randperm(len(self), generator=generator(seed, "epoch", epoch)).tolist()
            self._shuffled = ((seed, epoch), order)
        return self._shuffled[1]

    def _inside(self, index: int, start: int) -> int:
        return max(0, min(start, self.clips[index].frames - self.frames))

    def _audio(self, index: int) -> np.ndarray:
        return self._whole[index].audio if self._whole else self.shards.view(self.clips[index].clip_id).audio
