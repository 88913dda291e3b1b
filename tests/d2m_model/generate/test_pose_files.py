"""Pose files of every format hold the same known dancer; broken and hostile ones are refused in one line."""

import json
import pickle

import numpy as np
import pytest

from d2m_model.generate import pose_files
from d2m_model.generate.pose_files import COCO18, at_30_fps, read_pose
from dataset_tools.lib.core.errors import UserError
from dataset_tools.pose.layouts import BODY25, to_layout
from dataset_tools.pose.tracking import track

FRAMES = 40


def dancer(frames=FRAMES, scale=1.0, left=300.0, fps=30.0):
    """(frames, 17, 3): a standing body whose wrists go up and down at 1 Hz while all of it drifts to the right."""
    rng = np.random.default_rng(0)
    body = np.stack([rng.uniform(0, 120, 17), np.linspace(0, 400, 17), np.ones(17)], 1)
    pose = np.repeat(body[None], frames, 0)
    time = np.arange(frames) / fps
    pose[:, :, :2] *= scale
    pose[:, :, 0] += left + 10 * time[:, None]
    pose[:, :, 1] += 100
    pose[:, [9, 10], 1] += 40 * np.sin(2 * np.pi * time)[:, None]
    return pose.astype(np.float32)


def coco18(pose):
    """OpenPose's 18 joints from COCO's 17: its neck is the shoulders' middle."""
    out = np.zeros((len(pose), 18, 3))
    for joint, place in enumerate(COCO18):
        out[:, place] = pose[:, joint]
    out[:, 1] = pose[:, [5, 6]].mean(1)
    return out


def flat(person):
    return np.asarray(person, float).round(4).reshape(-1).tolist()


def openpose(frame_people):
    return {
        "version": 1.3,
        "people": [{"person_id": [-1], "pose_keypoints_2d": flat(p), "face_keypoints_2d": []} for p in frame_people],
    }


def write_folder(folder, poses, first=0):
    folder.mkdir()
    for n in range(len(poses[0])):
        (folder / f"my_video_{n + first:012d}_keypoints.json").write_text(json.dumps(openpose([p[n] for p in poses])))


def pifpaf_line(frame, people):
    found = [{"keypoints": flat(p), "bbox": [0, 0, 1, 1], "score": 0.9, "category_id": 1} for p in people]
    return json.dumps({"frame": frame, "predictions": found}) + "\n"


def close(read, pose):
    np.testing.assert_allclose(read.pose, pose, atol=0.05)


@pytest.mark.parametrize("people", [True, False])
def test_our_own_arrays(tmp_path, people):
    pose = dancer()
    stored = np.stack([pose, dancer(left=900)], 1) if people else pose
    np.save(tmp_path / "a.npy", stored)
    read = read_pose(tmp_path / "a.npy", size=(1280, 720))
    assert np.array_equal(read.pose, pose) and read.fps == 30 and read.size == (1280, 720) and read.layout == "coco17"
    assert read_pose(tmp_path / "a.npy").size == tuple(np.ceil(pose[..., :2].max((0, 1))).astype(int))


def test_openpose_folder_of_body25(tmp_path):
    body = to_layout(dancer(), "body25")
    write_folder(tmp_path / "json", [body], first=100)
    (tmp_path / "json" / "readme.txt").write_text("passed over")
    read = read_pose(tmp_path / "json")
    assert read.layout == "body25" and read.pose.shape == (FRAMES, 25, 3)
    close(read, body)
    close(read.in_layout("coco17"), dancer())
    close(read.in_layout("coco17").in_layout("body25"), body)
    assert [joint for joint in BODY25 if isinstance(joint, int)][:3] == [0, 6, 8]


def test_openpose_coco_as_one_file(tmp_path):
    """Its 18 joints are right before left, and the face comes last."""
    (tmp_path / "all.json").write_text(json.dumps([openpose([p]) for p in coco18(dancer())]))
    close(read_pose(tmp_path / "all.json"), dancer())


def test_openpifpaf_lines(tmp_path):
    pose = dancer()
    lines = [pifpaf_line(n + 1, [p]) for n, p in enumerate(pose)]
    (tmp_path / "a.openpifpaf.json").write_text("".join(lines))
    close(read_pose(tmp_path / "a.openpifpaf.json"), pose)
    whole = np.concatenate([pose, np.ones((FRAMES, 116, 3))], 1)
    (tmp_path / "whole.jsonl").write_text("".join(pifpaf_line(n, [p]) for n, p in enumerate(whole)))
    close(read_pose(tmp_path / "whole.jsonl"), pose)
    del lines[10:13]  # nobody was found: a frame without a line
    (tmp_path / "gap.json").write_text("".join(lines))
    read = read_pose(tmp_path / "gap.json")
    assert len(read.pose) == FRAMES and np.abs(read.pose[11, :, :2] - pose[11, :, :2]).max() < 5, (
        "a short gap is filled"
    )


