"""Dances with their beats as training batches. The windows of step n and their augmentation depend on (seed, n) only."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch

from d2m_model.nets.motion_features import mirrored_motion
from d2m_model.rhythm.augment import augment
from d2m_model.rhythm.beats_file import Beats
from d2m_model.rhythm.body import at_times, motion_features, pose_features
from d2m_model.training.seeding import generator
from dataset_tools.lib.core.timebase import FPS

SLOWEST, FASTEST = 1.25, 0.8
"""Largest and smallest factor by which a window is stretched in time."""
RATES = (20.0, 24.0, 25.0)
"""Frame rates to which some windows are resampled, and then back to 30."""
WIDTH = 0.8
"""Standard deviation in frames of the targets' Gaussians at the beats."""


@dataclass(frozen=True, kw_only=True, eq=False)
class RhythmExample:
    """One training dance."""

    clip_id: str
    dance: torch.Tensor
    """(T, 17, 3) from `body.read_pose`, or (T, 219) from `body.read_motion`, at 30 fps."""
    beats: Beats
    """Beats of its music."""
    genre: str = ""


class RhythmBatch(NamedTuple):
    """B windows of N frames."""

    features: torch.Tensor
    """(B, N, C)."""
    targets: torch.Tensor
    """(B, N, 2) within 0..1: Gaussians at beats and at down-beats."""
    strength: torch.Tensor
    """(B, N) within 0..1: strength of the nearest beat."""
    known: torch.Tensor
    """(B, N): 1 within the dance, 0 after its end."""
    tempo: torch.Tensor
    """(B,): beats per minute of the original dances, before stretching; 0 if unknown."""
    genres: torch.Tensor
    """(B,) int64: index of the genre; -1 if unknown."""


def gaussians(times: np.ndarray, frames: int) -> np.ndarray:
    """(frames,) float32: Gaussians with a peak of 1 at each of `times` (n,), in frames."""
    if not len(times):
        return np.zeros(frames, np.float32)
    near = np.abs(np.arange(frames)[:, None] - times[None, :]).min(axis=1)
    return np.exp(-0.5 * (near / WIDTH) ** 2).astype(np.float32)


class RhythmData:
    """Training windows of dances. stream: 'pose' or 'motion'. frames: N of a window."""

    def __init__(self, examples: Sequence[RhythmExample], genres: Sequence[str], stream: str, frames: int):
        self.examples, self.genres, self.stream, self.frames = list(examples), list(genres), stream, frames

    def batch(self, seed: int, step: int, size: int) -> RhythmBatch:
        """Batch number `step`: windows from random places in random dances, stretched in time and augmented (`augment`)."""
        rng = generator(seed, "lessons", step)
        drawn = [self._window(rng) for _ in range(size)]
        dances, targets, strength, known, tempo, genres = (list(part) for part in zip(*drawn, strict=True))
        dance = torch.stack(dances)
        features = (
            pose_features(augment(dance, rng))
            if self.stream == "pose"
            else motion_features(_altered_motion(dance, rng))
        )
        target, strong, valid = (torch.from_numpy(np.stack(part)) for part in (targets, strength, known))
        return RhythmBatch(features, target, strong, valid, torch.tensor(tempo), torch.tensor(genres))

    def _window(self, rng: torch.Generator) -> tuple:
        uniform = torch.rand(5, generator=rng).tolist()
        example = self.examples[int(uniform[0] * len(self.examples))]
        slower = SLOWEST ** (1 - uniform[1]) * FASTEST ** uniform[1]
        length = len(example.dance) * slower
        start = uniform[2] * max(0.0, length - self.frames)
        frames = (torch.arange(self.frames) + start) / slower
        dance = example.dance
        if uniform[3] < 0.25:  # a lower frame rate
            every = FPS / RATES[int(uniform[4] * len(RATES))]
            few = at_times(dance, torch.arange(int((len(dance) - 1) / every) + 1) * every)
            dance, frames = few, frames / every
        beats = example.beats
        at = {name: getattr(beats, name) * FPS * slower - start for name in ("beats", "downbeats")}
        targets = np.stack([gaussians(times, self.frames) for times in at.values()], axis=-1)
        strength = np.full(self.frames, 0.5, np.float32)
        if len(beats.strength):
            strength = beats.strength[
                np.abs(np.arange(self.frames)[:, None] - at["beats"][None, :]).argmin(axis=1)
            ].astype(np.float32)
        known = (np.arange(self.frames) + start <= length - 1).astype(np.float32)
        genre = self.genres.index(example.genre) if example.genre in self.genres else -1
        return at_times(dance, frames), targets, strength, known, float(beats.tempo or 0), genre


def _altered_motion(motion: torch.Tensor, rng: torch.Generator) -> torch.Tensor:
    """SMPL motion (B, N, 219): half of it mirrored, all of it with a little noise."""
    flip = (torch.rand(len(motion), generator=rng) < 0.5)[:, None, None]
    other = torch.from_numpy(mirrored_motion(motion.numpy()))
    return torch.where(flip, other, motion) + 0.01 * torch.randn(motion.shape, generator=rng)
