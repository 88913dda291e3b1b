"""Reads pose files of other estimators, in several formats, as one dancer at 30 frames per second.

    X.npy                   this project's: (T, P, J, 3) with people P, or (T, J, 3); or without confidences, (T, J, 2)
    a folder or X.json      OpenPose: a *_keypoints.json for each frame, or a list of such objects; BODY_25 or COCO
    X.pkl or X.json         AIST++ keypoints2d: 9 cameras, of which one is read
    X.json, X.jsonl         OpenPifPaf: an object a line with `frame` and `predictions` (openpifpaf.video --json-output)

Joints J: 17 (COCO), 18 (OpenPose's COCO; its neck is left out), 25 (BODY_25) or 133 (whole body; the first 17 are COCO's).
No code in a file is executed: pickles are read by a reader that creates arrays only.
"""

import dataclasses
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from d2m_model.generate.pose_json import detections_of, folder_detections
from dataset_tools.lib.aist.annotations import ANNOTATION_FPS as AIST_RATE
from dataset_tools.lib.aist.annotations import read_keypoints
from dataset_tools.lib.core.array_file import read_npy
from dataset_tools.lib.core.errors import UserError
from dataset_tools.lib.core.limits import check_regular_file
from dataset_tools.lib.core.timebase import FPS, frames_to_seconds
from dataset_tools.pose.layouts import BODY25, COCO17, to_layout
from dataset_tools.pose.tracking import track

MOST_FRAMES = 216_000
"""Most frames of a file, before and after conversion to 30 frames per second: an hour at 60, two hours at 30."""
MOST_PEOPLE = 64
"""Most people in a frame."""
TRACKED = 16
"""Most people of a frame that are tracked, the largest ones; the time grows with the square of their number."""
SLOWEST, FASTEST = 5.0, 240.0
"""Range of a file's frame rate."""
FARTHEST = 100_000.0
"""Largest distance of a joint from the picture's corner, in px."""
COCO18 = (0, 15, 14, 17, 16, 5, 2, 6, 3, 7, 4, 11, 8, 12, 9, 13, 10)
"""For each of COCO's 17 joints its index among OpenPose's 18, of which 1 is the neck."""
COCO_OF_BODY25 = tuple(BODY25.index(joint) for joint in COCO17)
AIST_SIZE = (1920, 1080)
LAYOUTS = {17: "coco17", 25: "body25"}


@dataclass(frozen=True, kw_only=True)
class ReadPose:
    """The dancer of a file."""

    pose: np.ndarray
    """(T, J, 3) float32 at 30 frames per second: x px, y px, confidence 0..1; a missing joint is all zero."""
    fps: float
    """Frame rate of the file."""
    size: tuple[int, int]
    """Width and height of the picture in px; if unknown, the smallest size that holds all joints."""

    @property
    def layout(self) -> str:
        """'coco17' or 'body25'."""
        return LAYOUTS[self.pose.shape[1]]

    @property
    def seconds(self) -> float:
        """Length of the dance."""
        return frames_to_seconds(len(self.pose))

    def in_layout(self, layout: str) -> "ReadPose":
        """The pose converted to 'coco17' or 'body25'; COCO has no feet, so these are missing."""
        if layout == self.layout:
            return self
        pose = self.pose[:, COCO_OF_BODY25] if layout == "coco17" else to_layout(self.pose, layout)
        return dataclasses.replace(self, pose=pose)


