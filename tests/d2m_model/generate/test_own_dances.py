"""`generate` with a pose file, and with the user's own songs: what is read, what is heard, what is refused."""

import json

import av
import numpy as np
import pytest
import soundfile

from d2m_model.generate import __main__ as generate
from d2m_model.generate import models
from d2m_model.generate import own_videos as own_videos_module
from d2m_model.generate.generators import WindowGenerator
from d2m_model.generate.own_videos import Given, find_dance, pose_of
from d2m_model.generate.pose_files import read_pose
from d2m_model.generate.tempo import with_tempo
from d2m_model.rhythm.beats_file import Beats
from d2m_model.rhythm.model import save_rhythm
from d2m_model.rhythm.net import RhythmNet
from dataset_tools.clips.normalise import normalise_video
from dataset_tools.lib.core.errors import UserError
from dataset_tools.lib.core.layout import Layout
from dataset_tools.lib.midi import read_midi
from dataset_tools.pose import estimator
from dataset_tools.pose.layouts import to_layout
from tests.d2m_model.generate.test_mux import packets_and_audio, write_video
from tests.d2m_model.generate.test_own_music import beat_times, click_times, song_audio, worst
from tests.d2m_model.generate.test_own_videos import own_videos  # noqa: F401 - a fixture
from tests.d2m_model.generate.test_pose_files import dancer


class HeldOutScorer:
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
    """A trained model's stand-in; videos are read as in `own_videos`, but no estimator may be made."""
    listener = HeldOutScorer()
    known = {"pose_layout": "coco17", "pose_weights": "pose_demo@01234567", "i3d_weights": "i3d_demo@01234567"}
    monkeypatch.setattr(models, "trained", lambda *_: ("generator.pt", "synthesizer.pt"))
    monkeypatch.setattr(models, "load_generator", lambda path: (None, None, known))
    monkeypatch.setattr(models, "load_model", lambda layout, level, *_, **__: WindowGenerator(listener, level))
    monkeypatch.setattr(estimator, "PoseEstimator", None)
    return listener


def run(*arguments, variant="full"):
    chosen = [] if "--own-music" in arguments else ["--variant", variant]
    return generate.main(["--corpus", "tiny", *chosen, *map(str, arguments)])


def test_a_pose_alone_gives_audio_with_features_of_zero(model, tmp_path, capsys):
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


def test_another_dancer_of_a_pose_is_followed_by_every_model(model):
    np.save("p.npy", np.stack([dancer(frames=75), dancer(frames=75) + 30], axis=1))
    assert run("--pose", "p.npy", "--dancer", "1", "--out", "x.wav") == 0
    np.testing.assert_allclose(model.heard[0][0][:, 0, :, 0], dancer(frames=75)[:60, :, 0] + 30, atol=0.05)
    assert run("--pose", "p.npy", "--dancer", "1", "--video", "in.mp4", "--out", "x.wav") == 0
    assert model.heard[-1][0].shape == (60, 1, 17, 3) and np.ptp(model.heard[-1][0][..., 2]) == 0, "seen in all frames"
    with pytest.raises(UserError, match=r"p\.npy: --dancer 2 is not there; it has dancers 0 to 1"):
        run("--pose", "p.npy", "--dancer", "2", "--out", "x.wav")


def test_a_pose_with_its_video_has_its_rate_size_and_picture(model, tmp_path, capsys):
    """in.mp4 has 48 frames at 24 a second: so has a file with an object for each frame."""
    pose = dancer(frames=48, fps=24)
    lines = [
        json.dumps({"frame": n, "predictions": [{"keypoints": p.reshape(-1).tolist()}]}) + "\n"
        for n, p in enumerate(pose)
    ]
    (tmp_path / "p.json").write_text("".join(lines))
    assert run("--video", "in.mp4", "--pose", "p.json", "--out", "out.mp4") == 0
    heard, size, visual = model.heard[0]
    assert visual.any() and heard.shape == (60, 1, 17, 3)
    before, after = packets_and_audio(tmp_path / "in.mp4"), packets_and_audio(tmp_path / "out.mp4")
    assert [digest for digest, _ in before[0]] == [digest for digest, _ in after[0]]
    assert size == read_pose(tmp_path / "p.json", size=size).size and size[0] > 20
    np.testing.assert_allclose(heard[:-2, 0], dancer(frames=60)[:-2], atol=1.5)
    assert "warning: p.json lasts" not in capsys.readouterr().out
    assert run("--video", "in.mp4", "--pose", "p.json", "--pose-fps", "60", "--out", "x.wav") == 0
    assert "p.json lasts 0.8 s at 60 frames a second, in.mp4 2.0 s; is --pose-fps right?" in capsys.readouterr().out