@pytest.mark.parametrize("form", ["pkl", "json"])
def test_aist_keypoints_at_60_fps(tmp_path, form):
    fast = dancer(frames=2 * FRAMES, fps=60)
    cameras = np.stack([fast + c for c in range(9)]).astype(float)
    cameras[..., 2] = 0.9
    cameras[3, 0, 0] = np.nan
    path = tmp_path / f"gBR_sBM_cAll_d04_mBR0_ch01.{form}"
    if form == "pkl":
        path.write_bytes(pickle.dumps({"keypoints2d": cameras, "timestamps": np.arange(80)}))
    else:
        path.write_text(json.dumps({"keypoints2d": np.where(np.isfinite(cameras), cameras, None).tolist()}))
    read = read_pose(path, camera=4)
    assert read.fps == 60 and read.size == (1920, 1080) and read.pose.shape == (FRAMES, 17, 3)
    np.testing.assert_allclose(read.pose[1:, :, :2], fast[2::2, :, :2] + 3, atol=0.01)
    assert not read.pose[0, 0].any()
    with pytest.raises(UserError):
        read_pose(path, camera=10)


@pytest.mark.parametrize("fps", [24, 25, 29.97, 48, 50, 59.94, 60])
def test_any_rate_becomes_30(fps):
    frames = round(4 * fps)
    made = at_30_fps(dancer(frames=frames, fps=fps), fps)
    assert abs(len(made) - 120) <= 1 and made.dtype == np.float32
    wanted = dancer(frames=len(made), fps=30)
    assert np.abs(made - wanted)[2:-2].max() < 0.6  # px; the wrists go through 160 px a second
    assert len(at_30_fps(dancer(frames=1), 60)) == 1


def test_missing_joints_are_not_interpolated_with():
    pose = dancer(frames=48, fps=24)
    pose[20:30, 9] = 0
    made = at_30_fps(pose, 24)
    seen = made[:, 9, 2] > 0
    assert (made[seen, 9, 0] > 290).all() and 10 <= (~seen).sum() <= 14


def test_of_several_people_the_foremost_is_followed(tmp_path):
    """The large dancer is listed first in even frames, second in odd ones; small ones stand behind."""
    large, small = dancer(), dancer(scale=0.4, left=40)
    people = [[large[n], small[n]] if n % 2 == 0 else [small[n], large[n]] for n in range(FRAMES)]
    (tmp_path / "a.json").write_text("".join(pifpaf_line(n, found) for n, found in enumerate(people)))
    close(read_pose(tmp_path / "a.json", size=(1280, 720)), large)


def test_of_a_crowd_behind_the_dancer_few_are_tracked(tmp_path, monkeypatch):
    counts = []

    def counted(people, *args, **kept):
        people = list(people)
        counts.extend(map(len, people))
        return track(people, *args, **kept)

    monkeypatch.setattr(pose_files, "track", counted)
    large, small = dancer(), dancer(scale=0.2, left=40)
    people = [
        [*(small[n] + 2 * k for k in range(30)), large[n], *(small[n] - 2 * k for k in range(30))]
        for n in range(FRAMES)
    ]
    for found in people:
        for person in found:
            person[:, 2] = 1
    (tmp_path / "a.json").write_text("".join(pifpaf_line(n, found) for n, found in enumerate(people)))
    close(read_pose(tmp_path / "a.json", size=(1280, 720)), large)
    assert set(counts) == {pose_files.TRACKED}
    with pytest.raises(UserError, match="the dancer must be 0 to 15, found 16"):
        read_pose(tmp_path / "a.json", size=(1280, 720), dancer=16)


def test_any_slot_of_an_array_can_be_read(tmp_path):
    slots = np.zeros((FRAMES, 32, 17, 3), np.float32)
    slots[:, 20] = dancer()
    np.save(tmp_path / "a.npy", slots)
    close(read_pose(tmp_path / "a.npy", dancer=20), dancer())
    with pytest.raises(UserError, match="dancer 3 is seen in none of its .* frames; name another with --dancer"):
        read_pose(tmp_path / "a.npy", dancer=3)
    with pytest.raises(UserError, match="--dancer 40 is not there; it has dancers 0 to 31"):
        read_pose(tmp_path / "a.npy", dancer=40)


class Evil:
    def __reduce__(self):
        import os

        return os.system, ("touch executed",)


def npy(header):
    text = header.encode()
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text + bytes(64)


