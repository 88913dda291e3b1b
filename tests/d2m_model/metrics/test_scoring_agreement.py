"""P1 and P2 agree with a second computation from the protocols' text."""

import math
import os
from pathlib import Path

import librosa
import numpy as np
import pytest

from d2m_model.metrics.controls import white_noise
from d2m_model.metrics.inputs import audio_files, read_audio
from d2m_model.metrics.scoring import Reference, score_system
from dataset_tools.demo.music.songs import GENRES, compose, synthesise
from tests.d2m_model.metrics.test_scoring import RATE
from tests.helpers.builders import beats_of, click_train

# The second computation: lists and loops from the text of P1 and P2, sharing nothing with the project but librosa.


def text_bins(audio, **picker):
    times = librosa.onset.onset_detect(y=audio, sr=22050, units="time", **picker)
    marks = [0] * math.ceil(len(audio) / 22050)
    for t in times:
        if int(t) < len(marks):
            marks[int(t)] = 1
    return marks


def text_p1(pairs):
    picker = {"wait": 1, "delta": 0.2, "pre_avg": 1, "post_avg": 1, "post_max": 1}
    marks = [(text_bins(g, **picker), text_bins(r, **picker)) for g, r in pairs]
    sums = [(sum(g), sum(r), sum(a * b for a, b in zip(g, r, strict=True))) for g, r in marks]
    heard = [s for s in sums if s[1]]
    total = sum(s[1] for s in sums)
    return {
        "coverage_macro": 100 * sum(g / r for g, r, _ in heard) / len(heard),
        "hit_macro": 100 * sum(b / r for _, r, b in heard) / len(heard),
        "coverage_micro": 100 * sum(s[0] for s in sums) / total,
        "hit_micro": 100 * sum(s[2] for s in sums) / total,
    }


def text_p2(pairs):
    picker = {"wait": 1, "delta": 0.2, "pre_avg": 3, "post_avg": 3, "pre_max": 3, "post_max": 3}
    marks = [(text_bins(g, **picker), text_bins(r, **picker)) for g, r in pairs]
    hits = [sum(a * b for a, b in zip(g, r, strict=True)) for g, r in marks]
    bcs = [h / sum(g) if sum(g) else 0.0 for h, (g, _) in zip(hits, marks, strict=True)]
    bhs = [h / sum(r) if sum(r) else 0.0 for h, (_, r) in zip(hits, marks, strict=True)]
    p, r = sum(bcs) / len(bcs), sum(bhs) / len(bhs)
    deviation = lambda x, m: math.sqrt(sum((v - m) ** 2 for v in x) / (len(x) - 1))
    scores = {
        "BCS": p,
        "CSD": deviation(bcs, p),
        "BHS": r,
        "HSD": deviation(bhs, r),
        "F1": 2 * p * r / (p + r) if p + r else 0.0,
    }
    return {name: 100 * value for name, value in scores.items()}


def signals():
    """Pairs of all kinds: random bursts, clicks, noise, silence on either side, lengths that end inside a second."""
    rng = np.random.default_rng(7)
    pairs = []
    for n in range(12):
        size = int(rng.uniform(2.0, 8.0) * RATE)
        burst = lambda size=size: (
            rng.standard_normal(size) * np.repeat(rng.random(1 + size // 3000) ** 6, 3000)[:size]
        ).astype(np.float32)
        kinds = [
            burst,
            lambda s=size, n=n: click_train(beats_of(n, s / RATE), s),
            lambda s=size, n=n: white_noise(s, n),
            lambda s=size: np.zeros(s, np.float32),
        ]
        pairs.append((kinds[n % 4](), kinds[(n // 4 + n) % 3]()))
    pairs.append((white_noise(3 * RATE, 1), np.zeros(3 * RATE, np.float32)))
    return pairs


def assert_both_agree(pairs):
    """P1 and P2 of the project and of the second computation, to 1e-9; returns the project's."""
    audio = {f"{i:02d}": g for i, (g, _) in enumerate(pairs)}
    summary, _ = score_system(
        audio, Reference(audio={f"{i:02d}": r for i, (_, r) in enumerate(pairs)}), draws=100, protocols=("P1", "P2")
    )
    for protocol, wanted in (("P1", text_p1(pairs)), ("P2", text_p2(pairs))):
        for name, value in wanted.items():
            assert summary[protocol][name] == pytest.approx(value, abs=1e-9), (protocol, name)
    return summary


def test_p1_and_p2_agree_with_a_second_computation():
    summary = assert_both_agree(signals())
    assert 0 < summary["P2"]["F1"] < 100 and summary["P1"]["undefined"] >= 1


def crossed(music, seconds=7.3):
    """Pairs of passages: each piece against the next one, both as it is and against itself in noise."""
    size = int(seconds * RATE)
    passages = [a[start : start + size] for a in music for start in (0, len(a) // 2) if len(a) >= start + size]
    noisy = [p + white_noise(size, n) for n, p in enumerate(passages)]
    return list(zip(passages, passages[1:] + passages[:1], strict=True)) + list(zip(noisy, passages, strict=True))


def test_both_agree_on_songs():
    summary = assert_both_agree(
        crossed([synthesise(compose(3, genre), RATE).astype(np.float32) for genre in sorted(GENRES)[:3]])
    )
    assert 0 < summary["P2"]["F1"] < 100


@pytest.mark.skipif(
    "D2M_MUSIC" not in os.environ, reason="set D2M_MUSIC to a folder of real music (.wav, .flac, .ogg, .mp3)"
)
def test_both_agree_on_real_music():
    assert_both_agree(crossed([read_audio(path) for path in audio_files(Path(os.environ["D2M_MUSIC"])).values()]))
