"""A video of one's own, or a folder of them, gets music, its picture untouched; what is no video leaves nothing."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import soundfile

from d2m_model.generate import __main__ as generate
from d2m_model.generate import models, own_pose, own_video
from d2m_model.generate import own_videos as own_videos_module
from d2m_model.generate.detected_beats import detected_beats
from d2m_model.generate.generators import WindowGenerator
from dataset_tools.i3d import visual_features
from dataset_tools.lib.core.errors import UserError
from dataset_tools.pose import estimator
from tests.d2m_model.generate.test_generate import make_stage
from tests.d2m_model.generate.test_mux import packets_and_audio, write_video
from tests.d2m_model.generate.test_windows import Echo
from tests.helpers.builders import click_train
from tests.helpers.footage import undecodable_audio

RATE = 22050


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
    monkeypatch.setattr(models, "load_model", lambda layout, level, *_, **__: WindowGenerator(model, level))
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
    """Neither one whose audio can't be decoded, for it isn't asked for, nor one that nobody foresaw."""
    videos = own_videos / "videos"
    videos.mkdir()
    write_video(own_videos / "in.mp4")
    undecodable_audio(own_videos / "in.mp4", videos / "a.mp4")
    for name in ("b.mp4", "c.mp4"):
        write_video(videos / name)
    find = own_videos_module.find_dance

    def strange(video, *args):
        if video.name == "b.mp4":
            raise RuntimeError("what is\nthis")
        return find(video, *args)

    monkeypatch.setattr(own_videos_module, "find_dance", strange)
    with pytest.raises(UserError, match=r"1 of 3 videos failed: b\.mp4; the others are in out$"):
        generate.main(["--corpus", "tiny", "--variant", "full", "--video", "videos", "--out", "out"])
    assert sorted(p.name for p in (own_videos / "out").iterdir()) == ["a.mp4", "c.mp4"]
    assert "failed: b.mp4: RuntimeError: what is this" in capsys.readouterr().out
    before, after = (packets_and_audio(path) for path in (own_videos / "in.mp4", own_videos / "out" / "a.mp4"))
    assert [digest for digest, _ in before[0]] == [digest for digest, _ in after[0]]


def test_detected_beats_are_those_of_a_metronome():
    audio = click_train(np.arange(0.25, 8, 0.5), 8 * RATE)
    found = detected_beats(audio)
    assert abs(found["tempo"] - 120) < 3
    assert all(abs((beat - 0.25) % 0.5 - 0.25) > 0.18 for beat in found["beats"]) and len(found["beats"]) > 10
    assert detected_beats(np.zeros(RATE, np.float32)) == {"tempo": None, "beats": [], "onsets": []}


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
    with pytest.raises(UserError, match=r"in\.mp4: has a single frame"):
        generate.main(["--corpus", "tiny", "--variant", "full", "--video", "in.mp4", "--out", "out.mp4"])
    assert not (own_videos / "out.mp4").exists()
