"""`generate` with a pose file, and with the user's own songs: what is read, what is heard, what is refused."""

import json

import numpy as np
import pytest
import soundfile
from test_generate import own_videos  # noqa: F401 - a fixture
from test_mux import packets_and_sound
from test_own_music import beat_times, click_times, song_sound, worst
from test_pose_files import dancer

from d2m_model import generate
from d2m_model.generation import models
from d2m_model.generation.composing import Generator
from d2m_model.generation.pose_files import read_pose
from dataset_tools.base.errors import UserError
from dataset_tools.vision import poser
from dataset_tools.vision.pose_layouts import to_layout


class Listener:
    """A model that keeps what it is given, and hums."""

    frames, stream = 60, "pose"

    def __init__(self):
        self.heard = []

    def for_genre(self, genre):
        return self

    def audio(self, pose, size, visual):
        self.heard.append((pose, size, visual))
        return np.sin(np.arange(60 * 735) / 20).astype(np.float32)


@pytest.fixture
def model(own_videos, monkeypatch):  # noqa: F811
    """A trained model's stand-in; videos are read as in `own_videos`, but no poser may be made."""
    listener = Listener()
    known = {"pose_layout": "coco17", "pose_weights": "pose_demo@01234567", "i3d_weights": "i3d_demo@01234567"}
    monkeypatch.setattr(models, "trained", lambda *_: ("generator.pt", "synthesizer.pt"))
    monkeypatch.setattr(models, "load_generator", lambda path: (None, None, known))
    monkeypatch.setattr(models, "load_model", lambda layout, level, *_: Generator(listener, level))
    monkeypatch.setattr(poser, "Poser", None)
    return listener


def run(*arguments, variant="full"):
    return generate.main(["--corpus", "tiny", "--variant", variant, *map(str, arguments)])


def test_a_pose_alone_gives_a_sound_with_features_of_zero(model, tmp_path, capsys):
    np.save("p.npy", to_layout(dancer(frames=75), "body25"))
    assert run("--pose", "p.npy", "--out", "x.wav") == 0
    assert soundfile.info("x.wav").frames == 75 * 735
    pose, _, visual = model.heard[0]
    assert pose.shape == (60, 1, 17, 3) and not visual.any() and visual.shape == (2048,)
    np.testing.assert_allclose(pose[:, 0], dancer(frames=75)[:60], atol=0.05)
    said = capsys.readouterr().out
    assert "features are zeros" in said and "trained on poses of pose_demo@01234567" in said
    assert "2.5 s of body25 at 30 frames a second" in said
    with pytest.raises(UserError, match=r"x\.mp4: without --video there is no picture; --out must end in \.wav"):
        run("--pose", "p.npy", "--out", "x.mp4")


def test_a_pose_with_its_video_has_its_rate_size_and_picture(model, tmp_path, capsys):
    """in.mp4 has 48 frames at 24 a second: so has a file with an object for each frame."""
    pose = dancer(frames=48, fps=24)
    lines = [json.dumps({"frame": n, "predictions": [{"keypoints": p.reshape(-1).tolist()}]}) + "\n" for n, p in enumerate(pose)]
    (tmp_path / "p.json").write_text("".join(lines))
    assert run("--video", "in.mp4", "--pose", "p.json", "--out", "out.mp4") == 0
    heard, size, visual = model.heard[0]
    assert visual.any() and heard.shape == (60, 1, 17, 3)
    before, after = packets_and_sound(tmp_path / "in.mp4"), packets_and_sound(tmp_path / "out.mp4")
    assert [digest for digest, _ in before[0]] == [digest for digest, _ in after[0]]
    assert size == read_pose(tmp_path / "p.json", size=size).size and size[0] > 20
    np.testing.assert_allclose(heard[:-2, 0], dancer(frames=60)[:-2], atol=1.5)
    assert "warning: p.json lasts" not in capsys.readouterr().out
    assert run("--video", "in.mp4", "--pose", "p.json", "--pose-fps", "60", "--out", "x.wav") == 0
    assert "p.json lasts 0.8 s at 60 frames a second, in.mp4 2.0 s; is --pose-fps right?" in capsys.readouterr().out


