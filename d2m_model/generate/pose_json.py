"""Reads the people in each frame from the JSON of pose estimators: OpenPose, OpenPifPaf and AIST++."""

import math
import re
from itertools import pairwise
from pathlib import Path

import numpy as np

from dataset_tools.lib.core import limits
from dataset_tools.lib.core.errors import Unreadable, UserError
from dataset_tools.lib.core.json_file import parse_json, read_json

MOST_OF_A_FRAME = 4 << 20
"""Bytes of one frame's file or line."""
MOST_GAP = 3600
"""Largest step from one frame number to the next; a larger one is taken for a mistake."""
FRAME_FILE = re.compile(r"(\d{1,12})_keypoints\.json$")
OPENPOSE, AIST = "pose_keypoints_2d", "keypoints2d"
JOINTS = (17, 18, 25, 133)
WANTED = (
    'OpenPose\'s {"people": [{"pose_keypoints_2d": [...]}]} or a list of them, OpenPifPaf\'s {"frame": n, "predictions": '
    '[...]} a line, or AIST++\'s {"keypoints2d": ...}'
)


def folder_detections(folder: Path, most_frames: int, most_people: int) -> list[np.ndarray]:
    """The people (N, J, 3) of each frame, from OpenPose's <name>_<frame>_keypoints.json in one folder. A frame without a
    file has nobody.

    Raises UserError: no such files, files of two videos, one that is not OpenPose's, more frames than allowed.
    """
    files = {}
    for path in sorted(folder.iterdir()):
        found = FRAME_FILE.search(path.name)
        if found and path.is_file():
            if int(found[1]) in files:
                raise UserError(
                    f"{folder}: {path.name} and {files[int(found[1])].name} are the same frame; keep one video's files in a folder"
                )
            files[int(found[1])] = path
    if not files:
        raise UserError(f"{folder}: no *_keypoints.json in this folder; OpenPose writes them with --write_json")
    _check_frames(folder, list(files), most_frames)
    frames = {}
    for number, path in files.items():
        frames[number] = _openpose_people(read_json(path, MOST_OF_A_FRAME), path, most_people)
        _check_size(folder, frames)
    return _in_a_row(frames, folder)


def detections_of(path: Path, most_frames: int, most_people: int, camera: int = 1) -> list[np.ndarray] | np.ndarray:
    """The people (N, J, 3) of each frame of a JSON file. For AIST++, an array (T, 17, 3) of the given camera, 1 to 9.

    Raises UserError for a file in none of the formats, and for more frames or people than allowed.
    """
    first = _first_line(path)
    if isinstance(first, dict) and "predictions" in first and "frame" in first:
        return _pifpaf(path, most_frames, most_people)
    content = read_json(path)
    if isinstance(content, dict) and AIST in content:
        return _aist(content[AIST], path, most_frames, camera)
    if isinstance(content, dict) and "people" in content:
        content = [content]
    if isinstance(content, list) and content and all(isinstance(c, dict) and "people" in c for c in content):
        if len(content) > most_frames:
            raise UserError(f"{path}: at most {most_frames} frames are read, found {len(content)}")
        return _in_a_row({n: _openpose_people(c, path, most_people) for n, c in enumerate(content)}, path)
    raise UserError(f"{path}: not a known pose file; read are {WANTED}")


def _first_line(path: Path) -> object:
    """The content of the file's first line, if that line alone is JSON; else None."""
    with path.open("rb") as handle:
        line = handle.readline(MOST_OF_A_FRAME + 1)
    try:
        return parse_json(line, path) if len(line) <= MOST_OF_A_FRAME else None
    except Unreadable:
        return None


def _pifpaf(path: Path, most_frames: int, most_people: int) -> list[np.ndarray]:
    limits.check_regular_file(path, limits.JSON_BYTES)
    frames = {}
    with path.open("rb") as handle:
        for number, line in enumerate(iter(lambda: handle.readline(MOST_OF_A_FRAME + 1), b""), start=1):
            where = f"{path}: line {number}"
            if len(line) > MOST_OF_A_FRAME:
                raise UserError(f"{where} has over {MOST_OF_A_FRAME >> 20} MiB; OpenPifPaf writes one frame a line")
            try:
                content = parse_json(line, where) if line.strip() else None
            except Unreadable as err:
                raise UserError(f"{err}; OpenPifPaf writes one object a line: the file was cut or changed") from None
            if content is None:
                continue
            frame = content.get("frame") if isinstance(content, dict) else None
            found = content.get("predictions") if isinstance(content, dict) else None
            if not (type(frame) is int and 0 <= frame < 1 << 40) or not isinstance(found, list):
                raise UserError(f'{where} is not OpenPifPaf\'s {{"frame": n, "predictions": [...]}}')
            if len(frames) >= most_frames:
                raise UserError(f"{path}: at most {most_frames} frames are read")
            frames[frame] = _people(
                [p.get("keypoints") if isinstance(p, dict) else None for p in found], where, most_people
            )
            _check_size(path, frames)
    _check_frames(path, list(frames), most_frames)
    return _in_a_row(frames, path)


