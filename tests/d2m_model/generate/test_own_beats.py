"""Which dancer and which beats the music of one's own dance is made for."""

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile

from d2m_model.generate import own_beats, own_videos
from d2m_model.generate.generators import Made
from d2m_model.generate.own_beats import Given, asked_beats, audio_of_dance, goals_of_audio
from d2m_model.generate.own_songs import read_song
from d2m_model.generate.own_video import Posed, begin_of
from d2m_model.generate.own_videos import find_dance, generate_dance, pose_of
from d2m_model.generate.params import MOTION, Params
from d2m_model.rhythm.beats_file import Beats, read_beats, write_beats
from d2m_model.studio.drawing import write_drawing
from dataset_tools.lib.core.errors import UserError
from dataset_tools.lib.midi import read_midi
from tests.d2m_model.generate.test_mux import write_video
from tests.d2m_model.generate.test_own_dances import retimed
from tests.helpers.builders import STANDING, click_train
from tests.helpers.footage import numbered_video

RATE = 22050
STOPS = 0.25 + 0.5 * np.arange(8)


def swinging(frames: int = 120, seconds: float = 2.0, first: float = STOPS[0]) -> np.ndarray:
    """Pose (frames, 17, 3) of a dancer who swings to and fro once in `seconds`, and so stops twice, the first time at `first`."""
    pose = np.ones((frames, 17, 3), np.float32)
    swing = 20 * np.cos(2 * np.pi * (np.arange(frames) / 30 - first) / seconds)
    pose[..., :2] = 100 * STANDING + 200 + swing[:, None, None]
    return pose


def stops(pose: np.ndarray) -> Beats:
    """In place of the rhythm model: a beat where the dancer is farthest to the right."""
    x = pose[:, 0, 0]
    peaks = np.flatnonzero((x[1:-1] > x[:-2]) & (x[1:-1] >= x[2:])) + 1
    return Beats(fps=30, seconds=len(pose) / 30, beats=peaks / 30)


@pytest.fixture
def dancers(tmp_path, monkeypatch) -> Path:
    """A video with two dancers, who are farthest to the right at other times, and a third who is never seen."""
    pose = np.zeros((120, 3, 17, 3), np.float32)
    pose[:, 0], pose[:, 1] = swinging(seconds=1.0), swinging(seconds=1.0, first=0.5)
    monkeypatch.setattr(own_videos, "read_posed", lambda *_: Posed(pose=pose, size=(1280, 720), begin=0.0))
    monkeypatch.setattr(own_videos, "trained_rhythm", lambda layout: None)
    monkeypatch.setattr(own_videos, "load_rhythm", lambda path: type("Rhythm", (), {"beats_of": staticmethod(stops)}))
    (tmp_path / "in.mp4").touch()
    return tmp_path / "in.mp4"


def test_the_music_follows_the_dancer_that_is_chosen(dancers, capsys):
    first, second = (find_dance(dancers, {"beats"}, Given(dancer=n), None).dance for n in (0, 1))
    np.testing.assert_allclose(first.beats.beats, 0.25 + np.arange(4), atol=0.04)
    np.testing.assert_allclose(second.beats.beats, 0.5 + np.arange(4), atol=0.04)
    assert second.pose.shape == (120, 1, 17, 3)
    assert "in.mp4: 2 dancers; the music follows number 1 (--dancer)" in capsys.readouterr().out
    with pytest.raises(UserError, match=r"in\.mp4: --dancer 2 is not there; it has dancers 0 to 1"):
        find_dance(dancers, {"beats"}, Given(dancer=2), None)


def test_the_dancer_of_a_pose_file_is_chosen(tmp_path):
    np.save(tmp_path / "p.npy", np.stack([swinging(), swinging() + 50], axis=1))
    np.testing.assert_array_equal(pose_of(tmp_path / "p.npy", None, None, 1).pose[..., 0], swinging()[..., 0] + 50)
    with pytest.raises(UserError, match=r"p\.npy: --dancer 2 is not there; it has dancers 0 to 1"):
        pose_of(tmp_path / "p.npy", None, None, 2)


def beats(times, **known) -> Beats:
    return Beats(fps=30, seconds=8.0, beats=np.asarray(times), **known)


def test_tempo_comes_first_then_snapping_then_the_shift(capsys):
    given = Given(beats=Path("b.json"), tempo="half", snap=Path("song.wav"), shift=-0.25)
    made = asked_beats(beats([1.0, 1.5, 2.0, 2.5, 3.0]), given, np.array([1.05, 1.5, 2.95]))
    assert made.beats.tolist() == [0.8, 1.75, 2.7]
    assert "2 of 3 beats moved to beats of song.wav" in capsys.readouterr().out
    same = beats([1.00001, 2.0])
    assert asked_beats(same, Given(), np.zeros(0)) is same


def test_beats_snap_to_where_the_dancer_stops(tmp_path):
    """Also with the beats given: then the dancer is looked at for this alone."""
    np.save(tmp_path / "p.npy", swinging(seconds=1.0))
    write_beats(tmp_path / "b.json", beats(STOPS + 0.07 * (-1) ** np.arange(8)))
    given = Given(beats=tmp_path / "b.json", snap=MOTION, pose=pose_of(tmp_path / "p.npy", None, None))
    found = find_dance(None, {"beats"}, given, None).dance
    assert len(found.beats.beats) == 8 and np.abs(found.beats.beats - STOPS)[1:-1].max() < 0.04
    assert found.frames == 120


