"""The log-mel front-end, retrieval, FAD and novelty on points and audio whose answer is known."""

import numpy as np
import pytest
import torch

from d2m_model.metrics.audio_quality import log_mel_distance, loudness
from d2m_model.metrics.bootstrap import resamples
from d2m_model.metrics.embedding import Database, Embedded, embed, embedding_scores, genre_facts
from dataset_tools.demo import train_embedding
from dataset_tools.lib.core.errors import UserError
from dataset_tools.lib.embedding.log_mel import (
    OFFSET,
    hertz_to_mel,
    log_mel,
    log_mel_patches,
    mel_filters,
    segment_patches,
)
from dataset_tools.lib.embedding.net import EmbeddingNet, load_embedding, save_embedding

RATE = 22050


def tone(hertz, seconds, rate):
    return np.sin(2 * np.pi * hertz * np.arange(round(seconds * rate)) / rate).astype(np.float32)


def test_log_mel_is_vggishs():
    """Against sums written out: periodic Hann, 512-point magnitude, triangles straight in mel, log(x + 0.01)."""
    assert log_mel(np.zeros(400, np.float32)) == pytest.approx(np.full((1, 64), np.log(OFFSET)))
    assert len(log_mel(np.zeros(399, np.float32))) == 0 and log_mel_patches(np.zeros(2 * 16000, np.float32)).shape == (
        2,
        1,
        96,
        64,
    )
    audio = tone(1000, 1, 16000) + 0.1 * tone(3000, 1, 16000)
    frame = [audio[1600 + n] * (0.5 - 0.5 * np.cos(2 * np.pi * n / 400)) for n in range(400)]
    edges = [
        700 * (np.exp((hertz_to_mel(125) + i * (hertz_to_mel(7500) - hertz_to_mel(125)) / 65) / 1127) - 1)
        for i in range(66)
    ]
    wanted = np.zeros(64)
    for k in range(1, 257):
        size = abs(sum(x * np.exp(-2j * np.pi * k * n / 512) for n, x in enumerate(frame)))
        place = np.interp(hertz_to_mel(k * 31.25), hertz_to_mel(edges), np.arange(66.0), left=-9, right=99)
        for band in range(64):
            wanted[band] += size * max(0.0, 1 - abs(place - (band + 1)))
    assert log_mel(audio)[10] == pytest.approx(np.log(wanted + 0.01), abs=1e-4)
    assert mel_filters().shape == (257, 64) and not mel_filters()[0].any()


def test_segments_are_two_seconds_at_any_rate():
    parts = segment_patches(tone(440, 5.0, RATE), RATE)
    assert [p.shape for p in parts] == [(2, 1, 96, 64)] * 2
    assert np.abs(parts[1] - segment_patches(tone(440, 5.0, 16000), 16000)[1]).mean() < 0.05
    assert [len(p) for p in segment_patches(tone(440, 1.0, RATE), RATE)] == [1]
    assert segment_patches(tone(440, 0.9, RATE), RATE) == []


def points(centre, n, seed):
    """Audio of n segments of one patch around `centre` (2,)."""
    found = np.array(centre) + 0.1 * np.random.default_rng(seed).standard_normal((n, 2))
    return Embedded(patches=found, segments=found)


@pytest.fixture
def database():
    return Database([points((0, 0), 20, 0), points((5, 5), 20, 1)], ["house", "pop"])


