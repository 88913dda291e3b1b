"""Controls: audio that ignores the dance, or that knows its beats. A beat score has a meaning only in comparison with them.

All are mono float32 at 22 050 Hz, with a given length.
"""

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

from d2m_model.metrics.beat_fitting import SongWithBeats, fit_to_beats, nearest_tempo
from d2m_model.metrics.inputs import ReferenceBeats, true_rhythm
from dataset_tools.lib.core.timebase import SAMPLE_RATE
from dataset_tools.lib.shard_io.shard_set import ShardSet

CONTROLS = ("ground truth", "shuffled ground truth", "random training song", "fixed click", "silence", "white noise")
"""Names of the controls of `control_audio`."""
FITTED, RHYTHM = "fitted song", "rhythm clicks"
"""Controls that know the dance's beats: the true beats, and those that the stage `rhythm` predicts from its motion."""


def click_track(samples: int, period: float = 0.5) -> np.ndarray:
    """A click every `period` seconds, from 0."""
    return clicks_at(np.arange(0, samples, period * SAMPLE_RATE).astype(int), samples)


def clicks_at(starts: np.ndarray, samples: int) -> np.ndarray:
    """A 1 kHz click of 30 ms at each of `starts`, in samples, at least 0."""
    audio = np.zeros(samples, np.float32)
    t = np.arange(int(0.03 * SAMPLE_RATE)) / SAMPLE_RATE
    click = (0.8 * np.sin(2 * np.pi * 1000 * t) * np.exp(-t / 0.006)).astype(np.float32)
    for start in starts[starts < samples]:
        audio[start : start + len(click)] = click[: samples - start]
    return audio


def rhythm_clicks(rhythm: Mapping[str, ReferenceBeats], samples: Mapping[str, int]) -> dict[str, np.ndarray]:
    """{clip: clicks at the beats predicted from its motion}. samples : length of each clip's audio."""
    return {c: clicks_at(np.round(found.beats * SAMPLE_RATE).astype(int), samples[c]) for c, found in rhythm.items()}


def fit_songs(
    songs: Mapping[str, SongWithBeats], dances: Mapping[str, ReferenceBeats], samples: Mapping[str, int]
) -> dict[str, np.ndarray]:
    """{clip: the training song with the nearest tempo, stretched so that its beats fall on the dance's beats}.

    songs : training clip -> its music. dances : clip -> its true beats. A dance with fewer than two beats, or with a tempo that no
    song can be stretched to, is left out.
    """
    made = {}
    for clip, dance in dances.items():
        name = nearest_tempo(songs, float(np.median(np.diff(dance.beats)))) if len(dance.beats) > 1 else None
        if name is not None:
            made[clip] = fit_to_beats(songs[name], dance, samples[clip])
    return made


def silence(samples: int) -> np.ndarray:
    """Zeros."""
    return np.zeros(samples, np.float32)


def white_noise(samples: int, seed: int) -> np.ndarray:
    """Gaussian noise with an RMS of -20 dB."""
    return (0.1 * np.random.default_rng(seed).standard_normal(samples)).astype(np.float32)


def fit_length(audio: np.ndarray, samples: int, offset: int = 0) -> np.ndarray:
    """`samples` of the audio from `offset` on; audio that is too short is repeated."""
    return np.resize(np.roll(audio, -offset), samples).astype(np.float32)


def draw_other_song(songs: list[str], seed: int) -> list[int]:
    """For each item the index of a random item with another song; -1 where there is none."""
    rng = np.random.default_rng(seed)
    picks = []
    for song in songs:
        others = [i for i, other in enumerate(songs) if other != song]
        picks.append(int(rng.choice(others)) if others else -1)
    return picks


def training_song_sampler(train: ShardSet) -> Callable[[np.random.Generator], np.ndarray]:
    """A function that draws the whole music (S,) of a random training clip, for `control_audio`."""

    def draw(rng: np.random.Generator) -> np.ndarray:
        clip = train.clips[int(rng.integers(len(train.clips)))]
        return train.read(clip.clip_id, 0, clip.frames).audio

    return draw


def beat_controls(
    samples: Mapping[str, int], train: ShardSet, truth: Path, rhythm: Mapping[str, ReferenceBeats]
) -> dict[str, dict[str, np.ndarray]]:
    """The controls that know the dance's beats, as far as beats are known: {control: {clip: audio}}.

    samples : clip -> length of its audio. truth : folder of the corpus's true beats, which may be missing. rhythm : clip -> beats
    predicted from its motion; may be empty.
    """
    dances, known = true_rhythm(truth, list(samples)), true_rhythm(truth, [c.clip_id for c in train.clips])
    songs = (
        {c.clip_id: SongWithBeats(train.read(c.clip_id, 0, c.frames).audio, known[c.clip_id]) for c in train.clips}
        if dances and known
        else {}
    )
    made = {
        FITTED: fit_songs(songs, dances, samples),
        RHYTHM: rhythm_clicks({c: b for c, b in rhythm.items() if c in samples}, samples),
    }
    return {name: of_clips for name, of_clips in made.items() if of_clips}


def control_audio(
    own: Mapping[str, np.ndarray],
    songs: Mapping[str, str],
    seed: int,
    training_song: Callable[[np.random.Generator], np.ndarray] | None = None,
) -> dict[str, dict[str, np.ndarray]]:
    """{control: {clip: audio}}, each as long as the clip's own music.

    own : clip -> its own music (S,). songs : clip -> song. training_song : draws training music; without it there is no control
    `random training song`. If all clips have one song, there is no shuffled ground truth.
    """
    clips = sorted(own)
    other = draw_other_song([songs[c] for c in clips], seed)
    rng = np.random.default_rng(seed)
    result: dict[str, dict[str, np.ndarray]] = {name: {} for name in CONTROLS}
    for i, clip in enumerate(clips):
        audio, n = own[clip], len(own[clip])
        result["ground truth"][clip] = audio
        if other[i] >= 0:
            result["shuffled ground truth"][clip] = fit_length(own[clips[other[i]]], n)
        if training_song:
            drawn = training_song(rng)
            result["random training song"][clip] = fit_length(drawn, n, offset=int(rng.integers(n)))
        result["fixed click"][clip] = click_track(n)
        result["silence"][clip] = silence(n)
        result["white noise"][clip] = white_noise(n, seed + i)
    return {name: of_clips for name, of_clips in result.items() if of_clips}
