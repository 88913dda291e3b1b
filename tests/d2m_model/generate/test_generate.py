"""Generation: one sound for each clip, a video of one's own with its picture untouched, mistakes in one line."""

import csv
import json
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import soundfile

from d2m_model.generate import __main__ as generate
from d2m_model.generate import models, own_pose, own_video
from d2m_model.generate import own_videos as own_videos_module
from d2m_model.generate.composing import WindowComposer
from d2m_model.generate.detected_beats import detected_beats
from d2m_model.generate.params import Params
from d2m_model.generate.stage import generate_split
from dataset_tools.i3d import visual_features
from dataset_tools.lib.core.errors import UserError
from dataset_tools.lib.core.layout import Layout
from dataset_tools.lib.shard_io.shard_set import ShardSet
from dataset_tools.pose import estimator
from tests.d2m_model.generate.test_mux import packets_and_audio, write_video
from tests.d2m_model.generate.test_windows import Echo
from tests.helpers.builders import build_shards, click_train
from tests.helpers.footage import undecodable_audio

RATE = 22050
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
        sound = np.zeros(60 * 735, np.float32)
        for frame in hits:
            sound[frame * 735 : frame * 735 + 50] = 0.5
        return sound


def make_stage(root, clips=3, seconds=4.5):
    (root / "manifests" / "tiny").mkdir(parents=True)
    (root / "manifests" / "tiny" / "clips.csv").write_text("")
    (root / "params.yaml").write_text(PARAMS)
    layout = Layout(root=root, corpus="tiny")
    build_shards(layout.stage("shards"), clips=clips, seconds=seconds, split="test", corpus="tiny")
    return layout


def test_stage_makes_one_wav_per_test_clip(tmp_path, monkeypatch):
    layout = make_stage(tmp_path)
    monkeypatch.setattr(models, "load_model", lambda *_: WindowComposer(Metronome(), "high"))
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
        sound, _ = soundfile.read(folder / f"{entry.clip_id}.wav")
        height = shards.read(entry.clip_id).pose[:, 0, 0, 1]
        heard = np.flatnonzero(np.diff((sound > 0.1).astype(int), prepend=0) > 0) / 735
        lowest = np.flatnonzero(np.isclose(height, height.max(), atol=0.5))
        assert len(heard) and all(np.abs(lowest - h).min() < 0.01 for h in heard)
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    generate.main(["--root", str(tmp_path), "--corpus", "tiny", "--variant", "full"])
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_what_earlier_runs_left_is_removed_and_rows_csv_comes_last(tmp_path, monkeypatch):
    layout = make_stage(tmp_path, clips=2)
    monkeypatch.setattr(models, "load_model", lambda *_: WindowComposer(Metronome(), "high"))
    folder, command = layout.stage("generate") / "high-full", ["--root", str(tmp_path), "--corpus", "tiny"]
    sounds = ["clip_000.wav", "clip_001.wav", "rows.csv"]
    generate.main([*command, "--variant", "full", "--json"])
    (folder / "clip_000.codes.npy").write_bytes(b"of a prior")
    assert sorted(p.name for p in folder.glob("*.json")) == ["clip_000.json", "clip_001.json"]
    generate.main([*command, "--variant", "full"])
    assert sorted(p.name for p in folder.iterdir()) == sounds
    with pytest.raises(UserError, match="lower hop"):
        generate_split(None, lambda: WindowComposer(Metronome(), "high"), folder, Params(hop=3), "x", rhythm=tmp_path)
    assert sorted(p.name for p in folder.iterdir()) == sounds, "nothing was begun"
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
    with pytest.raises(UserError, match=r"^g\.pt: was not told .* --genre changes nothing; leave it out$"):
        models.load_model(layout, "high", "full", {}, "house")


@pytest.mark.parametrize(
    "option", ["style", "genre", "variant", "level", "beats", "video", "own-music", "out", "from", "redo", "corpus"]
)
def test_an_empty_value_is_refused_by_the_name_of_its_option(capsys, option):
    with pytest.raises(SystemExit) as ended:
        generate.main([f"--{option}", ""])
    assert ended.value.code == 2 and capsys.readouterr().err.startswith(f"error: --{option} is empty; ")


class Bystanders:
    """A pose network that finds the number of people it is told to."""

    count = 1

    def __init__(self, *_, **__):
        pass

    def start(self, frames):
        return frames

    def find_people(self, begun):
        for n, _ in enumerate(begun):
            person = np.full((self.count, 17, 3), 10.0, np.float32)
            person[..., 0] += 5 * np.arange(17) + n
            person[..., 1] += 2 * np.arange(17)
            yield person, np.zeros((self.count, 10, 3), np.float32)


