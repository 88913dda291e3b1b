"""Rhythm: beats of dances whose beats are known, what the network sees of them, its stage and its command."""

import json
import os
import pickle
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
import yaml

from d2m_model.generate import own_pose
from d2m_model.metrics.onset_alignment import beat_f_measure
from d2m_model.rhythm import __main__ as command
from d2m_model.rhythm import music_beats as trackers
from d2m_model.rhythm.augment import augment, in_mirror, missing
from d2m_model.rhythm.beats_file import read_beats
from d2m_model.rhythm.body import FROM_BODY25, pose_features, resample
from d2m_model.rhythm.data import RhythmData
from d2m_model.rhythm.model import RhythmModel, load_rhythm, save_rhythm
from d2m_model.rhythm.params import Params
from d2m_model.rhythm.scoring import is_regular
from d2m_model.rhythm.sources import beats_source
from d2m_model.rhythm.stage import beats_of_music, train_rhythm, training_examples
from d2m_model.rhythm.training import train
from dataset_tools.lib.core.errors import UserError
from dataset_tools.lib.core.layout import Layout
from dataset_tools.lib.video.video_io import rgb_frames, write_clip
from dataset_tools.pose import estimator
from dataset_tools.pose.layouts import SOURCES
from tests.helpers.builders import (
    STANDING,
    beats_of,
    bouncing_pose,
    build_manifest,
    build_shards,
    click_train,
    nodding_motion,
)
from tests.helpers.footage import moving, spoiled

SMALL = {
    "width": 16,
    "blocks": 4,
    "dropout": 0.0,
    "steps": 150,
    "batch": 8,
    "seconds": 3.0,
    "log_every": 10,
    "draws": 100,
}


@pytest.fixture(scope="module")
def learnt(tmp_path_factory) -> tuple[Path, RhythmModel]:
    """A folder of shards of dancers that dip at every click, and a rhythm learnt from beats tracked in their music."""
    shards = tmp_path_factory.mktemp("shards")
    splits = {"train": build_shards(shards, clips=5, seconds=8)}
    music = beats_of_music(splits, None, trackers.librosa_beats)
    net, curves = train(training_examples(splits["train"], "pose", music), Params(**SMALL))
    assert curves.rows[-1]["beat"] < 0.7 * curves.rows[0]["beat"]
    return shards, RhythmModel(net)


def dips(tempo: float, seconds: float, first: float = 0.4) -> tuple[np.ndarray, np.ndarray]:
    """(beats in seconds, pose (T, 17, 3)) of a dancer that dips at an even tempo that no training clip has."""
    beats = np.arange(first, seconds, 60 / tempo)
    return beats, bouncing_pose(beats, round(seconds * 30))[:, 0]


@pytest.mark.parametrize("tempo", [97.0, 113.0, 128.0])
def test_a_dancer_who_dips_at_a_tempo_has_its_beats(learnt, tempo):
    true, pose = dips(tempo, 10)
    found = learnt[1].beats_of(pose)
    assert beat_f_measure(true, found.beats) > 0.9
    assert abs(found.tempo / tempo - 1) < 0.02
    assert is_regular(found) and len(found.strength) == len(found.beats) and set(found.downbeats) <= set(found.beats)
    assert abs(sum(found.style.values()) - 1) < 1e-5 and set(found.style) == {"house", "hiphop"}


def test_half_bodies_other_rates_and_moving_cameras_keep_their_beats(learnt):
    true, pose = dips(110.0, 10)
    half = pose.copy()
    half[:, 11:] = 0
    wandering = pose.copy()
    wandering[..., 0] += np.linspace(0, 300, len(pose))[:, None]
    at_24 = resample(pose, 30 * 30 / 24)  # 24 frames a second of the same dance
    views = {"half": (half, 30), "camera": (wandering, 30), "24 fps": (at_24, 24), "no confidence": (pose[..., :2], 30)}
    for name, (seen, fps) in views.items():
        assert beat_f_measure(true, learnt[1].beats_of(seen, fps).beats) > 0.85, name