@pytest.fixture
def songs(own_videos):  # noqa: F811
    """A folder with one stereo song of 118 beats a minute, and beats of a dance of 124 in b.json."""
    (own_videos / "songs").mkdir()
    times = beat_times(118, 16)
    soundfile.write(own_videos / "songs" / "song.wav", np.stack([song_sound(times, 16, downbeats=times[::4])] * 2, 1), 44100)
    beats = beat_times(124, 8, first=0.4)
    (own_videos / "b.json").write_text(json.dumps({"beats": beats.tolist(), "seconds": 8.0}))
    return beats


def test_own_music_for_beats_a_video_and_another_tempo(songs, tmp_path, capsys):
    assert run("--own-music", "songs", "--beats", "b.json", "--out", "x.wav", "--json") == 0
    sound, rate = soundfile.read("x.wav", always_2d=True)
    assert rate == 44100 and sound.shape == (8 * 44100, 2)
    assert worst(click_times(sound[:, 0], rate), songs) < 0.02
    assert "song.wav from" in capsys.readouterr().out and json.loads((tmp_path / "x.json").read_text())["song"] == "song.wav"

    assert run("--own-music", "songs", "--beats", "b.json", "--out", "out.mp4", "--video", "in.mp4") == 0
    before, after = packets_and_sound(tmp_path / "in.mp4"), packets_and_sound(tmp_path / "out.mp4")
    assert [digest for digest, _ in before[0]] == [digest for digest, _ in after[0]] and abs(after[2] - 2.0) < 0.06

    assert run("--own-music", "songs", "--beats", "b.json", "--tempo", "112", "--out", "slow.wav") == 0
    found = click_times(soundfile.read("slow.wav", always_2d=True)[0][:, 0], 44100)
    gaps = np.diff(found)
    assert abs(60 / np.median(gaps) / 112 - 1) < 0.02 and np.abs(found - 0.4).min() < 0.02
    with pytest.raises(UserError, match=r"the dance's 95\.0 beats a minute.*the nearest tempo is 11[789]"):
        run("--own-music", "songs", "--beats", "b.json", "--tempo", "95", "--out", "x.wav")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--pose", "p.npy"], "go together"),
        (["--out", "x.wav"], "go together"),
        (["--own-music", "songs", "--out", "x.wav"], "needs a dance"),
        (["--own-music", "songs", "--video", "in.mp4", "--out", "x.wav"], "no rhythm trained yet"),
        (["--video", "in.mp4", "--out", "x.wav", "--beats", "b.json"], "--beats is for the prior"),
        (["--video", "in.mp4", "--out", "x.wav", "--tempo", "120"], "--tempo is for the prior"),
        (["--video", "in.mp4", "--out", "x.wav", "--from", "p.wav", "--redo", "1-2"], "--from is for the prior"),
        (["--video", "in.mp4", "--out", "x.wav", "--redo", "1-2"], "--from TAKE.wav goes together"),
        (["--video", "in.mp4", "--out", "x.wav", "--takes", "0"], "--takes must be 1 to 100"),
        (["--video", "in.mp4", "--out", "x.wav", "--pose-fps", "25"], "--pose-fps is for --pose"),
        (["--video", ".", "--pose", "p.npy", "--out", "out"], "must be one video, not a folder"),
        (["--own-music", "songs", "--beats", "b.json", "--out", "x.mp4"], "must end in .wav"),
        (["--pose", "p.wav", "--out", "p.wav"], "p.wav itself, which would be lost"),
        (["--pose", "gone.npy", "--out", "x.wav"], "gone.npy: file not found"),
    ],
)
def test_mistakes_are_one_line(own_videos, arguments, message):  # noqa: F811
    (own_videos / "p.wav").write_bytes(b"x")
    with pytest.raises(UserError, match=message) as caught:
        run(*arguments)
    assert "\n" not in str(caught.value)


def test_models_that_read_smpl_motion_refuse_a_pose(model, monkeypatch):
    np.save("p.npy", dancer(frames=75))
    monkeypatch.setattr(models, "load_generator", lambda path: (None, None, {"motion_rate": "2", "i3d_weights": "x"}))
    with pytest.raises(UserError, match="reads SMPL motion, and --pose gives keypoints"):
        run("--pose", "p.npy", "--out", "x.wav")