def audio(path: Path, times: np.ndarray, seconds: float) -> Path:
    soundfile.write(path, click_train(times, round(seconds * RATE)), RATE)
    return path


def test_beats_snap_to_the_beats_of_an_audio_file(tmp_path):
    clicks = 0.45 + 0.5 * np.arange(15)
    write_beats(tmp_path / "b.json", beats(clicks + 0.08))
    given = Given(beats=tmp_path / "b.json", snap=audio(tmp_path / "s.wav", clicks, 8))
    made = find_dance(None, {"beats"}, given, None).dance.beats
    assert len(made.beats) == 15 and np.median(np.abs(made.beats - clicks)) < 0.03
    audio(tmp_path / "s.wav", np.zeros(0), 8)
    with pytest.raises(UserError, match=r"s\.wav: no beat was found in its audio, so --snap has no beats to move to"):
        find_dance(None, {"beats"}, given, None)


def test_the_videos_own_audio_counts_from_its_first_frame(tmp_path, monkeypatch):
    """Its picture begins half a frame later than its audio; a copy of the file is another file."""
    write_video(tmp_path / "a.mp4", frames=150, fps=30, bf="0")
    retimed(tmp_path / "a.mp4", tmp_path / "in.mp4", lambda _: 0.05)
    (tmp_path / "other.mp4").write_bytes((tmp_path / "in.mp4").read_bytes())
    (tmp_path / "link.mp4").symlink_to("in.mp4")
    whole, later = (read_song(tmp_path / "in.mp4", start)[0].shape[1] for start in (0.0, 0.5))
    assert whole - later == pytest.approx(24_000, abs=1)
    starts = []

    def clicks(path, start=0.0, seconds=6.0):
        starts.append(start)
        assert not start or seconds == pytest.approx(5.0, abs=0.1), "as long as the picture"
        return click_train(np.arange(0.2, 6, 0.5), 6 * RATE)[None], RATE

    monkeypatch.setattr(own_beats, "read_song", clicks)
    monkeypatch.setattr(own_beats, "read_audio", lambda *a, **k: ((clicks(*a, **k)[0] * 32767).astype(np.int16), RATE))
    for name in ("in.mp4", "other.mp4", "link.mp4"):
        goals_of_audio(tmp_path / name, tmp_path / "in.mp4")
    goals_of_audio(tmp_path / "in.mp4", None)
    assert starts == pytest.approx([1 / 60, 0.0, 1 / 60, 0.0], abs=1e-3)


@pytest.mark.parametrize("seconds", [2.0, 9.0], ids=["shorter", "longer"])
def test_the_videos_own_audio_lasts_as_long_as_the_dance(tmp_path, seconds):
    """So its beats are those that the studio draws and snaps to."""
    train = np.round(16000 * click_train(np.arange(0.2, seconds, 0.5), round(seconds * RATE))).astype(np.int16)
    video = numbered_video(tmp_path / "in.mp4", 30, 5.0, np.stack([train, train]), RATE)
    drawn = audio_of_dance(video, begin_of(video), 150)
    assert drawn.shape == (150 * 735,) and drawn.dtype == np.float32
    write_drawing(tmp_path / "drawn.json", drawn)
    known = json.loads((tmp_path / "drawn.json").read_text())["beats"]
    assert len(known) and np.allclose(goals_of_audio(video, video), known, atol=6e-5)


class Hummer:
    """In place of a prior: a hum that notes the beats it is played to."""

    stream, level = "beats", "high"

    def __init__(self):
        self.heard = []

    def check(self, params):
        pass

    def generate(self, dance, params):
        self.heard.append(dance.beats)
        return Made(np.sin(np.arange(dance.frames * 735) / 20).astype(np.float32))


def test_the_beats_of_the_music_are_exported_and_give_the_same_music(tmp_path, capsys):
    write_beats(tmp_path / "b.json", beats(STOPS, downbeats=STOPS[::4]))
    paths = [tmp_path / name for name in ("out.json", "out.mid", "click.wav")]
    model, given = Hummer(), Given(beats=tmp_path / "b.json", tempo=107.0, shift=0.0333)
    outs = [{"high": tmp_path / "x.wav"}, {"high": tmp_path / "y.wav"}]
    generate_dance(None, outs, {"high": model}, None, Params(), beats=False, given=given, beats_out=paths)
    found = read_beats(paths[0])
    assert np.array_equal(found.beats, model.heard[0].beats) and found.tempo == model.heard[0].tempo
    np.testing.assert_allclose([note.start for note in read_midi(paths[1])], found.beats, atol=1e-3)
    assert soundfile.info(paths[2]).frames == 8 * RATE
    assert capsys.readouterr().out.count(f"{len(found.beats)} beats -> ") == 3, "once for all takes"
    again = find_dance(None, {"beats"}, Given(beats=paths[0]), None).dance.beats
    assert np.array_equal(again.beats, found.beats) and np.array_equal(again.strength, found.strength)