def test_nobody_has_no_beats(learnt):
    found = learnt[1].beats_of(np.zeros((90, 17, 3), np.float32))
    assert len(found.beats) == 0 and found.tempo is None


def test_motion_is_read_like_keypoints(tmp_path):
    shards = build_shards(tmp_path, clips=5, seconds=8, motion_rate=60)
    music = beats_of_music({"train": shards}, None, trackers.librosa_beats)
    net, _ = train(training_examples(shards, "motion", music), Params(stream="motion", **SMALL))
    true = np.arange(0.4, 8, 60 / 112)
    model = RhythmModel(net)
    assert beat_f_measure(true, model.beats_of_motion(nodding_motion(true, 240, 60)).beats) > 0.9
    with pytest.raises(UserError, match=r"reads the stream 'motion', and this dance is keypoints"):
        model.beats_of(np.ones((30, 17, 3)))


# What a dancer looks like through other eyes.


def test_body25_becomes_coco17():
    named = {source: joint for joint, source in enumerate(SOURCES["body25"]) if isinstance(source, int)}
    assert all(FROM_BODY25[joint] == named[joint] for joint in range(17))


def test_features_forget_place_size_and_camera():
    pose = torch.from_numpy(bouncing_pose(beats_of(1, 8), 240)[:, 0])
    pose[..., 2] = 1
    moved = pose * torch.tensor([2.0, 2.0, 1.0]) + torch.tensor([500.0, -80.0, 0.0])
    assert torch.allclose(pose_features(pose[None]), pose_features(moved[None]), atol=1e-4)
    # far away in time is out of sight: the first second does not depend on the last two
    assert torch.allclose(pose_features(pose[None])[:, :30], pose_features(pose[None, :180])[:, :30], atol=1e-4)


def test_alterations_keep_the_shape_and_the_mirror_is_its_own_inverse():
    pose = torch.from_numpy(np.stack([bouncing_pose(beats_of(n, 3), 90)[:, 0] for n in range(40)]))
    pose[..., 2] = 1
    rng = torch.Generator().manual_seed(0)
    changed = augment(pose, rng)
    assert changed.shape == pose.shape and torch.isfinite(changed).all()
    assert set(changed[..., 2].unique().tolist()) == {0.0, 1.0}
    assert torch.equal(in_mirror(in_mirror(pose)), pose)
    lost = missing(pose, rng)[..., 2].amax(dim=1) == 0
    assert lost.any() and not lost.all(dim=1).any(), "joints are lost, and never all of them"


def test_a_batch_depends_on_seed_and_step_alone(learnt):
    shards = build_shards(learnt[0], clips=5, seconds=8)
    examples = training_examples(shards, "pose", beats_of_music({"train": shards}, None, trackers.librosa_beats))
    data = RhythmData(examples, ["hiphop", "house"], "pose", 60)
    one, same, other = data.batch(1, 5, 4), data.batch(1, 5, 4), data.batch(1, 6, 4)
    assert all(torch.equal(a, b) for a, b in zip(one, same, strict=True))
    assert not torch.equal(one.features, other.features)
    # where the target is 1 there is a beat, and nowhere else: windows of 2 s have 2 to 6 of them
    peaks = ((one.targets[..., 0] > 0.7) & (one.known > 0)).sum(dim=1)
    assert 2 <= peaks.min() and peaks.max() <= 12


# Beats of music.


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


# The stage and its command.


@pytest.fixture
def corpus(tmp_path, monkeypatch) -> Layout:
    """A working folder with a small corpus and a section `rhythm`."""
    build_manifest(tmp_path)
    layout = Layout(root=tmp_path, corpus="tiny")
    build_shards(layout.stage("shards"), clips=3, seconds=4)
    build_shards(layout.stage("shards"), clips=2, seconds=4, split="test", first=3)
    section = SMALL | {"steps": 4, "beats": "librosa"}
    (tmp_path / "params.yaml").write_text(yaml.safe_dump({"corpus": "tiny", "rhythm": section}))
    return layout


