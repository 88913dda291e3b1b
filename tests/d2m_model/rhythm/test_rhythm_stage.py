"""The stage rhythm and its command: what it writes, poses and videos of one's own, mistakes in one line."""

import json
import os
import pickle
from pathlib import Path

import numpy as np
import pytest
import soundfile
import yaml

from d2m_model.generate import own_pose
from d2m_model.generate.params import Params as GenerateParams
from d2m_model.metrics.p4_onsets import beat_f_measure
from d2m_model.rhythm import __main__ as command
from d2m_model.rhythm.beats_file import read_beats
from d2m_model.rhythm.model import save_rhythm
from d2m_model.rhythm.params import Params
from d2m_model.rhythm.stage import train_rhythm
from dataset_tools.lib.core.errors import UserError
from dataset_tools.lib.core.layout import Layout
from dataset_tools.lib.midi import read_midi
from dataset_tools.lib.video.video_io import rgb_frames, write_clip
from dataset_tools.pose import estimator
from tests.d2m_model.rhythm.conftest import SMALL
from tests.d2m_model.rhythm.test_rhythm import dips
from tests.helpers.builders import STANDING, beats_of, build_manifest, build_shards
from tests.helpers.footage import moving, spoiled


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
    assert (
        command.main([*args, "--dancer", "1", "--click", str(tmp_path / "c.wav"), "--midi", str(tmp_path / "c.mid")])
        == 0
    )
    found = read_beats(tmp_path / "b.json")
    np.testing.assert_allclose([note.start for note in read_midi(tmp_path / "c.mid")], found.beats, atol=1e-3)
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
            yield pose[n * GenerateParams().pose_every][None], np.zeros((1, 10, 3), np.float32)


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
    assert "rhythm: warning: 6 of 80 frames read from in.mp4 are damaged" in said and "generate:" not in said
    with pytest.raises(UserError, match=r"in\.mp4: --dancer 1 is not there; it has one dancer only"):
        command.main([*args, "--dancer", "1"])


@pytest.mark.parametrize(
    ("args", "rule"),
    [
        (["--out", "b.json"], "--out goes together with"),
        (["--pose", "dance.npy"], "--out goes together with"),
        (["--click", "c.wav"], "--click goes together with"),
        (["--dancer", "0"], "--dancer goes together with"),
        (["--fps", "25"], "--fps is for --pose"),
        (["--video", "in.mp4", "--out", "b.json", "--dancer", "-1"], "--dancer must be 0, the one in front, or more"),
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
        (
            ["--pose", "dance.npy", "--out", "b.json", "--dancer", "3"],
            "--dancer 3 is not there; it has one dancer only",
        ),
        (["--midi", "c.mid"], "--midi goes together with"),
        (["--pose", "dance.npy", "--out", "b.json", "--midi", "c.wav"], r"c\.wav: must end in \.mid"),
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
