"""What a user or another program left where the stages look: truth, annotations, codes, songs. One line each, nothing infinite."""

import pickle

import av
import numpy as np
import pytest
import soundfile
from av.stream import Disposition

from d2m_model.generate import own_songs
from d2m_model.metrics.inputs import read_rhythm, true_beats
from d2m_model.rhythm.stage import true_beats as beats_of_truth
from dataset_tools.lib.aist.annotations import read_keypoints, read_motion
from dataset_tools.lib.aist.corpus import read_annotated_motion, read_annotated_pose
from dataset_tools.lib.core import limits
from dataset_tools.lib.core.errors import UserError
from dataset_tools.lib.shard_io import stream_files
from dataset_tools.lib.shard_io.shard_format import ClipEntry

CLIP = ClipEntry(clip_id="a", song="s", genre="g", split="train", width=10, height=10, frames=60)
WRONG_BEATS = {
    "two axes": np.ones((2, 2)), "a number": np.float64(1.0), "text": np.array(["0.5", "1.0"]), "bytes": np.array([b"0.5"]), "truth": np.array([False, True]),
    "complex": np.array([1j]), "nan": np.array([0.5, np.nan]), "infinite": np.array([0.5, np.inf]), "falling": np.array([1.0, 0.5]), "falling without a sign": np.array([1, 3, 2], np.uint8), "records": np.zeros(2, [("a", float)]),
}  # fmt: skip


@pytest.mark.parametrize("what", WRONG_BEATS)
@pytest.mark.parametrize("name", ["beats", "downbeats"])
def test_true_beats_are_ascending_seconds_or_one_line(tmp_path, what, name):
    good = {"beats": np.array([0.5, 1.0]), "downbeats": np.array([0.5])}
    np.savez(tmp_path / "a.npz", **good)
    assert true_beats(tmp_path, ["a"])["a"].tolist() == [0.5, 1.0]
    np.savez(tmp_path / "a.npz", **good | {name: WRONG_BEATS[what]})
    for read in (
        lambda: true_beats(tmp_path, ["a"]),
        lambda: beats_of_truth(tmp_path, CLIP, np.zeros(44100, np.float32)),
    ):
        with pytest.raises(UserError, match=r"a\.npz: ") as caught:
            read()
        assert "\n" not in str(caught.value)


def test_whole_numbers_are_beats_and_down_beats_may_lack(tmp_path):
    np.savez(tmp_path / "a.npz", beats=np.array([1, 2]))
    found = true_beats(tmp_path, ["a"])["a"]
    assert found.dtype == float and found.tolist() == [1.0, 2.0]
    with pytest.raises(UserError, match="'downbeats' is missing.*set rhythm.beats to librosa or beat-this"):
        beats_of_truth(tmp_path, CLIP, np.zeros(44100, np.float32))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[",
        "[" * 5000,
        '{"beats": [1, 0.5], "downbeats": []}',
        '{"beats": [[1]], "downbeats": []}',
        '{"beats": [1e999], "downbeats": []}',
        "[]",
    ],
)
def test_a_rhythm_that_is_none_is_one_line(tmp_path, text):
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(UserError, match=r"a\.json: .*run the stage rhythm again") as caught:
        read_rhythm(tmp_path, ["a"])
    assert "\n" not in str(caught.value)


def aist_motion(tmp_path, **change):
    content = {
        "smpl_poses": np.full((4, 72), 0.1),
        "smpl_trans": np.full((4, 3), 50.0),
        "smpl_scaling": np.array([90.0]),
    } | change
    (tmp_path / "m.pkl").write_bytes(pickle.dumps(content))
    return tmp_path / "m.pkl"


@pytest.mark.parametrize(
    "change",
    [
        {"smpl_trans": np.full((4, 3), 1e300)},
        {"smpl_scaling": np.array([1e-300])},
        {"smpl_poses": np.full((4, 72), 1e300)},
        {"smpl_scaling": np.array([5e-324])},
    ],
)
@pytest.mark.filterwarnings("error")
def test_motion_beyond_float32_is_refused(tmp_path, change):
    assert np.isfinite(read_motion(aist_motion(tmp_path))).all()
    with pytest.raises(UserError, match=r"m\.pkl: ") as caught:
        read_motion(aist_motion(tmp_path, **change))
    assert "\n" not in str(caught.value)


@pytest.mark.filterwarnings("error")
def test_keypoints_beyond_float32_or_the_picture_are_missing_joints(tmp_path):
    points = np.full((9, 2, 17, 3), 0.5)
    points[0, 0, 0, 0], points[0, 0, 1, 1], points[0, 1, 2, 0], points[0, 1, 3, 2], points[0, 1, 4, 0] = (
        1e300,
        -np.inf,
        np.nan,
        1e300,
        1e6,
    )
    (tmp_path / "k.pkl").write_bytes(pickle.dumps({"keypoints2d": points}))
    found = read_keypoints(tmp_path / "k.pkl", 1)
    assert np.isfinite(found).all() and found[..., 2].max() == 1
    assert (
        not found[0, 0].any()
        and not found[0, 1].any()
        and not found[1, 2].any()
        and not found[1, 4].any()
        and found[1, 5].all()
    )