def test_the_stage_writes_what_it_says(corpus, capsys):
    assert command.main(["--root", str(corpus.root)]) == 0
    out = corpus.stage("rhythm")
    clips = {f"clip_{n:03d}.json" for n in range(5)}
    assert {p.name for p in (out / "beats").iterdir()} == {p.name for p in (out / "music").iterdir()} == clips
    assert {p.name for p in out.iterdir()} == {"model.pt", "metrics.json", "curves.csv", "rows.csv", "beats", "music"}
    metrics = json.loads((out / "metrics.json").read_text())
    assert metrics["beats"] == "librosa" and metrics["train_clips"] == 3 and metrics["test"]["clips"] == 2
    assert metrics["test"]["F_beats_low"] <= metrics["test"]["F_beats"] <= metrics["test"]["F_beats_high"]
    assert beat_f_measure(beats_of(3, 4), read_beats(out / "music" / "clip_003.json").beats) > 0.9
    rows = (out / "rows.csv").read_text().splitlines()
    assert len(rows) == 6 and rows[0].startswith("id,status,reason,split")
    first = (out / "model.pt").read_bytes()
    assert command.main(["--root", str(corpus.root)]) == 0 and (out / "model.pt").read_bytes() == first
    assert "test clips: F" in capsys.readouterr().out


def test_true_beats_are_learnt_where_they_are_known(corpus, tmp_path):
    truth = tmp_path / "truth"
    truth.mkdir()
    for n in range(5):
        np.savez(truth / f"clip_{n:03d}.npz", beats=[0.5, 1.5, 99.0], downbeats=[0.5])
    params = Params(**SMALL | {"steps": 2})
    train_rhythm(corpus.stage("shards"), params, tmp_path / "out", source="truth", truth=truth, tracker=None)
    known = read_beats(tmp_path / "out" / "music" / "clip_001.json")
    assert known.beats.tolist() == [0.5, 1.5] and known.downbeats.tolist() == [0.5] and len(known.strength) == 2


def test_own_keypoints_get_a_file_of_beats_and_a_click_track(corpus, learnt, tmp_path, capsys):
    save_rhythm(corpus.stage("rhythm") / "model.pt", learnt[1].net)
    true, pose = dips(105.0, 8)
    still = np.broadcast_to(STANDING @ np.diag([300, -300]), (len(pose), 17, 2))
    other = np.concatenate([still, np.ones((len(pose), 17, 1))], axis=-1)
    np.save(tmp_path / "dance.npy", np.stack([other, pose], axis=1))
    args = ["--root", str(corpus.root), "--pose", str(tmp_path / "dance.npy"), "--out", str(tmp_path / "b.json")]
    assert command.main([*args, "--dancer", "1", "--click", str(tmp_path / "c.wav")]) == 0
    found = read_beats(tmp_path / "b.json")
    assert beat_f_measure(true, found.beats) > 0.9 and found.seconds == 8
    assert soundfile.info(tmp_path / "c.wav").frames == 8 * 22050
    assert "beats a minute" in capsys.readouterr().out