def read_pose(
    path: Path, *, fps: float | None = None, video_fps: float | None = None, size: tuple[int, int] | None = None, camera: int = 1,
    dancer: int = 0,
) -> ReadPose:  # fmt: skip
    """The pose in a file or folder. dancer: number of the dancer in the order of `tracking`, 0 for the primary one; in an array with
    people, their index.

    fps: frame rate of the file. By default 60 for AIST++, 30 for an array, and else `video_fps`, the rate of the video whose frames
    the file describes, or 30. size: of the picture in px. camera: 1 to 9, for AIST++. Raises UserError for a missing file, another
    format or number of joints, sizes beyond the limits, and a pose without anybody.
    """
    path = Path(path)
    if not path.is_dir():
        check_regular_file(path)
    if not 0 <= dancer < MOST_PEOPLE:
        raise UserError(f"{path}: the dancer must be 0 to {MOST_PEOPLE - 1}, found {dancer}")
    if fps is not None and not SLOWEST <= fps <= FASTEST:
        raise UserError(f"{path}: frames a second must be {SLOWEST:g} to {FASTEST:g}, found {fps:g}")
    if path.is_dir():
        frames, people = None, folder_detections(path, MOST_FRAMES, MOST_PEOPLE)
    elif path.suffix.lower() == ".npy":
        frames, people = _array(path, dancer), None
    elif path.suffix.lower() in (".pkl", ".pickle"):
        frames, people, fps, size = read_keypoints(path, camera), None, fps or AIST_RATE, size or AIST_SIZE
    elif path.suffix.lower() in (".json", ".jsonl"):
        found = detections_of(path, MOST_FRAMES, MOST_PEOPLE, camera)
        if isinstance(found, np.ndarray):
            frames, people, fps, size = found, None, fps or AIST_RATE, size or AIST_SIZE
        else:
            frames, people = None, found
    else:
        raise UserError(f"{path}: a pose is .npy, .json, .jsonl, .pkl or a folder of OpenPose's *_keypoints.json")
    if people is None and dancer and path.suffix.lower() != ".npy":
        check_dancer(path, dancer, 1)
    fps = fps or (people is not None and video_fps) or float(FPS)
    if not SLOWEST <= fps <= FASTEST:
        raise UserError(
            f"{path}: a pose has {SLOWEST:g} to {FASTEST:g} frames a second, but the video has {fps:g}; say which rate the pose has"
        )
    if people is not None:
        if dancer >= TRACKED:
            raise UserError(
                f"{path}: the {TRACKED} largest people of a frame are followed, so the dancer must be 0 to {TRACKED - 1}, found {dancer}"
            )
        people = [_coco(_clean(found), path) for found in people]
        width, height = size or _extent(people)
        tracked = track(map(_foremost, people), width, height, max_people=dancer + 1)
        check_dancer(path, dancer, dancers_of(tracked))
        frames = tracked[:, dancer]
    else:
        frames = _coco(_clean(np.asarray(frames, np.float32)), path)
        width, height = size or _extent([frames])
    if not (frames[..., 2] > 0).any():
        raise UserError(
            f"{path}: dancer {dancer} is seen in none of its {len(frames)} frames; name another with --dancer"
            if dancer
            else f"{path}: nobody is seen in any of its {len(frames)} frames"
        )
    if len(frames) * FPS > MOST_FRAMES * fps:
        raise UserError(
            f"{path}: lasts {len(frames) / fps / 60:.0f} min at {fps:g} frames a second; a dance may have {MOST_FRAMES // FPS // 60}: cut it"
        )
    return ReadPose(pose=at_30_fps(frames, fps), fps=float(fps), size=(int(width), int(height)))


def dancers_of(pose: np.ndarray) -> int:
    """Number of the people of a pose (T, P, J, 3), up to the last one that is ever seen; 1 if nobody is."""
    seen = np.flatnonzero((pose[..., 2] > 0).any(axis=(0, 2)))
    return int(seen[-1]) + 1 if len(seen) else 1


def check_dancer(path: Path, dancer: int, people: int) -> None:
    """Raises UserError for a number of a dancer that is not among the `people` of a file."""
    if not 0 <= dancer < people:
        has = (
            f"has dancers 0 to {people - 1}: name one of these"
            if people > 1
            else "has one dancer only, 0: leave it out"
        )
        raise UserError(f"{path}: --dancer {dancer} is not there; it {has}")


def at_30_fps(pose: np.ndarray, fps: float) -> np.ndarray:
    """Pose (T, J, 3) at `fps` -> (round(T * 30 / fps) or 1, J, 3) float32 at 30 frames per second, with the same length in time.

    A joint seen in both neighbouring frames is interpolated, with the lower confidence; one that is seen only in the nearer frame
    is copied from there.
    """
    if fps == FPS:
        return np.array(pose, np.float32)
    count = max(1, round(len(pose) * FPS / fps))
    at = np.minimum(np.arange(count) * (fps / FPS), len(pose) - 1)
    before = np.minimum(at.astype(int), max(0, len(pose) - 2))
    after = np.minimum(before + 1, len(pose) - 1)
    share = (at - before)[:, None, None]
    first, second = pose[before], pose[after]
    between = (1 - share) * first + share * second
    between[..., 2] = np.minimum(first[..., 2], second[..., 2])
    both = (first[..., 2:] > 0) & (second[..., 2:] > 0)
    nearer = np.where(share < 0.5, first, second)
    return np.where(both, between, nearer).astype(np.float32)


