"""Beats of music: clicks and bars are found, silence has none; which of true and tracked beats are taken."""

import numpy as np
import pytest

from d2m_model.metrics.p4_onsets import beat_f_measure
from d2m_model.rhythm import music_beats as trackers
from d2m_model.rhythm.params import Params
from d2m_model.rhythm.sources import beats_source
from dataset_tools.lib.core.errors import UserError
from dataset_tools.lib.core.layout import Layout
from tests.helpers.builders import beats_of, build_shards, click_train


def test_librosa_finds_clicks_their_bars_and_strengths():
    true = np.arange(0.25, 12, 0.5)
    audio = click_train(true, 12 * 22050)
    time = np.arange(4410) / 22050
    thump = 0.9 * np.sin(2 * np.pi * 60 * time) * np.exp(-time / 0.05)
    for beat in true[1::4]:
        at = round(beat * 22050)
        audio[at : at + len(thump)] += thump[: len(audio) - at].astype(np.float32)
    found = trackers.music_beats(audio)
    assert beat_f_measure(true, found.beats) > 0.9 and abs(found.tempo - 120) < 1.5
    assert beat_f_measure(true[1::4], found.downbeats) > 0.8
    assert trackers.strengths(audio, true).min() > 0.3 > trackers.strengths(audio, true + 0.25).max()


def test_silence_has_no_music_beats():
    found = trackers.music_beats(np.zeros(22050, np.float32))
    assert len(found.beats) == len(found.downbeats) == 0 and found.tempo is None
    assert (trackers.strengths(np.zeros(22050, np.float32), np.array([0.5])) == 0).all()


def test_where_the_beats_come_from(tmp_path, monkeypatch, capsys):
    build_shards(tmp_path / "data" / "tiny" / "shards", clips=1)
    layout = Layout(root=tmp_path, corpus="tiny")
    monkeypatch.setattr(trackers.importlib.util, "find_spec", lambda name: None)
    assert beats_source(Params(), layout).name == "librosa"
    assert "tracked by librosa" in capsys.readouterr().out
    with pytest.raises(UserError, match="beat-this is not installed"):
        beats_source(Params(beats="beat-this"), layout)
    with pytest.raises(UserError, match=r"rhythm.beats is truth, but there is no clip_000.npz"):
        beats_source(Params(beats="truth"), layout)
    truth = layout.stage("sources") / "truth"
    truth.mkdir(parents=True)
    np.savez(truth / "clip_000.npz", beats=beats_of(0, 4), downbeats=beats_of(0, 4)[::4])
    assert beats_source(Params(), layout).name == "truth"


def test_beat_this_is_called_as_its_authors_say(monkeypatch, tmp_path):
    """Only where it is installed: its network with random weights, for the published ones are not in the project."""
    inference = pytest.importorskip("beat_this.inference")
    monkeypatch.setattr(inference, "load_model", lambda *_, **__: inference.BeatThis().eval())
    found = trackers.music_beats(
        click_train(np.arange(0.2, 3, 0.5), 3 * 22050), trackers.beat_this(tmp_path / "any.ckpt")
    )
    assert (np.diff(found.beats) > 0).all() and found.seconds == 3