def _openpose_people(content: object, path: Path, most_people: int) -> np.ndarray:
    people = content.get("people") if isinstance(content, dict) else None
    if not isinstance(people, list) or not all(isinstance(p, dict) for p in people):
        raise UserError(f'{path}: not OpenPose\'s {{"people": [{{"{OPENPOSE}": [...]}}]}}')
    return _people([p.get(OPENPOSE, p.get("pose_keypoints")) for p in people], str(path), most_people)


def _people(found: list, where: str, most_people: int) -> np.ndarray:
    """(N, J, 3) float32 of flat lists x, y, confidence; (0, 0, 3) for nobody."""
    if len(found) > most_people:
        raise UserError(f"{where}: at most {most_people} people in a frame are read, found {len(found)}")
    rows = []
    for person in found:
        if person == []:  # OpenPose writes this for a person of whom only hands or face were found
            continue
        good = (
            isinstance(person, list) and len(person) in (3 * j for j in JOINTS) and all(_is_number(v) for v in person)
        )
        if not good:
            count = f"{len(person)} values" if isinstance(person, list) else f"a {type(person).__name__}"
            raise UserError(
                f"{where}: a person is x, y and confidence of 17, 18, 25 or 133 joints in one list of numbers, found {count}"
            )
        if rows and len(person) != len(rows[0]):
            raise UserError(f"{where}: people of {len(rows[0]) // 3} and {len(person) // 3} joints in one frame")
        rows.append(person)
    return _narrow(rows).reshape(len(rows), -1, 3) if rows else np.zeros((0, 0, 3), np.float32)


def _narrow(values: list) -> np.ndarray:
    """Numbers as float32, NaN for None. Too large a number becomes infinite, which counts as a missing joint."""
    with np.errstate(over="ignore"):
        return np.array(values, np.float64).astype(np.float32)


def _aist(content: object, path: Path, most_frames: int, camera: int) -> np.ndarray:
    """(T, 17, 3) of one camera from nested lists; null is a missing number."""
    cameras = content if isinstance(content, list) else []
    frames = len(cameras[0]) if cameras and isinstance(cameras[0], list) else 0
    if not 1 <= len(cameras) <= 9 or not 1 <= frames <= most_frames:
        raise UserError(
            f"{path}: {AIST} must be lists of 1 to 9 cameras, 1 to {most_frames} frames, 17 joints and 3 numbers"
        )
    rule = f"{path}: {AIST} must be cameras of {frames} frames of 17 joints of 3 numbers each"
    if not all(isinstance(found, list) and len(found) == frames for found in cameras):
        raise UserError(rule)
    if not 1 <= camera <= len(cameras):
        raise UserError(f"{path}: has cameras 1 to {len(cameras)}, found camera {camera}")
    out = np.empty((frames, 17, 3), np.float32)
    for number, frame in enumerate(cameras[camera - 1]):
        joints = frame if isinstance(frame, list) and len(frame) == 17 else [None]
        if not all(
            isinstance(joint, list) and len(joint) == 3 and all(v is None or _is_number(v) for v in joint)
            for joint in joints
        ):
            raise UserError(f"{rule}, found otherwise in frame {number}")
        out[number] = _narrow(joints)
    return out


def _is_number(value: object) -> bool:
    """Whether `value` is an int or float that float64 can hold. NaN and infinities count, because tools write them for missing joints."""
    return type(value) is float or (type(value) is int and math.log2(abs(value) + 1) < 1000)


def _check_size(path: Path, frames: dict[int, np.ndarray]) -> None:
    """Raises UserError if the people of all frames have more numbers than one JSON file may have values."""
    last = next(reversed(frames.values()))
    if (
        len(frames) * last.size > limits.JSON_VALUES
        and sum(found.size for found in frames.values()) > limits.JSON_VALUES
    ):
        raise UserError(f"{path}: over {limits.JSON_VALUES} numbers; cut it into parts")


def _check_frames(path: Path, numbers: list[int], most_frames: int) -> None:
    numbers = sorted(numbers)
    if not numbers:
        raise UserError(f"{path}: has no frames")
    if numbers[-1] - numbers[0] >= most_frames:
        raise UserError(f"{path}: at most {most_frames} frames are read, found frames {numbers[0]} to {numbers[-1]}")
    for before, after in pairwise(numbers):
        if after - before > MOST_GAP:
            raise UserError(f"{path}: no frame between {before} and {after}; is it one video's?")


def _in_a_row(frames: dict[int, np.ndarray], path: Path) -> list[np.ndarray]:
    """The people of every frame from the first to the last that has an entry, all with the same number of joints."""
    joints = {found.shape[1] for found in frames.values() if len(found)}
    if not joints:
        raise UserError(f"{path}: nobody is seen in any of its {len(frames)} frames")
    if len(joints) > 1:
        raise UserError(
            f"{path}: frames of {' and '.join(str(j) for j in sorted(joints))} joints; a file has one layout"
        )
    nobody = np.zeros((0, joints.pop(), 3), np.float32)
    first, last = min(frames), max(frames)
    everyone = (frames.get(n, nobody) for n in range(first, last + 1))
    return [found if len(found) else nobody for found in everyone]
