"""Read the streams of one clip from the files of earlier stages, which may be in packs, and check their shapes and dtypes.

Arrays are memory-mapped. All functions raise ValueError, one line that names the stream and the file, for a missing or damaged
file and for a wrong shape or dtype.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from dataset_tools.lib.audio.audio_file import open_audio, read_samples
from dataset_tools.lib.core.array_file import read_npy
from dataset_tools.lib.core.errors import Unreadable, UserError
from dataset_tools.lib.core.packs import local_file
from dataset_tools.lib.core.timebase import SAMPLE_RATE, SAMPLES_PER_FRAME, frames_to_samples
from dataset_tools.lib.shard_io.shard_format import I3D_WIDTH, JOINTS, MOTION_WIDTH


def read_pose(path: Path) -> np.ndarray:
    """Pose, float32 (T, P, J, 3): x px, y px, confidence."""
    pose = _read_array("pose", path)
    if pose.ndim != 4 or pose.shape[2] not in JOINTS.values() or pose.shape[3] != 3 or pose.dtype != np.float32:
        raise ValueError(f"pose: {path.name} must be float32 (T, P, J, 3), found {pose.dtype} {pose.shape}")
    return pose


def read_i3d(path: Path) -> np.ndarray:
    """I3D features, float32 (W, 2048)."""
    i3d = _read_array("i3d", path)
    if i3d.ndim != 2 or i3d.shape[1] != I3D_WIDTH or i3d.dtype != np.float32:
        raise ValueError(f"i3d: {path.name} must be float32 (W, {I3D_WIDTH}), found {i3d.dtype} {i3d.shape}")
    return i3d


def read_motion(path: Path) -> np.ndarray:
    """Body motion, float32 (T, R, 219), R steps for each video frame."""
    motion = _read_array("motion", path)
    if motion.ndim != 3 or motion.shape[1] == 0 or motion.shape[2] != MOTION_WIDTH or motion.dtype != np.float32:
        raise ValueError(
            f"motion: {path.name} must be float32 (T, R, {MOTION_WIDTH}), found {motion.dtype} {motion.shape}"
        )
    return motion


def count_audio_frames(path: Path) -> int:
    """Length of a mono audio file at 22 050 Hz, in whole video frames."""
    with _local_file("audio", path) as file, open_audio(file) as audio:
        if audio.channels != 1 or audio.samplerate != SAMPLE_RATE:
            raise ValueError(
                f"audio: {path.name} must be mono {SAMPLE_RATE} Hz, found {audio.channels} x {audio.samplerate}"
            )
        return audio.frames // SAMPLES_PER_FRAME


def read_audio(path: Path, frames: int | None = None) -> np.ndarray:
    """Mono audio, float32 (S,); with `frames`, only that of the first `frames` video frames."""
    with _local_file("audio", path) as file:
        return read_samples(file, mono=True, most=None if frames is None else frames_to_samples(frames)).audio


def _read_array(stream: str, path: Path) -> np.ndarray:
    with _local_file(stream, path) as file:
        return read_npy(file)  # its mapping stays valid after the file is removed


@contextmanager
def _local_file(stream: str, path: Path) -> Iterator[Path]:
    """As `local_file`. Turn UserError into ValueError that names the stream and the file, without its path: rows.csv may not contain paths."""
    try:
        with local_file(path) as file:
            yield file
    except UserError as err:
        reason = (
            err.reason
            if isinstance(err, Unreadable)
            else "No such file"
            if not path.exists()
            else str(err).removeprefix(f"{path}: ")
        )
        raise ValueError(f"{stream}: {path.name} is not readable: {reason}") from None