@pytest.fixture
def own_videos(tmp_path, monkeypatch):
    """A folder with in.mp4, 24 fps and 2 s, and fakes for the networks, so that only the way through is real."""
    make_stage(tmp_path, clips=1)
    (tmp_path / "params.yaml").write_text("generate: {denoise: 0}\nclips: {crop: false}\npose: {workers: 1}\ni3d: {}\n")
    write_video(tmp_path / "in.mp4")

    def features(frames):
        return np.ones((len(list(frames)) // 30 - 1, 2048), np.float32)

    model = Echo()
    model.audio = lambda pose, size, visual: np.sin(np.arange(60 * 735) / 20).astype(np.float32) * visual[0]
    monkeypatch.setattr(estimator, "PoseEstimator", Bystanders)
    monkeypatch.setattr(visual_features, "load_visual_features", lambda *_, **__: features)
    monkeypatch.setattr(own_video, "locate", lambda name, layout: name)
    monkeypatch.setattr(own_pose, "locate", lambda name, layout, **_: name)
    monkeypatch.setattr(own_video, "file_sha256", lambda path: "0123456789abcdef")
    monkeypatch.setattr(models, "trained", lambda *_: None)
    monkeypatch.setattr(models, "load_model", lambda layout, level, *_: WindowComposer(model, level))
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("frames", [7, 48, 100])
def test_own_video_of_any_length(own_videos, capsys, frames):
    write_video(own_videos / "in.mp4", frames=frames)
    assert (
        generate.main(
            ["--corpus", "tiny", "--variant", "full", "--video", "in.mp4", "--out", "out.mp4", "--level", "both"]
        )
        == 0
    )
    for level in ("high", "low"):
        before, after = (packets_and_audio(own_videos / name) for name in ("in.mp4", f"out-{level}.mp4"))
        assert [digest for digest, _ in before[0]] == [digest for digest, _ in after[0]]
        assert abs(after[2] - frames / 24) < 0.06 and np.abs(after[3]).max() > 0.1
    assert "100%" in capsys.readouterr().out
    assert generate.main(["--corpus", "tiny", "--variant", "full", "--video", "in.mp4", "--out", "x.wav"]) == 0
    assert soundfile.info("x.wav").frames == round(frames / 24 * 30) * 735


def test_a_folder_of_videos_and_their_beats(own_videos, capsys):
    videos = own_videos / "videos"
    videos.mkdir()
    for name in ("b.mp4", "a.mkv"):
        write_video(videos / name)
    (videos / "broken.mp4").write_bytes(b"no video")
    (videos / "notes.txt").write_text("not asked for")
    with pytest.raises(UserError, match=r"1 of 3 videos failed: broken\.mp4; the others are in out$"):
        generate.main(
            ["--corpus", "tiny", "--variant", "full", "--video", "videos", "--out", "out", "--json", "--seed", "3"]
        )
    assert sorted(p.name for p in (own_videos / "out").iterdir()) == ["a.json", "a.mkv", "b.json", "b.mp4"]
    assert "failed: broken.mp4: not a readable video" in capsys.readouterr().out
    beats = json.loads((own_videos / "out" / "a.json").read_text())
    assert set(beats) == {"sound", "level", "seed", "seconds", "tempo", "beats", "onsets"} and beats["seed"] == 3
    with pytest.raises(UserError, match="must be another folder|which would be lost"):
        generate.main(["--corpus", "tiny", "--variant", "full", "--video", "videos", "--out", "videos"])
    write_video(videos / "a.mp4")
    with pytest.raises(UserError, match="two videos are called a"):
        generate.main(["--corpus", "tiny", "--variant", "full", "--video", "videos", "--out", "out"])


def test_no_film_of_a_folder_costs_another_its_music(own_videos, monkeypatch, capsys):
    """Neither one whose sound can't be decoded, for it isn't asked for, nor one that nobody foresaw."""
    videos = own_videos / "videos"
    videos.mkdir()
    write_video(own_videos / "in.mp4")
    undecodable_audio(own_videos / "in.mp4", videos / "a.mp4")
    for name in ("b.mp4", "c.mp4"):
        write_video(videos / name)
    composed = own_videos_module.find_dance

    def strange(video, *args):
        if video.name == "b.mp4":
            raise RuntimeError("what is\nthis")
        return composed(video, *args)

    monkeypatch.setattr(own_videos_module, "find_dance", strange)
    with pytest.raises(UserError, match=r"1 of 3 videos failed: b\.mp4; the others are in out$"):
        generate.main(["--corpus", "tiny", "--variant", "full", "--video", "videos", "--out", "out"])
    assert sorted(p.name for p in (own_videos / "out").iterdir()) == ["a.mp4", "c.mp4"]
    assert "failed: b.mp4: RuntimeError: what is this" in capsys.readouterr().out
    before, after = (packets_and_audio(path) for path in (own_videos / "in.mp4", own_videos / "out" / "a.mp4"))
    assert [digest for digest, _ in before[0]] == [digest for digest, _ in after[0]]


def test_detected_beats_are_those_of_a_metronome():
    sound = click_train(np.arange(0.25, 8, 0.5), 8 * RATE)
    found = detected_beats(sound)
    assert abs(found["tempo"] - 120) < 3
    assert all(abs((beat - 0.25) % 0.5 - 0.25) > 0.18 for beat in found["beats"]) and len(found["beats"]) > 10
    assert detected_beats(np.zeros(RATE, np.float32)) == {"tempo": None, "beats": [], "onsets": []}


def test_a_hop_beyond_the_models_window_is_one_line(tmp_path, monkeypatch):
    make_stage(tmp_path, clips=1)
    (tmp_path / "params.yaml").write_text("generate: {hop: 3}\n")
    monkeypatch.setattr(models, "load_model", lambda *_: WindowComposer(Metronome(), "high"))
    with pytest.raises(
        UserError, match=r"generate.hop 3 s and crossfade 0.25 s don't fit into the model's window of 2 s; lower hop"
    ):
        generate.main(["--root", str(tmp_path), "--corpus", "tiny", "--variant", "full"])


def test_settings_name_the_weights_as_the_shards_do(tmp_path):
    from dataset_tools.lib.core.work_cache import file_sha256

    layout = make_stage(tmp_path, clips=1)
    (tmp_path / "params.yaml").write_text("pose: {}\ni3d: {}\n")
    names = own_video.inputs_of_settings(layout)
    weights = Path(own_video.__file__).parents[2] / "dataset_tools" / "demo" / "weights"
    assert (
        names["pose_weights"] == f"pose_demo@{file_sha256(weights / 'pose_demo.pt')[:8]}"
        and names["pose_layout"] == "coco17"
    )
    assert names["i3d_weights"] == f"i3d_demo@{file_sha256(weights / 'i3d_demo.pt')[:8]}"


def test_the_prior_asks_for_no_weights_that_it_does_not_read(tmp_path, monkeypatch, capsys):
    layout = make_stage(tmp_path, clips=1)
    monkeypatch.setattr(models, "trained", lambda *_: None)
    monkeypatch.setattr(models, "load_model", lambda *_: WindowComposer(Metronome(), "high"))
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


def test_own_video_without_people_still_gets_music(own_videos, monkeypatch, capsys):
    monkeypatch.setattr(Bystanders, "count", 0)
    assert generate.main(["--corpus", "tiny", "--variant", "full", "--video", "in.mp4", "--out", "x.wav"]) == 0
    assert "warning: nobody was found in in.mp4" in capsys.readouterr().out
    assert np.abs(soundfile.read("x.wav")[0]).max() > 0.1


def test_own_video_that_is_none_leaves_nothing(own_videos):
    (own_videos / "in.mp4").write_bytes(b"not a video at all")
    with pytest.raises(UserError, match=r"in\.mp4: not a readable video"):
        generate.main(["--corpus", "tiny", "--variant", "full", "--video", "in.mp4", "--out", "out.mp4"])
    assert not (own_videos / "out.mp4").exists()


def test_a_picture_is_no_dance(own_videos):
    cv2.imwrite(str(own_videos / "x.png"), np.zeros((90, 120, 3), np.uint8))
    (own_videos / "x.png").rename(own_videos / "in.mp4")
    with pytest.raises(UserError, match=r"in\.mp4: holds a single picture"):
        generate.main(["--corpus", "tiny", "--variant", "full", "--video", "in.mp4", "--out", "out.mp4"])
    assert not (own_videos / "out.mp4").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--video", "gone.mp4", "--out", "x.mp4"], "gone.mp4: file not found"),
        (["--video", "in.txt", "--out", "x.avi"], "--out must end in"),
        (["--video", "in.txt", "--out", "nowhere/x.mp4"], "no such folder"),
        (["--video", "in.txt"], "go together"),
        (["--video", "in.txt", "--out", "x.mp4"], "no model trained yet"),
        (["--denoise", "7"], "denoise must be 0 to 1"),
        (["--denoise", "0.5"], "--denoise changes nothing of the prior"),
        (["--genre", "house"], "--genre changes nothing of the prior"),
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