def test_aist_keypoints_keep_their_rate_beside_a_video(own_videos):  # noqa: F811
    """Whether they come as .json or .pkl: what is in the file says what it is."""
    cameras = np.repeat(dancer(frames=120, fps=60)[None], 2, 0)
    (own_videos / "p.json").write_text(json.dumps({"keypoints2d": cameras.astype(float).tolist()}))
    given = pose_of(own_videos / "p.json", None, own_videos / "in.mp4")
    assert given.fps == 60 and given.seconds == 2 and given.size == (64, 48)
    assert pose_of(own_videos / "p.json", 24.0, None).seconds == 5


@pytest.fixture
def songs(own_videos):  # noqa: F811
    """A folder with one stereo song of 118 beats a minute, and beats of a dance of 124 in b.json."""
    (own_videos / "songs").mkdir()
    times = beat_times(118, 16)
    soundfile.write(
        own_videos / "songs" / "song.wav", np.stack([song_audio(times, 16, downbeats=times[::4])] * 2, 1), 44100
    )
    beats = beat_times(124, 8, first=0.4)
    (own_videos / "b.json").write_text(json.dumps({"beats": beats.tolist(), "seconds": 8.0}))
    return beats


def test_own_music_for_beats_a_video_and_another_tempo(songs, tmp_path, capsys):
    assert run("--own-music", "songs", "--beats", "b.json", "--out", "x.wav", "--json") == 0
    audio, rate = soundfile.read("x.wav", always_2d=True)
    assert rate == 44100 and audio.shape == (8 * 44100, 2)
    assert worst(click_times(audio[:, 0], rate), songs) < 0.02
    said = capsys.readouterr().out
    assert (
        "b.json: 8.0 s; 16 beats" in said
        and "song.wav from" in said
        and json.loads((tmp_path / "x.json").read_text())["song"] == "song.wav"
    )

    assert run("--own-music", "songs", "--beats", "b.json", "--out", "out.mp4", "--video", "in.mp4") == 0
    before, after = packets_and_audio(tmp_path / "in.mp4"), packets_and_audio(tmp_path / "out.mp4")
    assert [digest for digest, _ in before[0]] == [digest for digest, _ in after[0]] and abs(after[2] - 2.0) < 0.06

    options = ("--shift", "0.1", "--beats-out", "c.json", "--beats-out", "c.mid")
    assert run("--own-music", "songs", "--beats", "b.json", *options, "--out", "late.wav") == 0
    later = np.array(json.loads((tmp_path / "c.json").read_text())["beats"])
    np.testing.assert_allclose(later, songs[songs + 0.1 <= 8] + 0.1, atol=1e-4)
    np.testing.assert_allclose([note.start for note in read_midi(tmp_path / "c.mid")], later, atol=1e-3)
    assert worst(click_times(soundfile.read("late.wav", always_2d=True)[0][:, 0], rate), later) < 0.02

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
        (
            ["--own-music", "songs", "--beats", "b.json", "--out", "x.wav", "--style", "pop"],
            "--style changes nothing with --own-music",
        ),
        (
            ["--own-music", "songs", "--beats", "b.json", "--out", "x.wav", "--strictness", "2"],
            "--strictness changes nothing with --own-music",
        ),
        (
            ["--own-music", "songs", "--beats", "b.json", "--out", "x.wav", "--variant", "full"],
            "--variant changes nothing with --own-music",
        ),
        (
            ["--own-music", "songs", "--beats", "b.json", "--out", "x.wav", "--denoise", "0"],
            "--denoise changes nothing with --own-music",
        ),
        (
            ["--own-music", "songs", "--beats", "b.json", "--out", "x.wav", "--level", "low"],
            "--level changes nothing with --own-music",
        ),
        (
            ["--own-music", "songs", "--beats", "b.json", "--out", "x.wav", "--seed", "0"],
            "--seed changes nothing with --own-music",
        ),
        (["--pose", "p.wav", "--out", "p.wav"], "p.wav, which would be lost"),
        (["--pose", "gone.npy", "--out", "x.wav"], "gone.npy: file not found"),
    ],
)
def test_mistakes_are_one_line(own_videos, arguments, message):  # noqa: F811
    (own_videos / "p.wav").write_bytes(b"x")
    with pytest.raises(UserError, match=message) as caught:
        run(*arguments)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("options", "trained", "message"),
    [
        (["--own-music", "songs"], False, "no rhythm trained yet; train it with .*, or give --beats"),
        (["--own-music", "gone"], True, "gone: no such folder; --own-music names a folder of audio files"),
        (["--own-music", "empty"], True, "empty: 0 songs in this folder"),
        (["--own-music", "broken"], True, "broken: none of its 1 audio files can be read"),
    ],
)
def test_what_is_missing_is_said_before_the_dancer_is_looked_for(
    songs, tmp_path, monkeypatch, options, trained, message
):
    (tmp_path / "empty").mkdir()
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "song.mp3").write_bytes(b"no music at all")
    if trained:
        save_rhythm(tmp_path / "runs" / "tiny" / "rhythm" / "model.pt", RhythmNet("pose", [], width=4, blocks=1))
    monkeypatch.setattr(own_videos_module, "read_posed", None)  # looking would fail
    with pytest.raises(UserError, match=message):
        run(*options, "--video", "in.mp4", "--out", "x.wav")