HOSTILE = {
    "zip.npy": b"PK\x03\x04" + bytes(100),
    "vast.npy": npy("{'descr': '<f4', 'fortran_order': False, 'shape': (99999999999999999999999, 17, 3)}\n"),
    "overflow.npy": npy("{'descr': '<f4', 'fortran_order': False, 'shape': (4611686018427387904, 17, 3)}\n"),
    "minus.npy": npy("{'descr': '<f4', 'fortran_order': False, 'shape': (-4, 17, 3)}\n"),
    "header.npy": npy("{'descr': '<f4', 'fortran_order': False, 'shape': (4, 17, 3\n"),
    "descr.npy": npy("{'descr': [1], 'fortran_order': False, 'shape': (4, 17, 3)}\n"),
    "keys.npy": npy("{'shape': 4}\n"),
    "short.npy": b"\x93NUMPY\x01",
    "empty.npy": b"",
    "text.npy": b"hello",
    "empty.json": b"",
    "cut.json": json.dumps([openpose(dancer(1))]).encode()[:-20],
    "deep.json": b"[" * 200_000 + b"]" * 200_000,
    "number.json": b"7",
    "other.json": b'{"frames": []}',
    "none.json": b"[]",
    "nobody.json": b'[{"people": []}, {"people": []}]',
    "person.json": b'{"people": ["me"]}',
    "joints.json": json.dumps({"people": [{"pose_keypoints_2d": [1.0] * 30}]}).encode(),
    "words.json": json.dumps({"people": [{"pose_keypoints_2d": ["1"] * 51}]}).encode(),
    "huge.json": (b'{"people": [{"pose_keypoints_2d": [' + b"9" * 4000 + b",1,1" + b",1,1,1" * 16 + b"]}]}"),
    "crowd.json": json.dumps({"people": [{"pose_keypoints_2d": [1.0] * 51}] * 65}).encode(),
    "mixed.json": json.dumps([openpose(dancer(1)), openpose(to_layout(dancer(1), "body25"))]).encode(),
    "far.json": (pifpaf_line(0, dancer(1)) + pifpaf_line(10**9, dancer(1))).encode(),
    "gap.json": (pifpaf_line(0, dancer(1)) + pifpaf_line(9000, dancer(1))).encode(),
    "broken_line.json": (pifpaf_line(0, dancer(1)) + "{").encode(),
    "bool.json": b'{"frame": true, "predictions": []}\n',
    "nan.json": b'{"people": [{"pose_keypoints_2d": [' + b",".join([b"NaN"] * 51) + b"]}]}",
    "lists.json": b'{"keypoints2d": [[[[1, 2]]]]}',
    "ragged.json": b'{"keypoints2d": [[1], [1, 2]]}',
    "bytes.json": bytes(range(256)),
    "evil.pkl": pickle.dumps({"keypoints2d": Evil()}),
    "cut.pkl": pickle.dumps({"keypoints2d": np.zeros((9, 2, 17, 3))})[:-50],
    "one.txt": b"pose",
}


@pytest.mark.parametrize("name", HOSTILE)
def test_broken_and_hostile_files_are_one_line(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    (tmp_path / name).write_bytes(HOSTILE[name])
    with pytest.raises(UserError) as caught:
        read_pose(tmp_path / name)
    assert "\n" not in str(caught.value) and name in str(caught.value) and len(str(caught.value)) < 500
    assert not (tmp_path / "executed").exists()


@pytest.mark.parametrize(
    "array",
    [
        np.zeros((4, 17, 2)), np.zeros((4, 16, 3)), np.zeros((0, 17, 3)), np.zeros((4, 17, 3), complex), np.array([Evil()], object),
        np.zeros((300_000, 17, 3), np.int8), np.zeros((1, 65, 17, 3)), np.zeros((4, 17, 3)), np.full((4, 17, 3), np.nan), np.float32(3),
        np.zeros((2, 2, 2, 17, 3)), np.zeros(3, [("x", float)]),
    ],
)  # fmt: skip
def test_arrays_that_are_no_pose(tmp_path, monkeypatch, array):
    monkeypatch.chdir(tmp_path)
    np.save(tmp_path / "a.npy", array, allow_pickle=True)
    with pytest.raises(UserError, match=r"a\.npy: ") as caught:
        read_pose(tmp_path / "a.npy")
    assert "\n" not in str(caught.value) and not (tmp_path / "executed").exists()


def test_an_array_that_claims_more_than_it_has(tmp_path):
    np.save(tmp_path / "a.npy", np.ones((4, 17, 3)))
    whole = (tmp_path / "a.npy").read_bytes()
    (tmp_path / "a.npy").write_bytes(whole.replace(b"(4, 17, 3)", b"(99999999, 17, 3)")[: len(whole)])
    with pytest.raises(UserError, match="not a complete .npy file: its numbers need"):
        read_pose(tmp_path / "a.npy")


def test_folders_that_are_none(tmp_path):
    with pytest.raises(UserError, match="no \\*_keypoints.json in this folder"):
        read_pose(tmp_path)
    write_folder(tmp_path / "two", [dancer(2)])
    (tmp_path / "two" / "other_000000000001_keypoints.json").write_text("{}")
    with pytest.raises(UserError, match="are the same frame; keep one video's"):
        read_pose(tmp_path / "two")
    with pytest.raises(UserError, match="file not found"):
        read_pose(tmp_path / "gone.npy")
    with pytest.raises(UserError, match="frames a second must be 5 to 240, found nan"):
        read_pose(tmp_path / "two", fps=float("nan"))
