"""One clip's streams as the stages before shards leave them, checked: arrays and sounds of the agreed shapes and types.

Arrays are mapped, not read. All raise ValueError, one line that names the stream and the file, for a broken file or another
shape or type, and OSError or RuntimeError as numpy and libsndfile do.
"""

from pathlib import Path

import numpy as np

from dataset_tools.base.shard_format import I3D_WIDTH, JOINTS, MOTION_WIDTH
from dataset_tools.base.timebase import SAMPLE_RATE, SAMPLES_PER_FRAME, frames_to_samples


def read_pose(path: Path) -> np.ndarray:
    """float32 (T, P, J, 3)."""
    pose = _array("pose", path)
    if pose.ndim != 4 or pose.shape[2] not in JOINTS.values() or pose.shape[3] != 3 or pose.dtype != np.float32:
        raise ValueError(f"pose: {path.name} must be float32 (T, P, J, 3), found {pose.dtype} {pose.shape}")
    return pose


def read_i3d(path: Path) -> np.ndarray:
    """float32 (W, 2048)."""
    i3d = _array("i3d", path)
    if i3d.ndim != 2 or i3d.shape[1] != I3D_WIDTH or i3d.dtype != np.float32:
        raise ValueError(f"i3d: {path.name} must be float32 (W, {I3D_WIDTH}), found {i3d.dtype} {i3d.shape}")
    return i3d


def read_motion(path: Path) -> np.ndarray:
    """float32 (T, R, 219), R steps for each video frame."""
    motion = _array("motion", path)
    if motion.ndim != 3 or motion.shape[1] == 0 or motion.shape[2] != MOTION_WIDTH or motion.dtype != np.float32:
        raise ValueError(f"motion: {path.name} must be float32 (T, R, {MOTION_WIDTH}), found {motion.dtype} {motion.shape}")
    return motion


def audio_frames(path: Path) -> int:
    """Whole video frames that a mono sound at 22 050 Hz lasts."""
    import soundfile

    info = soundfile.info(str(path))
    if info.channels != 1 or info.samplerate != SAMPLE_RATE:
        raise ValueError(f"audio: {path.name} must be mono {SAMPLE_RATE} Hz, found {info.channels} x {info.samplerate}")
    return info.frames // SAMPLES_PER_FRAME


def read_sound(path: Path, frames: int | None = None) -> np.ndarray:
    """float32 (S,), of the first `frames` video frames where they are given."""
    import soundfile

    samples = -1 if frames is None else frames_to_samples(frames)
    return soundfile.read(str(path), frames=samples, dtype="float32")[0]


def _array(stream: str, path: Path) -> np.ndarray:
    try:
        values = np.load(path, mmap_mode="r", allow_pickle=False)
    except (EOFError, ValueError) as err:  # an empty file, a cut one, pickled objects
        reason = "damaged, or no .npy file" if "pickle" in str(err) else err  # numpy advises to unpickle what it can't read
        raise ValueError(f"{stream}: {path.name} is not readable: {reason}") from None
    if not hasattr(values, "dtype"):
        raise ValueError(f"{stream}: {path.name} is an archive, not one array")
    return values
