"""Fingerprints: the same recording is found through what editors do to it, songs that merely resemble it are not."""

import numpy as np
import pytest
import soxr
from scipy import signal

from dataset_tools.demo.music.songs import compose, synthesise
from dataset_tools.lib.core.timebase import SAMPLE_RATE
from dataset_tools.split.fingerprint import (
    ENERGY_FLOOR,
    HOP,
    LOWEST_HZ,
    SAME_RECORDING,
    WINDOW,
    Match,
    find_same_recordings,
    fingerprint,
    merge_groups,
)

SONGS = (("house", 1), ("house", 2), ("house", 3), ("hiphop", 4), ("breaks", 5))


@pytest.fixture(scope="module")
def songs() -> dict[str, np.ndarray]:
    """Songs that share synth voices; the three house songs share tempo range, drum pattern and chord progressions too."""
    made = {}
    for genre, seed in SONGS:
        audio = synthesise(compose(seed, genre, seconds=16.0), SAMPLE_RATE)
        made[f"{genre}{seed}"] = audio[int(2.3 * SAMPLE_RATE) :]
    return made


def cut(audio: np.ndarray, start: float, seconds: float) -> np.ndarray:
    return audio[round(start * SAMPLE_RATE) : round((start + seconds) * SAMPLE_RATE)]


def faster(audio: np.ndarray, ratio: float) -> np.ndarray:
    """Like a tape: tempo and pitch change together."""
    return soxr.resample(audio, SAMPLE_RATE * ratio, SAMPLE_RATE)


def stretched(audio: np.ndarray, ratio: float) -> np.ndarray:
    """Tempo alone, by a phase vocoder: what editing programs do."""
    import librosa

    return librosa.effects.time_stretch(audio, rate=ratio)


def higher(audio: np.ndarray, semitones: float) -> np.ndarray:
    """Pitch alone."""
    ratio = 2 ** (semitones / 12)
    return faster(stretched(audio, 1 / ratio), ratio)


def noisy(audio: np.ndarray, decibels: float) -> np.ndarray:
    noise = np.random.default_rng(0).standard_normal(len(audio)).astype(np.float32)
    return audio + noise * np.sqrt(np.mean(audio**2)) * 10 ** (-decibels / 20)


TELEPHONE = signal.butter(2, (250, 3400), "bandpass", fs=SAMPLE_RATE)
EDITS = {
    "as it is": (lambda x: x, 1.0, 0.0),
    "quieter, brighter": (lambda x: 0.1 * signal.lfilter([1, -0.6], 1, x), 1.0, 0.0),
    "noise at 10 dB": (lambda x: noisy(x, 10), 1.0, 0.0),
    "6 % faster": (lambda x: faster(x, 1.06), 1.06, 1.0),
    "6 % slower": (lambda x: faster(x, 0.94), 0.94, -1.0),
    "tempo + 6 %": (lambda x: stretched(x, 1.06), 1.06, 0.0),
    "tempo - 4.4 %": (lambda x: stretched(x, 0.956), 0.96, 0.0),
    "30 % faster": (lambda x: faster(x, 1.3), 1.3, 4.54),
    "27 % faster, mono telephone": (lambda x: signal.lfilter(*TELEPHONE, faster(x, 1.27)), 1.27, 4.14),
    "15 % faster": (lambda x: faster(x, 1.15), 1.15, 2.42),
    "8 % slower": (lambda x: faster(x, 0.92), 0.92, -1.44),
    "20 % slower": (lambda x: faster(x, 0.8), 0.8, -3.86),
    "tempo + 20 %": (lambda x: stretched(x, 1.2), 1.2, 0.0),
    "a semitone up": (lambda x: higher(x, 1), 1.0, 1.0),
    "a semitone down": (lambda x: higher(x, -1), 1.0, -1.0),
}


