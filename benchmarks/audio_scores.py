"""Scoring for `istft_decoder` and `masked_prior`: clips to generate music for, and scores of `evaluate` on one line."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from d2m_model.demo.song_pool import PEAK, genre_of, score_of
from d2m_model.metrics.code_health import code_rate, hum_share
from d2m_model.metrics.distances import frechet
from d2m_model.metrics.embedding import Embedder, embed
from d2m_model.metrics.inputs import true_rhythm
from d2m_model.metrics.scoring import Reference, score_system
from d2m_model.rhythm.beats_file import Beats, read_beats
from d2m_model.rhythm.music_beats import beats_with_strengths
from dataset_tools.demo.music.songs import synthesise
from dataset_tools.lib.core.layout import Layout
from dataset_tools.lib.core.timebase import SAMPLE_RATE
from dataset_tools.lib.shard_io.shard_set import ShardSet

UNHEARD = 600
"""The first song of the pool that no weights of the demo were trained on."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Clips:
    """Clips with their own music, by name."""

    audio: Mapping[str, np.ndarray]
    """(S,) float32 at 22 050 Hz."""
    songs: Mapping[str, str]
    beats: Mapping[str, np.ndarray]
    """True beats in seconds."""
    rhythm: Mapping[str, Beats]
    """Rhythm that a prior is conditioned on: predicted from the motion, if there is any."""
    genres: Mapping[str, str]
    """Genre for the style; '' for a style that suits the rhythm."""
    music: Sequence[np.ndarray]
    """Training music, the reference of FAD."""
    embedder: Embedder
    draws: int = field(default=2000)
    """Bootstrap resamples."""

    @cached_property
    def reference(self) -> Reference:
        return Reference(audio=self.audio, songs=self.songs, beats=self.beats)

    @cached_property
    def points(self) -> np.ndarray:
        return _points(self.music, self.embedder)


def test_clips(layout: Layout) -> Clips:
    """The test clips of a corpus. Raises UserError where its stages `shards` and `rhythm` have not run."""
    test, train = (ShardSet(layout.stage("shards"), split) for split in ("test", "train"))
    names = [c.clip_id for c in test.clips]
    return Clips(
        audio={c: test.read(c).audio for c in names}, songs={c.clip_id: c.song for c in test.clips},
        beats={c: found.beats for c, found in true_rhythm(layout.stage("sources") / "truth", names).items()},
        rhythm={c: read_beats(layout.stage("rhythm") / "beats" / f"{c}.json") for c in names}, genres=dict.fromkeys(names, ""),
        music=[train.read(c.clip_id).audio for c in train.clips], embedder=Embedder("demo", layout),
    )  # fmt: skip


def unheard_clips(count: int, seconds: float, pool: np.ndarray, layout: Layout) -> Clips:
    """Excerpts of `count` songs from number `UNHEARD` on, from 16 s of each, with their true beats. The training music is from the
    songs of `pool` (N, S) int16, at the same place."""
    numbers, first, size = range(UNHEARD, UNHEARD + count), 16 * SAMPLE_RATE, round(seconds * SAMPLE_RATE)
    found = {}
    for number in numbers:
        score = score_of(number)
        whole = synthesise(score, SAMPLE_RATE)
        audio = (whole * (PEAK / np.abs(whole).max()))[first : first + size].astype(np.float32)
        inside = [times[(times >= 16) & (times < 16 + seconds)] - 16 for times in (score.beats, score.downbeats)]
        found[f"song {number}"] = (audio, beats_with_strengths(*inside, audio), genre_of(number))
    return Clips(
        audio={c: wave for c, (wave, _, _) in found.items()}, songs={c: c for c in found},
        beats={c: rhythm.beats for c, (_, rhythm, _) in found.items()}, rhythm={c: rhythm for c, (_, rhythm, _) in found.items()},
        genres={c: genre for c, (_, _, genre) in found.items()},
        music=[song[first : first + size].astype(np.float32) / 32767 for song in pool[:60]], embedder=Embedder("demo", layout),
    )  # fmt: skip


def scores(audio: Mapping[str, np.ndarray], clips: Clips, level: str) -> dict[str, float]:
    """P4 (beats, ±70 ms, own minus other) with its interval over clips, FAD to the training music, and two ratios to the clips' own
    music: number of onsets, and share of the power at multiples of the code rate of `level`."""
    timing = score_system(audio, clips.reference, protocols=("P4",), draws=clips.draws)[0]["P4"]
    beats = timing["beats_70ms"]
    hum = [np.mean([hum_share(of[c], code_rate(level)) for c in audio]) for of in (audio, clips.audio)]
    found = {"P4": beats["difference"], "P4_low": beats["difference_low"], "P4_high": beats["difference_high"]}
    found |= {
        "FAD": frechet(_points(audio.values(), clips.embedder), clips.points),
        "onsets": timing["onset_ratio"],
        "hum": hum[0] / hum[1],
    }
    return {name: round(float(value), 3) for name, value in found.items()}


def score_line(name: str, found: Mapping[str, float]) -> str:
    """A line of text with the `scores`."""
    return f"{name:>28}: P4 {found['P4']:+.3f} [{found['P4_low']:+.3f}, {found['P4_high']:+.3f}]  FAD {found['FAD']:5.2f}  onsets {found['onsets']:.2f}  hum {found['hum']:.2f}"


def _points(audio, embedder: Embedder) -> np.ndarray:
    return np.concatenate([points.patches for wave in audio if (points := embed(wave, embedder))])