@pytest.mark.parametrize("form", ["openpose", "openpifpaf", "aist", "two columns"])
def test_poses_of_other_estimators_get_the_beats_that_an_array_of_them_has(corpus, learnt, tmp_path, form):
    """`generate --pose` and this command read the same files in the same way."""
    save_rhythm(corpus.stage("rhythm") / "model.pt", learnt[1].net)
    true, pose = dips(105.0, 8)
    pose[..., 2] = 1
    lists, path = pose.round(4).reshape(len(pose), -1).tolist(), tmp_path / "dance.json"
    if form == "openpose":
        path.write_text(json.dumps([{"people": [{"pose_keypoints_2d": flat}]} for flat in lists]))
    elif form == "openpifpaf":
        path.write_text(
            "".join(
                json.dumps({"frame": n, "predictions": [{"keypoints": flat}]}) + "\n" for n, flat in enumerate(lists)
            )
        )
    elif form == "aist":
        path = tmp_path / "dance.pkl"
        path.write_bytes(pickle.dumps({"keypoints2d": np.repeat(np.repeat(pose, 2, axis=0)[None], 9, axis=0)}))
    else:
        path = tmp_path / "dance.npy"
        np.save(path, pose[..., :2])
    assert command.main(["--root", str(corpus.root), "--pose", str(path), "--out", str(tmp_path / "b.json")]) == 0
    found = read_beats(tmp_path / "b.json")
    assert (
        beat_f_measure(true, found.beats) > 0.9 and found.seconds == 8 and found.fps == (60 if form == "aist" else 30)
    )


class DippingDancer:
    """In place of a pose network: one dancer who dips 105 times a minute."""

    def __init__(self, *_, **__):
        pass

    def start(self, frames):
        return frames

    def find_people(self, begun):
        _, pose = dips(105.0, 8)
        for n, _ in enumerate(begun):
            yield pose[n][None], np.zeros((1, 10, 3), np.float32)


def test_a_video_of_ones_own_gets_a_file_of_beats(corpus, learnt, tmp_path, monkeypatch, capsys):
    """Without visual features: the section i3d isn't even there. Damage is told as this command's."""
    monkeypatch.setattr(estimator, "PoseEstimator", DippingDancer)
    monkeypatch.setattr(own_pose, "locate", lambda name, layout, **_: name)
    save_rhythm(corpus.stage("rhythm") / "model.pt", learnt[1].net)
    with open(tmp_path / "params.yaml", "a") as file:
        file.write("clips: {crop: false}\npose: {}\ngenerate: {}\n")
    write_clip(tmp_path / "whole.mp4", rgb_frames(moving(j) for j in range(240)), None)
    spoiled(tmp_path / "whole.mp4", tmp_path / "in.mp4", [100])
    args = ["--root", str(corpus.root), "--video", str(tmp_path / "in.mp4"), "--out", str(tmp_path / "b.json")]
    assert command.main(args) == 0
    assert beat_f_measure(dips(105.0, 8)[0], read_beats(tmp_path / "b.json").beats) > 0.9
    said = capsys.readouterr().out
    assert "rhythm: warning: 20 of 240 frames of in.mp4 are damaged" in said and "generate:" not in said


