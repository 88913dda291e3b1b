"""Generation: one audio file for each clip, mistakes in one line."""

import csv
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile

from d2m_model.generate import __main__ as generate
from d2m_model.generate import models
from d2m_model.generate.generators import WindowGenerator
from d2m_model.generate.params import Params
from d2m_model.generate.stage import generate_split
from dataset_tools.lib.core.errors import UserError
from dataset_tools.lib.core.layout import Layout
from dataset_tools.lib.shard_io.shard_set import ShardSet
from tests.helpers.builders import build_shards

PARAMS = "generate: {denoise: 0.0}\n"


class Metronome:
    """A model that clicks whenever the dancer's first joint is at its lowest, to test who is heard where."""

    frames, stream = 60, "pose"

    def for_genre(self, genre):
        return self

    def audio(self, pose, size, visual):
        assert pose.shape[0] == 60 and visual.shape == (2048,) and size == (204, 360)
        height = pose[:, 0, 0, 1]
        hits = np.flatnonzero(height == height.max())
        wave = np.zeros(60 * 735, np.float32)
        for frame in hits:
            wave[frame * 735 : frame * 735 + 50] = 0.5
        return wave


def make_stage(root, clips=3, seconds=4.5):
    (root / "manifests" / "tiny").mkdir(parents=True)
    (root / "manifests" / "tiny" / "clips.csv").write_text("")
    (root / "params.yaml").write_text(PARAMS)
    layout = Layout(root=root, corpus="tiny")
    build_shards(layout.stage("shards"), clips=clips, seconds=seconds, split="test", corpus="tiny")
    return layout


def test_stage_makes_one_wav_per_test_clip(tmp_path, monkeypatch):
    layout = make_stage(tmp_path)
    monkeypatch.setattr(models, "load_model", lambda *_, **__: WindowGenerator(Metronome(), "high"))
    folder = layout.stage("generate") / "high-full"
    folder.mkdir(parents=True)
    (folder / "clip_of_another_run.wav").write_bytes(b"x")
    assert generate.main(["--root", str(tmp_path), "--corpus", "tiny", "--variant", "full"]) == 0
    names = {f"clip_{n:03d}" for n in range(3)}
    assert {path.stem for path in folder.glob("*.wav")} == names
    with open(folder / "rows.csv", newline="") as handle:
        rows = {row["id"]: row for row in csv.DictReader(handle)}
    assert set(rows) == names and all(r["status"] == "ok" and r["seconds"] == "4.5" for r in rows.values())
    shards = ShardSet(layout.stage("shards"), "test")
    for entry in shards.clips:
        wave, _ = soundfile.read(folder / f"{entry.clip_id}.wav")
        height = shards.read(entry.clip_id).pose[:, 0, 0, 1]
        heard = np.flatnonzero(np.diff((wave > 0.1).astype(int), prepend=0) > 0) / 735
        lowest = np.flatnonzero(np.isclose(height, height.max(), atol=0.5))
        assert len(heard) and all(np.abs(lowest - h).min() < 0.01 for h in heard)
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    generate.main(["--root", str(tmp_path), "--corpus", "tiny", "--variant", "full"])
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_what_earlier_runs_left_is_removed_and_rows_csv_comes_last(tmp_path, monkeypatch):
    layout = make_stage(tmp_path, clips=2)
    monkeypatch.setattr(models, "load_model", lambda *_, **__: WindowGenerator(Metronome(), "high"))
    folder, command = layout.stage("generate") / "high-full", ["--root", str(tmp_path), "--corpus", "tiny"]
    audio = ["clip_000.wav", "clip_001.wav", "rows.csv"]
    generate.main([*command, "--variant", "full", "--json"])
    (folder / "clip_000.codes.npy").write_bytes(b"of a prior")
    assert sorted(p.name for p in folder.glob("*.json")) == ["clip_000.json", "clip_001.json"]
    generate.main([*command, "--variant", "full"])
    assert sorted(p.name for p in folder.iterdir()) == audio
    with pytest.raises(UserError, match="lower hop"):
        generate_split(None, lambda: WindowGenerator(Metronome(), "high"), folder, Params(hop=3), "x", rhythm=tmp_path)
    assert sorted(p.name for p in folder.iterdir()) == audio, "nothing was begun"
    monkeypatch.setattr(Metronome, "audio", None)
    with pytest.raises(TypeError):
        generate.main([*command, "--variant", "full"])
    assert not (folder / "rows.csv").exists()