def _array(path: Path, dancer: int) -> np.ndarray:
    """The pose (T, J, 3) of a .npy file of this project; of person `dancer`, if it has several. Without confidences, or if all are
    0, a joint is seen where its position is not (0, 0)."""
    found = read_npy(path)
    shape = found.shape
    if found.dtype.kind not in "fiu" or found.ndim not in (3, 4) or shape[-1] not in (2, 3) or 0 in shape:
        raise UserError(
            f"{path}: a pose is numbers (frames, people, joints, 3) or (frames, joints, 3), found {shape} of {found.dtype}"[
                :300
            ]
        )
    if shape[0] > MOST_FRAMES or (found.ndim == 4 and shape[1] > MOST_PEOPLE):
        raise UserError(f"{path}: at most {MOST_FRAMES} frames of {MOST_PEOPLE} people are read, found {shape[:-2]}")
    if shape[-2] not in JOINTS_READ:
        raise UserError(_unknown_joints(path, shape[-2]))
    check_dancer(path, dancer, shape[1] if found.ndim == 4 else 1)
    if shape[-2] == 133:  # faces and hands are not read
        found = found[..., :17, :]
    with np.errstate(over="ignore"):  # too large a number becomes infinite, which counts as a missing joint
        pose = np.array(found[:, dancer] if found.ndim == 4 else found, np.float32)
    if shape[-1] == 2 or not (pose[..., 2] > 0).any():
        pose = np.concatenate([pose[..., :2], (pose[..., :2] != 0).any(axis=-1, keepdims=True)], axis=-1)
    return pose


JOINTS_READ = (17, 18, 25, 133)


def _unknown_joints(path: Path, joints: int) -> str:
    return f"{path}: has {joints} joints; read are 17 (COCO), 18 (OpenPose's COCO), 25 (BODY_25) and 133 (whole body)"


def _coco(people: np.ndarray, path: Path) -> np.ndarray:
    """Poses of any supported layout, converted to (..., J, 3) with J 17 or 25."""
    joints = people.shape[-2]
    if joints not in JOINTS_READ:
        raise UserError(_unknown_joints(path, joints))
    if joints == 18:
        return people[..., COCO18, :]
    return people[..., :17, :] if joints == 133 else people


def _clean(people: np.ndarray) -> np.ndarray:
    """Poses as float32 with confidences within 0..1; joints that are not finite or beyond FARTHEST are set to zero."""
    with np.errstate(invalid="ignore", over="ignore"):
        people = people.astype(np.float32)
        usable = np.isfinite(people).all(-1) & (np.abs(people[..., :2]) < FARTHEST).all(-1) & (people[..., 2] > 0)
    people = np.where(usable[..., None], people, 0)
    people[..., 2] = people[..., 2].clip(0, 1)
    return people


def _foremost(people: np.ndarray) -> np.ndarray:
    """The TRACKED people with the largest boxes among people (N, J, 3) in a frame, in the same order."""
    if len(people) <= TRACKED:
        return people
    seen = people[..., 2:] > 0
    sides = np.where(seen, people[..., :2], -np.inf).max(axis=1) - np.where(seen, people[..., :2], np.inf).min(axis=1)
    area = np.where(np.isfinite(sides).all(axis=1), sides.clip(0).prod(axis=1, where=np.isfinite(sides)), 0)
    return people[np.sort(np.argsort(-area, kind="stable")[:TRACKED])]


def _extent(people: list[np.ndarray]) -> tuple[int, int]:
    """Width and height of the smallest picture that holds all joints seen."""
    far = [found[..., :2][found[..., 2] > 0].max(axis=0) for found in people if (found[..., 2] > 0).any()]
    width, height = np.max(far, axis=0) if far else (1, 1)
    return max(1, int(np.ceil(width))), max(1, int(np.ceil(height)))