def test_genre_is_that_of_the_nearest_training_segment(database):
    genres = {"a": "house", "b": "pop", "c": "pop"}
    own = {"a": points((0, 0), 3, 2), "b": points((5, 5), 1, 3), "c": points((5, 5), 4, 4)}
    facts = genre_facts(database, genres, own)
    assert (facts["chance"], facts["majority"], facts["database_segments"]) == (50, pytest.approx(100 * 5 / 8), 40)
    scores, rows = embedding_scores(own, database, genres, 0.1, resamples(3, ["s", "t", "t"], draws=100), 0)
    assert scores["genre"]["accuracy"] == 100 and scores["genre"]["segments"] == 8 and rows["a"]["genre_right"] == 1
    wrong = own | {"c": points((0, 0), 4, 5), "b": None}
    scores, rows = embedding_scores(wrong, database, genres, 0.1, resamples(3, draws=100), 0)
    assert scores["genre"]["accuracy"] == pytest.approx(100 * 3 / 7) and scores["genre"]["accuracy_low"] == 0
    assert rows["c"]["genre_right"] == 0 and np.isnan(rows["b"]["genre_right"])
    assert "declined" in genre_facts(database, genres | {"a": ""}, own)
    assert "declined" in genre_facts(Database([points((0, 0), 2, 0)], ["house"]), genres, own)


def test_novelty_is_zero_for_training_music(database):
    copied = {"a": database.audio[0], "b": points((9, 9), 5, 9)}
    scores, rows = embedding_scores(copied, database, None, 2.0, resamples(2, draws=100), 0)
    assert rows["a"]["novelty"] == 0 and "genre" not in scores
    assert rows["b"]["novelty"] == pytest.approx(np.hypot(4, 4) / 2, rel=0.1)


def test_embedding_averages_the_patches_of_a_segment():
    first = lambda found: found.reshape(len(found), -1)[:, :4].astype(float)
    audio = tone(440, 4.0, RATE)
    found = embed(audio, first)
    assert found.patches.shape == (4, 4) and found.segments.shape == (2, 4)
    assert found.segments[1] == pytest.approx(found.patches[2:].mean(0))
    assert embed(audio[:1000], first) is None


def test_loudness_and_spectral_distance():
    quiet, loud = 0.1 * tone(1000, 2, RATE), 0.2 * tone(1000, 2, RATE)
    assert loudness(loud) - loudness(quiet) == pytest.approx(20 * np.log10(2), abs=0.01)
    assert np.isnan(loudness(np.zeros(RATE, np.float32))) and np.isnan(loudness(loud[:1000]))
    assert log_mel_distance(loud, loud) == 0
    noise = np.random.default_rng(0).standard_normal(RATE).astype(np.float32)
    assert log_mel_distance(2 * noise, noise) == pytest.approx(20 * np.log10(2), rel=0.01)


def test_recipe_trains_saves_and_measures(tmp_path, monkeypatch):
    monkeypatch.setattr(train_embedding, "SONG_SECONDS", 8.0)
    monkeypatch.setattr(train_embedding, "EXCERPT_SECONDS", 4.0)
    monkeypatch.setattr(train_embedding, "BATCH", 8)
    out = tmp_path / "net.pt"
    arguments = ["--out", str(out), "--songs", "5", "--held-out", "5", "--epochs", "1"]
    assert train_embedding.main(arguments) == 0
    first = out.read_bytes()
    assert '"chance": 0.2' in out.with_suffix(".json").read_text()
    assert train_embedding.main(arguments) == 0 and out.read_bytes() == first
    with torch.inference_mode():
        assert load_embedding(out)(torch.zeros(3, 1, 96, 64)).shape == (3, 16)


def test_shipped_weights_tell_songs_they_never_heard_apart():
    from dataset_tools.lib.core.layout import PROJECT

    net = load_embedding(PROJECT / "dataset_tools/demo/weights/embedding_demo.pt")
    songs = [train_embedding.render_excerpt(n) for n in range(100000, 100010)]
    assert train_embedding.accuracy(net, songs)["segments"] > 0.7


def test_other_files_are_refused(tmp_path):
    bad = tmp_path / "bad.pt"
    bad.write_bytes(b"no weights")
    with pytest.raises(UserError, match="can't be read"):
        load_embedding(bad)
    torch.save({"kind": "something else"}, bad)
    with pytest.raises(UserError, match="not the demo's embedding"):
        load_embedding(bad)
    save_embedding(bad, EmbeddingNet(2), ["a"])
    with pytest.raises(UserError, match="can't be read"):
        load_embedding(bad)
