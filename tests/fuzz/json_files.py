"""JSON of beats, poses and other people's results: trees with odd leaves, and damaged text."""

import json
from functools import partial
from pathlib import Path

import numpy as np
from hypothesis import strategies as st

from d2m_model.generate.pose_files import read_pose
from d2m_model.metrics.inputs import read_rhythm
from d2m_model.rhythm.beats_file import read_beats, write_beats
from tests.fuzz.case import Case, promise
from tests.fuzz.mutation import altered, damaged, odd_numbers

KEYPOINTS = [round(100 + 7.3 * k % 50, 1) if k % 3 < 2 else 0.9 for k in range(51)]
PERSON25 = [round(50 + 3.7 * k % 90, 1) if k % 3 < 2 else 0.8 for k in range(75)]
BEATS = {
    "fps": 30,
    "seconds": 4.0,
    "tempo": 120.0,
    "beats": [0.5, 1.0, 1.5],
    "downbeats": [0.5],
    "strength": [0.9, 0.1, 0.5],
    "style": {"house": 0.7},
}


def beats(into: Path, out: Path) -> None:
    found = read_beats(into / "beats.json")
    promise(
        np.isfinite([found.fps, found.seconds]).all() and found.seconds > 0 and 1 <= found.fps <= 1000,
        "fps and seconds are real",
    )
    for times in (found.beats, found.downbeats):
        promise(times.dtype == np.float64 and times.ndim == 1, "times are float64 (n,)")
        promise(
            bool(np.isfinite(times).all() and (times >= 0).all() and (np.diff(times) > 0).all()), "times ascend from 0"
        )
        promise(bool((times <= found.seconds).all()), "times lie within the dance")
    promise(len(found.strength) in (0, len(found.beats)), "a strength for each beat")
    promise(found.tempo is None or 1 <= found.tempo <= 2000, "tempo within 1 to 2000")
    write_beats(out / "again.json", found)
    again = read_beats(out / "again.json")
    promise(
        len(again.beats) == len(found.beats) and np.allclose(again.beats, found.beats, atol=1e-4),
        "what is written reads as it was",
    )


def rhythm(into: Path, _out: Path) -> None:
    for found in read_rhythm(into, ["clip"]).values():
        promise(
            found.beats.ndim == 1 and bool(np.isfinite(found.beats).all() and (np.diff(found.beats) > 0).all()),
            "beats ascend",
        )


def pose(into: Path, _out: Path, name: str = "pose.json") -> None:
    found = read_pose(into / name)
    promise(
        found.pose.dtype == np.float32
        and found.pose.ndim == 3
        and found.pose.shape[1] in (17, 25)
        and found.pose.shape[2] == 3,
        "float32 (T, J, 3)",
    )
    promise(bool(np.isfinite(found.pose).all()), "numbers are finite")
    confidence = found.pose[..., 2]
    promise(
        bool(((confidence >= 0) & (confidence <= 1)).all() and (confidence > 0).any()),
        "confidence within 0..1, somebody is seen",
    )
    promise(bool((found.pose[confidence == 0] == 0).all()), "a missing joint is all zero")
    promise(min(found.size) > 0 and 5 <= found.fps <= 240, "size and fps are real")


READERS = {
    "beats": beats, "rhythm": rhythm, "pose": pose, "pose lines": partial(pose, name="pose.jsonl"), "pose folder": partial(pose, name="poses"),
}  # fmt: skip

OPENPOSE = {"version": 1.3, "people": [{"pose_keypoints_2d": PERSON25}, {"pose_keypoints_2d": PERSON25}]}
PIFPAF = [
    {"frame": n, "predictions": [{"keypoints": KEYPOINTS, "bbox": [0, 0, 9, 9], "score": 0.9}]} for n in range(1, 4)
]
JOINTS = [[float(j), 2.0 * j, 0.9] for j in range(17)]
AIST = {"keypoints2d": [[JOINTS, JOINTS], [JOINTS, JOINTS]], "timestamps": [0, 1]}


def _text(tree: object) -> bytes:
    return json.dumps(tree).encode()


@st.composite
def cases(draw) -> Case:
    reader = draw(st.sampled_from(("beats", "beats", "rhythm", "pose", "pose", "pose lines", "pose folder")))
    change = (lambda tree: draw(altered(tree))) if draw(st.integers(0, 3)) else (lambda tree: tree)
    if draw(st.booleans()):
        change_tree, change = change, lambda tree: draw(altered(change_tree(tree), odd_numbers))
    if reader in ("beats", "rhythm"):
        files = {{"beats": "beats.json", "rhythm": "clip.json"}[reader]: _text(change(BEATS))}
    elif reader == "pose":
        files = {"pose.json": _text(change(draw(st.sampled_from((OPENPOSE, [OPENPOSE] * 3, AIST)))))}
    elif reader == "pose lines":
        files = {"pose.jsonl": b"\n".join(_text(change(line)) for line in PIFPAF)}
    else:
        numbers = draw(st.lists(st.sampled_from((0, 1, 2, 5, 7000, 99999999999)), min_size=1, max_size=3, unique=True))
        files = {f"poses/dance_{n:012d}_keypoints.json": _text(change(OPENPOSE)) for n in numbers}
    if not draw(st.integers(0, 3)):
        files = {name: draw(damaged(content)) for name, content in files.items()}
    deep = b'{"beats":' + b"[" * 5000
    return Case(reader, {n: deep if not draw(st.integers(0, 60)) else content for n, content in files.items()})