@pytest.mark.parametrize("edit", EDITS)
def test_an_edited_copy_is_found_with_its_tempo_and_pitch(songs, edit):
    change, tempo, semitones = EDITS[edit]
    clips = {f"{name}_a": cut(audio, 0, 7) for name, audio in songs.items()}
    clips["copy"] = change(cut(songs["house2"], 2.1, 7))
    prints = {name: fingerprint(audio) for name, audio in clips.items()}
    (match,) = find_same_recordings(prints, {name: name.split("_")[0] for name in clips})
    assert (match.first, match.second) == ("copy", "house2_a") and match.score >= SAME_RECORDING
    assert match.tempo == pytest.approx(tempo, abs=0.011) and match.semitones == pytest.approx(semitones, abs=0.34)
    assert match.seconds == pytest.approx(4.9 / min(tempo, 1), abs=0.6)  # of the slower one


def test_a_fingerprint_is_the_energy_in_triangular_bands_of_scipys_spectrum(songs):
    audio = cut(songs["house1"], 0, 3.2)
    frequency, _, spectrum = signal.stft(audio, SAMPLE_RATE, nperseg=WINDOW, noverlap=WINDOW - HOP)
    centre = LOWEST_HZ * 2 ** (np.arange(180) / 36)  # three bands a semitone, each a semitone to either side
    away = np.abs(12 * np.log2(np.maximum(frequency, 1)[None] / centre[:, None]))
    energy = np.maximum(0, 1 - away) @ np.abs(spectrum) ** 2
    expected = np.log(energy / np.quantile(energy, 0.99) + ENERGY_FLOOR).T
    assert fingerprint(audio) == pytest.approx(expected, abs=1e-3)
    assert fingerprint(0.01 * audio) == pytest.approx(expected, abs=1e-3)


def test_songs_of_one_style_are_not_one_recording(songs):
    clips = {f"{name}_{part}": cut(audio, 6.5 * part, 6.5) for name, audio in songs.items() for part in (0, 1)}
    prints = {name: fingerprint(audio) for name, audio in clips.items()}
    group_of = {name: name.split("_")[0] for name in clips}
    assert find_same_recordings(prints, group_of) == []
    assert find_same_recordings(prints, group_of, least=0.0)  # they were compared


def test_clips_of_one_song_are_not_reported(songs):
    prints = {name: fingerprint(cut(songs["house1"], 0, 6)) for name in ("a", "b")}
    assert find_same_recordings(prints, {"a": "song", "b": "song"}) == []
    assert len(find_same_recordings(prints, {"a": "song", "b": "other"})) == 1


def test_long_clips_are_compared_piece_by_piece(songs):
    first, second = (songs[name][: 10 * SAMPLE_RATE] for name in ("house1", "hiphop4"))
    clips = {"short": cut(songs["house1"], 4, 5), "long": np.concatenate([second, second[::-1], first])}
    (match,) = find_same_recordings({name: fingerprint(x) for name, x in clips.items()}, {"short": "a", "long": "b"})
    assert match.score > 0.6


@pytest.mark.parametrize("audio", [np.zeros(0), np.zeros(5 * SAMPLE_RATE), np.ones(100), np.full(5 * SAMPLE_RATE, 0.1)])
def test_silence_and_scraps_match_nothing(songs, audio):
    prints = {"a": fingerprint(audio), "b": fingerprint(audio), "c": fingerprint(cut(songs["house1"], 0, 5))}
    assert find_same_recordings(prints, {"a": "a", "b": "b", "c": "c"}) == []


def test_an_overlap_of_less_than_three_seconds_is_not_enough(songs):
    prints = {"a": fingerprint(cut(songs["house1"], 0, 6)), "b": fingerprint(cut(songs["house1"], 3.8, 6))}
    assert find_same_recordings(prints, {"a": "a", "b": "b"}) == []


def test_joined_goes_through_others():
    def match(first, second):
        return Match(first=first, second=second, score=1, tempo=1, semitones=0, seconds=5)

    songs = {"c1": "s1", "c2": "s2", "c3": "s3", "c4": "s4", "c5": "s5"}
    assert merge_groups([match("c3", "c4"), match("c1", "c3")], songs) == {"s1": "s1", "s3": "s1", "s4": "s1"}
    assert merge_groups([], songs) == {}