@pytest.mark.parametrize(
    ("args", "rule"),
    [
        (["--out", "b.json"], "--out goes together with"),
        (["--pose", "dance.npy"], "--out goes together with"),
        (["--click", "c.wav"], "--click goes together with"),
        (["--dancer", "0"], "--dancer goes together with"),
        (["--fps", "25"], "--fps is for --pose"),
        (["--video", "in.mp4", "--out", "b.json", "--fps", "25"], "--fps is for --pose"),
        (["--pose", "dance.npy", "--out", "b.json", "--resume"], "--resume continues a training"),
        (["--pose", "dance.npy", "--out", "b.txt"], r"b\.txt: must end in \.json"),
        (["--pose", "none.npy", "--out", "b.json"], r"none\.npy: file not found"),
        (["--pose", "text.npy", "--out", "b.json"], r"text\.npy: not a \.npy file"),
        (["--pose", "zip.npy", "--out", "b.json"], r"zip\.npy: not a \.npy file"),
        (["--pose", "vast.npy", "--out", "b.json"], r"vast\.npy: not a complete \.npy file"),
        (
            ["--pose", "hours.npy", "--out", "b.json", "--fps", "5"],
            r"hours\.npy: lasts 133 min at 5 frames a second; a dance may have 120: cut it",
        ),
        (["--pose", "flat.npy", "--out", "b.json"], r"flat\.npy: a pose is numbers"),
        (["--pose", "dance.npy", "--out", "b.json", "--dancer", "3"], "has dancers 0 to 0, found 3"),
        (
            ["--pose", "dance.npy", "--out", "b.json", "--fps", "0"],
            r"dance\.npy: frames a second must be 5 to 240, found 0",
        ),
        (["--pose", "joints.npy", "--out", "b.json"], r"joints\.npy: has 4 joints"),
        (["--pose", "nan.npy", "--out", "b.json"], r"nan\.npy: nobody is seen"),
        (["--pose", "pipe.npy", "--out", "b.json"], r"pipe\.npy: a pipe, socket or device, not a file"),
    ],
)
def test_bad_input_of_ones_own_is_one_line(corpus, learnt, monkeypatch, args, rule):
    monkeypatch.chdir(corpus.root)
    save_rhythm(corpus.stage("rhythm") / "model.pt", learnt[1].net)
    arrays = {
        "dance": np.ones((30, 17, 3)),
        "flat": np.ones(5),
        "joints": np.ones((30, 4, 3)),
        "nan": np.full((30, 17, 3), np.nan),
        "hours": np.ones((40_000, 17, 3), np.float16),
    }
    for name, array in arrays.items():
        np.save(f"{name}.npy", array)
    Path("text.npy").write_text("no array")
    os.mkfifo("pipe.npy")
    Path("zip.npy").write_bytes(b"PK\x03\x04" + bytes(99))
    Path("vast.npy").write_bytes(
        Path("dance.npy").read_bytes().replace(b"(30, 17, 3)", b"(9999999999999999999, 17, 3)")
    )
    with pytest.raises(UserError, match=rule):
        command.main(args)


def test_without_a_trained_rhythm_the_command_says_how_to_train_one(corpus, tmp_path):
    with pytest.raises(UserError, match=r"no rhythm trained yet; train it with `python -m d2m_model\.rhythm"):
        command.main(["--root", str(corpus.root), "--pose", "x.npy", "--out", str(tmp_path / "b.json")])


def test_a_file_of_another_kind_is_refused(tmp_path):
    torch.save({"a": 1}, tmp_path / "model.pt")
    with pytest.raises(UserError, match="not a checkpoint of this project"):
        load_rhythm(tmp_path / "model.pt")


def test_a_saved_rhythm_reads_the_same_beats(learnt, tmp_path):
    save_rhythm(tmp_path / "model.pt", learnt[1].net)
    pose = dips(100.0, 6)[1]
    assert np.array_equal(load_rhythm(tmp_path / "model.pt").beats_of(pose).beats, learnt[1].beats_of(pose).beats)


@pytest.mark.parametrize(
    "values", [{"beats": "ear"}, {"width": 6}, {"stream": "sound"}, {"seconds": 0.1}, {"dropout": 1.0}]
)
def test_bad_params_are_refused(values):
    with pytest.raises(ValueError, match=next(iter(values))):
        Params(**values)


def test_the_pipeline_has_a_rhythm(pipeline):
    out = pipeline / "runs" / "demo" / "rhythm"
    metrics = json.loads((out / "metrics.json").read_text())
    assert metrics["beats"] == "truth"
    files = sorted((out / "beats").glob("*.json"))
    assert len(files) == len((out / "rows.csv").read_text().splitlines()) - 1 and all(
        read_beats(f).seconds > 0 for f in files
    )


@pytest.mark.skipif(
    "D2M_POSES" not in os.environ, reason="D2M_POSES names a folder of tracks of real dancers and a model.pt"
)
def test_real_dancers_have_regular_beats():
    """Of tracks <name>.npy (T, 17, 3) at 30 fps, read by the rhythm model.pt beside them, five in six have a regular beat."""
    folder = Path(os.environ["D2M_POSES"])
    model, tracks = load_rhythm(Path(os.environ.get("D2M_RHYTHM", folder / "model.pt"))), sorted(folder.glob("*.npy"))
    regular = [is_regular(model.beats_of(np.load(track))) for track in tracks]
    assert tracks and sum(regular) >= len(tracks) * 5 / 6
