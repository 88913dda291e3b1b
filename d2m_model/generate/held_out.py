"""Scores of D2M-GAN on held-out dances during its training: P4's difference, own minus other, and audio to listen to."""

from pathlib import Path

import numpy as np

from d2m_model.generate.finish import normalise
from d2m_model.generate.windows import render
from d2m_model.metrics.p4_onsets import onset_times, own_minus_other
from d2m_model.nets.dance_to_codes import DanceToCodes
from d2m_model.nets.jukebox_vqvae import JukeboxVQVAE
from d2m_model.training.loop import Measurement
from d2m_model.training.music_model import MusicModel
from dataset_tools.lib.core.errors import UserError
from dataset_tools.lib.core.timebase import SAMPLE_RATE, frames_to_seconds
from dataset_tools.lib.shard_io.shard_format import ClipEntry
from dataset_tools.lib.shard_io.shard_set import ShardSet

LOUDNESS, PEAK, FADE = -16.0, 0.95, 0.25  # LUFS; of full scale; seconds


def held_out_clips(shards: Path, count: int) -> tuple[ShardSet, list[ClipEntry]]:
    """Up to `count` clips of the split `val`, or of `test` if there is no `val`, from as many songs as possible.

    Raises UserError if there are fewer than two songs.
    """
    split = "val" if any(shards.glob("val-*.h5")) else "test"
    found = ShardSet(shards, split)
    clips = _spread(found.clips, count)
    if len({c.song for c in clips}) < 2:
        raise UserError(f"{shards}: measure_every needs clips of two songs in the '{split}' split; set it to 0")
    return found, clips


class HeldOutScorer:
    """Scores music for up to `count` of the `held_out_clips`. The reference is the onsets of each dance's own music, which every
    corpus has."""

    def __init__(self, shards: Path, vqvae: JukeboxVQVAE, count: int):
        self.vqvae = vqvae
        self.shards, self.clips = held_out_clips(shards, count)
        self.songs = {c.clip_id: c.song for c in self.clips}
        self.seconds = {c.clip_id: frames_to_seconds(c.frames) for c in self.clips}
        self.onsets = {c.clip_id: onset_times(self.shards.read(c.clip_id).audio) for c in self.clips}

    def measure(self, net: DanceToCodes) -> Measurement:
        """P4's `own`, `other` and `difference`: mean F-measures (±70 ms) over clips with a reference."""
        model, audio = MusicModel(net, self.vqvae), {}
        for clip in self.clips:
            dance, visual = getattr(self.shards.read(clip.clip_id), model.stream), self.shards.read_i3d(clip.clip_id)
            made = render(
                model.for_genre(clip.genre), dance, (clip.width, clip.height), visual, fade=round(FADE * SAMPLE_RATE)
            )
            audio[clip.clip_id] = normalise(made, LOUDNESS, PEAK)
        found = {name: onset_times(wave) for name, wave in audio.items()}
        pairs = np.array(list(own_minus_other(found, self.onsets, self.seconds, self.songs).values()))
        own, other = (
            pairs[np.isfinite(pairs).all(axis=1)].mean(axis=0) if np.isfinite(pairs).all(axis=1).any() else (0.0, 0.0)
        )
        return Measurement({"P4_difference": own - other, "P4_own": own, "P4_other": other}, audio)


def _spread(clips: list[ClipEntry], count: int) -> list[ClipEntry]:
    """The first clip of each song, then the second of each, ..., up to `count`."""
    seen: dict[str, int] = {}
    turns = []
    for clip in clips:
        turns.append((seen.get(clip.song, 0), clip.clip_id, clip))
        seen[clip.song] = seen.get(clip.song, 0) + 1
    return [clip for *_, clip in sorted(turns, key=lambda turn: turn[:2])[:count]]