def test_a_rhythm_that_is_not_trained_is_missed_before_the_dancer_is_looked_for(own_videos, monkeypatch):  # noqa: F811
    monkeypatch.setattr(own_videos_module, "read_posed", None)
    with pytest.raises(UserError, match="no rhythm trained yet"):
        find_dance(own_videos / "in.mp4", {"beats"}, Given(), Layout(root=own_videos, corpus="tiny"))


def test_models_that_read_smpl_motion_refuse_a_pose(model, monkeypatch):
    np.save("p.npy", dancer(frames=75))
    monkeypatch.setattr(models, "load_generator", lambda path: (None, None, {"motion_rate": "2", "i3d_weights": "x"}))
    with pytest.raises(UserError, match="reads SMPL motion, and --pose gives keypoints"):
        run("--pose", "p.npy", "--out", "x.wav")


def retimed(source, out, later):
    """The video with packet n of its picture `later(n)` seconds later; its audio stays."""
    with av.open(str(source)) as before, av.open(str(out), "w") as after:
        streams = {stream.index: after.add_stream_from_template(stream) for stream in before.streams}
        number = 0
        for packet in before.demux():
            if packet.dts is None:
                continue
            if packet.stream.type == "video":
                moved = round(later(number) / packet.time_base)
                packet.pts, packet.dts, number = packet.pts + moved, packet.dts + moved, number + 1
            packet.stream = streams[packet.stream.index]
            after.mux(packet)


@pytest.mark.parametrize(("frames", "fps", "late"), [(7, 24, 0), (101, 25, 0), (48, 24, 0.41), (60, 30, 0.05)])
def test_a_dance_is_as_long_with_its_beats_given_as_without(tmp_path, frames, fps, late):
    """Also where its picture begins later than its audio."""
    write_video(tmp_path / "a.mp4", frames=frames, fps=fps, bf="0")
    retimed(tmp_path / "a.mp4", tmp_path / "in.mp4", lambda _: late)
    (tmp_path / "b.json").write_text('{"beats": [0.1, 0.2]}')
    posed = normalise_video(tmp_path / "in.mp4", tmp_path / "n.mp4", crop=False).frames
    found = find_dance(tmp_path / "in.mp4", {"beats"}, Given(beats=tmp_path / "b.json"), None)
    assert found.dance.frames == posed and found.dance.beats.seconds == posed / 30


def test_a_picture_and_a_day_are_no_dances_though_beats_are_given(tmp_path):
    write_video(tmp_path / "a.mp4", frames=1, audio=False)
    (tmp_path / "b.json").write_text('{"beats": [0.1, 0.2]}')
    given = Given(beats=tmp_path / "b.json")
    with pytest.raises(UserError, match=r"a\.mp4: has a single frame"):
        find_dance(tmp_path / "a.mp4", {"beats"}, given, None)
    write_video(tmp_path / "b.mp4", frames=2, audio=False, bf="0")
    retimed(tmp_path / "b.mp4", tmp_path / "day.mp4", lambda number: 86400 * number)
    with pytest.raises(UserError, match=r"day\.mp4: seconds must be above 0 and at most 21600, found 8640\d"):
        find_dance(tmp_path / "day.mp4", {"beats"}, given, None)


def test_more_beats_than_a_file_holds_are_one_line():
    beats = Beats(fps=30, seconds=6 * 3600, beats=np.arange(0.25, 10, 0.5))
    assert len(with_tempo(beats, 200).beats) == pytest.approx(72_000, abs=2)
    with pytest.raises(UserError, match="--tempo 400 in 21600 s is more than 100000 beats"):
        with_tempo(beats, 400)
