"""Pairs of dance and music for training: windows of the motion with the codes of the same stretch of music."""

from typing import NamedTuple

import numpy as np
import torch

from d2m_model.losses.gan_terms import Target
from d2m_model.nets.jukebox_vqvae import JukeboxVQVAE
from d2m_model.nets.motion_features import fill_missing, mirrored, mirrored_motion
from d2m_model.training.distributed import local_rows
from d2m_model.training.seeding import generator
from d2m_model.training.shard_data import Batch, WindowData
from dataset_tools.lib.core.errors import UserError
from dataset_tools.lib.core.timebase import HOPS, LEVELS, frames_to_samples, samples_to_codes
from dataset_tools.lib.shard_io.shard_format import NO_POSE, ClipEntry


class DanceBatch(NamedTuple):
    """B windows of T frames."""

    pose: torch.Tensor
    """(B, T, J, 3): the primary dancer's keypoints in px, gaps filled, some windows mirrored; or (B, T, R, 219): SMPL motion with
    R steps per frame."""
    size: tuple[torch.Tensor, torch.Tensor]
    """(width, height) of the pictures in px, each (B, 1, 1, 1)."""
    visual: torch.Tensor
    """(B, 2048)."""
    music: Target
    genres: list[str]
    """Genre of each dance."""

    def to(self, device: torch.device) -> "DanceBatch":
        """The batch on a device. The shifts stay on the CPU, where they are read, so that no step waits for the device."""
        width, height = self.size
        codes, audio, shifts, latents = self.music
        moved = latents if latents is None else latents.to(device)
        music = Target(codes.to(device), audio.to(device), shifts, moved)
        return DanceBatch(
            self.pose.to(device), (width.to(device), height.to(device)), self.visual.to(device), music, self.genres
        )


class DanceData:
    """All windows of a split. `vqvae` encodes their music once, on its own device, at `level` ('high' or 'low').

    stream: stream of the shards that is read as the dance, 'pose' or 'motion'. latents: also keep the encoder's output before
    quantisation, 256 bytes per code. Raises UserError where the shards do not have the stream.
    """

    def __init__(
        self,
        windows: WindowData,
        vqvae: JukeboxVQVAE,
        level: str,
        *,
        jitter: int,
        mirror: bool,
        stream: str = "pose",
        latents: bool = False,
    ):
        self.windows, self.level, self.stream = windows, level, stream
        if stream == "motion" and not windows.shards.info.motion_rate:
            raise UserError(
                f"{windows.shards.folder}: d2m_gan.stream is 'motion', but these shards hold keypoints only; set it to pose"
            )
        if stream == "pose" and NO_POSE in windows.shards.info.pose_weights:
            raise UserError(
                f"{windows.shards.folder}: d2m_gan.stream is 'pose', but these shards hold SMPL motion only; set it to motion"
            )
        self.jitter, self.mirror = jitter, mirror
        self.codes, self.latents, self.pose = {}, {}, {}
        device = vqvae.codebook(LEVELS[level]).k.device
        for index, clip in enumerate(windows.clips):
            with torch.no_grad():
                z = vqvae.latents(windows.clip_audio(index)[None].to(device), LEVELS[level])
                self.codes[clip.clip_id] = vqvae.quantise(z, LEVELS[level]).codes[0].cpu()
            if latents:
                self.latents[clip.clip_id] = z[0].cpu()
            read = windows.shards.read(clip.clip_id)
            self.pose[clip.clip_id] = read.motion if stream == "motion" else fill_missing(read.pose[:, 0])

    def batch(self, seed: int, step: int, size: int) -> DanceBatch:
        """Batch number `step`, or this process's share of it; it depends on (seed, step) only."""
        drawn = self.windows.batch(seed, step, size, self.jitter)
        flips = local_rows(torch.rand(size, generator=generator(seed, "mirror", step)) < 0.5).tolist()
        return self._pair(drawn, flips if self.mirror else [False] * len(flips))

    def window(self, index: int) -> DanceBatch:
        """Window `index` of the split as a batch of one, unaltered."""
        return self._pair(self.windows.gather([self.windows.windows[index]]), [False])

    def _pair(self, drawn: Batch, flips: list[bool]) -> DanceBatch:
        poses, codes, shifts, latents = [], [], [], []
        hop, length = HOPS[LEVELS[self.level]], samples_to_codes(drawn.audio.shape[1], LEVELS[self.level])
        for clip, start, flip in zip(drawn.clips, drawn.starts, flips, strict=True):
            pose = self.pose[clip.clip_id][start : start + self.windows.frames]
            poses.append(self._mirrored(pose, clip) if flip else pose)
            sample, known = frames_to_samples(start), self.codes[clip.clip_id]
            first = min(round(sample / hop), len(known) - length)
            codes.append(known[first : first + length])
            shifts.append(first * hop - sample)
            latents += [self.latents[clip.clip_id][:, first : first + length]] if self.latents else []
        width, height = (
            torch.tensor([float(getattr(c, s)) for c in drawn.clips])[:, None, None, None] for s in ("width", "height")
        )
        music = Target(torch.stack(codes), drawn.audio, torch.tensor(shifts), torch.stack(latents) if latents else None)
        return DanceBatch(
            torch.from_numpy(np.stack(poses)), (width, height), drawn.i3d, music, [c.genre for c in drawn.clips]
        )

    def _mirrored(self, dance: np.ndarray, clip: ClipEntry) -> np.ndarray:
        return mirrored_motion(dance) if self.stream == "motion" else mirrored(dance, clip.width)