WRONG_NOTES = {
    "motion": [np.ones((9, 218)), np.ones(219), np.full((9, 219), np.nan), np.array("text")], "keypoints": [np.ones((9, 17)), np.ones((9, 16, 3)), np.full((9, 17, 3), np.inf)],
    "size": [np.ones(3), np.ones((2, 2)), np.array(["a", "b"]), np.array([np.nan, 1])],
}  # fmt: skip


def test_annotation_files_that_are_none_are_one_line(tmp_path):
    good = {"motion": np.ones((9, 219)), "keypoints": np.ones((9, 17, 3)), "size": np.array([1920, 1080])}
    pose = lambda: read_annotated_pose(
        tmp_path / "a.npz", 4, 1, source=(1920, 1080), crop=(0, 0, 1920, 1080), size=(1920, 1080)
    )
    np.savez(tmp_path / "a.npz", **good)
    assert pose().shape == (4, 1, 17, 3) and read_annotated_motion(tmp_path / "a.npz", 4).shape == (4, 2, 219)
    for name, values in WRONG_NOTES.items():
        for value in values:
            np.savez(tmp_path / "a.npz", **good | {name: value})
            with pytest.raises(UserError, match=r"a\.npz: .*run the stage sources again") as caught:
                read_annotated_motion(tmp_path / "a.npz", 4) if name == "motion" else pose()
            assert "\n" not in str(caught.value)
    for data in (b"", b"PK\x03\x04", b"\x93NUMPY"):
        (tmp_path / "a.npz").write_bytes(data)
        with pytest.raises(UserError, match=r"a\.npz: no annotated motion"):
            read_annotated_motion(tmp_path / "a.npz", 4)


def test_a_streams_complaint_names_no_path_of_this_machine(tmp_path):
    for name, read in (
        ("a.npy", stream_files.read_pose),
        ("a.wav", stream_files.read_audio),
        ("a.wav", stream_files.count_audio_frames),
        ("b.npy", stream_files.read_i3d),
    ):
        for data in (None, b"", b"text", b"RIFF\0\0\0\0WAVEfmt "):
            if data is not None:
                (tmp_path / name).write_bytes(data)
            with pytest.raises(ValueError, match=rf"(pose|audio|i3d): {name} is not readable: ") as caught:
                read(tmp_path / name)
            assert str(tmp_path) not in str(caught.value) and "\n" not in str(caught.value)
            (tmp_path / name).unlink(missing_ok=True)


def test_a_song_is_measured_by_its_packets_not_by_its_header(tmp_path):
    """Half an hour and more of silence, whose encoder did not say how long it is."""
    with soundfile.SoundFile(tmp_path / "a.flac", "w", 8000, 1, format="FLAC") as file:
        for _ in range(32):
            file.write(np.zeros(8000 * 60, np.int16))
    data = bytearray((tmp_path / "a.flac").read_bytes())
    data[21] &= 0xF0
    data[22:26] = bytes(4)
    (tmp_path / "a.flac").write_bytes(data)
    with pytest.raises(
        UserError, match=r"a\.flac: over 30 min long at 8000 Hz; a song may have at most 30 min: cut it"
    ):
        own_songs.read_song(tmp_path / "a.flac")
    soundfile.write(tmp_path / "b.wav", np.zeros((96_000, 2), np.float32), 48_000)
    assert own_songs.read_song(tmp_path / "b.wav")[0].shape == (2, 96_000)
    assert own_songs.MOST_SECONDS * 48_000 <= limits.AUDIO_SAMPLES


def test_the_song_that_is_measured_is_the_one_that_is_heard(tmp_path, monkeypatch):
    """The default audio track of two, the second in the file."""
    path = tmp_path / "two.mka"
    with av.open(str(path), "w") as out:
        streams = [out.add_stream("pcm_s16le", rate=8000, layout="mono") for _ in range(2)]
        streams[0].disposition, streams[1].disposition = Disposition(0), Disposition.default
        for stream, seconds in zip(streams, (1, 3), strict=True):
            frame = av.AudioFrame.from_ndarray(np.zeros((1, 8000 * seconds), np.int16), "s16", "mono")
            frame.sample_rate, frame.pts = 8000, 0
            out.mux(stream.encode(frame))
    assert own_songs.read_song(path)[0].shape == (1, 24_000)
    monkeypatch.setattr(own_songs, "MOST_SECONDS", 2)
    with pytest.raises(UserError, match=r"two\.mka: over \d min long at 8000 Hz"):
        own_songs.read_song(path)