def test_missing_models_name_the_commands(tmp_path):
    layout = make_stage(tmp_path)
    with pytest.raises(UserError, match=r"no model trained yet.*d2m_model\.synthesizer.*d2m_model\.d2m_gan"):
        generate.main(["--root", str(tmp_path), "--corpus", "tiny", "--variant", "full", "--level", "low"])
    with pytest.raises(
        UserError,
        match=r"no model trained yet.*d2m_model\.synthesizer.*d2m_model\.prior .*high.*d2m_model\.prior .*low",
    ):
        generate.main(["--root", str(tmp_path), "--corpus", "tiny", "--level", "low"])
    assert not layout.stage("generate").exists()


def test_a_genre_for_a_model_that_is_told_none_is_refused(tmp_path, monkeypatch):
    layout, deaf = (
        make_stage(tmp_path, clips=1),
        SimpleNamespace(net=SimpleNamespace(genres=()), stream="pose", for_genre=lambda genre: deaf),
    )
    monkeypatch.setattr(models, "trained", lambda *_: (Path("g.pt"), Path("s.pt")))
    monkeypatch.setattr(models.MusicModel, "load", lambda *_: deaf)
    assert models.load_model(layout, "high", "full", {}, "").model is deaf
    with pytest.raises(UserError, match=r"^g\.pt: was trained without .* --genre changes nothing; leave it out$"):
        models.load_model(layout, "high", "full", {}, "house")


@pytest.mark.parametrize(
    "option", ["style", "genre", "variant", "level", "beats", "video", "own-music", "out", "from", "redo", "corpus"]
)
def test_an_empty_value_is_refused_by_the_name_of_its_option(capsys, option):
    with pytest.raises(SystemExit) as ended:
        generate.main([f"--{option}", ""])
    assert ended.value.code == 2 and capsys.readouterr().err.startswith(f"error: --{option} is empty; ")


def test_a_hop_beyond_the_models_window_is_one_line(tmp_path, monkeypatch):
    make_stage(tmp_path, clips=1)
    (tmp_path / "params.yaml").write_text("generate: {hop: 3}\n")
    monkeypatch.setattr(models, "load_model", lambda *_, **__: WindowGenerator(Metronome(), "high"))
    with pytest.raises(
        UserError, match=r"generate.hop 3 s and crossfade 0.25 s don't fit into the model's window of 2 s; lower hop"
    ):
        generate.main(["--root", str(tmp_path), "--corpus", "tiny", "--variant", "full"])


def test_the_prior_asks_for_no_weights_that_it_does_not_read(tmp_path, monkeypatch, capsys):
    layout = make_stage(tmp_path, clips=1)
    monkeypatch.setattr(models, "trained", lambda *_: None)
    monkeypatch.setattr(models, "load_model", lambda *_, **__: WindowGenerator(Metronome(), "high"))
    settings = tmp_path / "params.yaml"
    settings.write_text("pose: {weights: annotated}\ni3d: {weights: gone.pt}\n")
    assert models.load_models(layout, ["high"], "prior", beats=True) and "demo weights" not in capsys.readouterr().out
    with pytest.raises(UserError, match="pose.weights is 'annotated'"):
        models.load_models(layout, ["high"], "prior")
    settings.write_text("pose: {}\ni3d: {weights: gone.pt}\n")
    assert models.load_models(layout, ["high"], "prior") and "demo weights" not in capsys.readouterr().out, (
        "own_pose says it, where it looks"
    )
    with pytest.raises(UserError, match="gone"):
        models.load_models(layout, ["high"], "full")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--video", "gone.mp4", "--out", "x.mp4"], "gone.mp4: file not found"),
        (["--video", "in.txt", "--out", "x.avi"], "--out must end in"),
        (["--video", "in.txt", "--out", "nowhere/x.mp4"], "no such folder"),
        (["--video", "in.txt"], "go together"),
        (["--video", "in.txt", "--out", "x.mp4"], "no model trained yet"),
        (["--denoise", "7"], "denoise must be 0 to 1"),
        (["--denoise", "0.5"], "--denoise changes nothing with the prior"),
        (["--genre", "house"], "--genre changes nothing with the prior"),
        (["--genre", "house", "--variant", "full"], "--genre is for a dance of your own"),
        (["--style", "house", "--strictness", "0"], "--style changes nothing where strictness is 0"),
        (["--seed", "-1"], "seed must be 0 to"),
        (["--seed", str(2**63)], "seed must be 0 to"),
        (["--seed", str(2**63 - 1), "--takes", "2"], "seed must be 0 to"),
    ],
)
def test_mistakes_are_one_line(tmp_path, monkeypatch, arguments, message):
    make_stage(tmp_path, clips=1)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "in.txt").write_text("no video")
    with pytest.raises(UserError, match=message) as caught:
        generate.main(["--corpus", "tiny", *arguments])
    assert "\n" not in str(caught.value)
