"""The format of shards: HDF5 files of whole clips of one split, written once and read in windows of any length.

There is one group per clip, named by its id, in sorted order. A group has the streams `pose` float32 (T, P, J, 3), `audio`
float32 (T * 735,) and `i3d` float32 (W, 2048). A chunk holds about a second and has a fletcher32 checksum.

If the corpus comes with the dancer's body motion, there is also `motion` float32 (T, R, 219): R steps for each video frame, so
R * 30 per second, which is the file attribute `motion_rate`. Such files have schema version 2, others version 1.

The file format is that of HDF5 1.10, whose metadata has checksums too, and strings are stored there with fixed length. So a
flipped byte is an error, not a wrong number. Equal clips give equal bytes.

lib/shard_io/shard_check.py validates shards, lib/shard_io/shard_set.py reads them.
"""

import io
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np

from dataset_tools.lib.core.atomic import atomic_write
from dataset_tools.lib.core.limits import CLIP_SECONDS, DANCERS, SHARD_PEAK, SIDE
from dataset_tools.lib.core.names import check_label, check_name
from dataset_tools.lib.core.timebase import FPS, SAMPLE_RATE, frames_to_samples

SCHEMA_NAME = "d2m-shard"
SCHEMA_VERSION, MOTION_VERSION = 1, 2
"""Schema versions without and with the stream `motion`."""
JOINTS = {"coco17": 17, "body25": 25}
"""Pose layout -> number of joints J."""
I3D_WIDTH = 2048
MOTION_WIDTH = 219
"""Numbers in a step of `motion`: translation of the SMPL body divided by its scaling (3), then 24 rotation matrices (216)."""
MAX_MOTION_RATE = 240
FILE_TEXTS = ("corpus", "split", "pose_layout", "pose_weights", "i3d_weights")
CLIP_TEXTS = ("song", "genre", "split")
CLIP_NUMBERS = ("frames", "width", "height")
STREAMS = ("pose", "audio", "i3d")
"""Streams of every clip."""
MAX_FRAMES = CLIP_SECONDS * FPS
"""Longest clip that a shard may declare: one hour."""
MAX_PEOPLE = DANCERS
NO_POSE = "none, motion only"
"""`pose_weights` of clips whose `pose` is empty because only their body motion is known."""
REBUILD = "rebuild it with python -m dataset_tools.shards"


@dataclass(frozen=True, kw_only=True)
class ShardClip:
    """One clip with its streams, for writing."""

    clip_id: str
    song: str
    genre: str
    split: str
    width: int
    height: int
    pose: np.ndarray
    """(T, P, J, 3): x px, y px, confidence 0..1. Slot 0 of P is the primary dancer; missing joints are 0."""
    audio: np.ndarray
    """(T * 735,) mono at 22 050 Hz, full scale 1. Resampling may overshoot it, up to `limits.SHARD_PEAK`."""
    i3d: np.ndarray
    """(W, 2048), RGB then flow features. Row w is the window that starts at second w; W at least 1."""
    motion: np.ndarray | None = None
    """(T, R, 219): translation over scaling, then 24 rotation matrices, at R * 30 steps per second. None: not known."""


@dataclass(frozen=True, kw_only=True)
class ClipEntry:
    """Attributes of one clip of a shard, without its streams."""

    clip_id: str
    song: str
    genre: str
    split: str
    frames: int
    width: int
    height: int


@dataclass(frozen=True, kw_only=True)
class ShardInfo:
    """A validated shard: its file attributes and its clips, sorted by id."""

    path: Path
    corpus: str
    split: str
    pose_layout: str
    pose_weights: str
    i3d_weights: str
    people: int
    """P, the number of pose slots of every clip."""
    motion_rate: int
    """Steps per second of the stream `motion`, a multiple of 30; 0 without this stream."""
    clips: tuple[ClipEntry, ...]

    @property
    def joints(self) -> int:
        """Number of joints J of the pose layout."""
        return JOINTS[self.pose_layout]


def write_shard(path: Path, clips: Iterable[ShardClip], attrs: dict[str, str], motion_rate: int = 0) -> int:
    """Write one shard atomically and return its number of clips.

    clips: sorted by clip_id, all of one split; may be a generator, one clip is in memory at a time.
    attrs: exactly the strings `corpus`, `split`, `pose_layout`, `pose_weights` and `i3d_weights`.
    motion_rate: steps per second of the clips' motion, a multiple of 30; 0 without motion.

    Raises ValueError for clips that are not sorted, of another split, or that `validate_shard` would refuse.
    """
    if sorted(attrs) != sorted(FILE_TEXTS):
        raise ValueError(f"attrs must be {', '.join(FILE_TEXTS)}, found {', '.join(sorted(attrs))}")
    check_texts(attrs)
    last, count = "", 0
    # Written to memory first, because HDF5 crashes the process if the disk is full when it closes a file.
    memory = io.BytesIO()
    with atomic_write(path) as temporary:
        with h5py.File(memory, "w", libver=("v110", "v110")) as shard:
            _write_text(shard, "schema", f"{SCHEMA_NAME}/{MOTION_VERSION if motion_rate else SCHEMA_VERSION}")
            shard.attrs["fps"], shard.attrs["sample_rate"] = FPS, SAMPLE_RATE
            if motion_rate:
                shard.attrs["motion_rate"] = motion_rate
            for name in FILE_TEXTS:
                _write_text(shard, name, attrs[name])
            for clip in clips:
                if clip.clip_id <= last:
                    raise ValueError(f"clips must be sorted by id: '{clip.clip_id}' after '{last}'")
                _write_clip(shard, clip, attrs, motion_rate)
                last, count = clip.clip_id, count + 1
        temporary.write_bytes(memory.getbuffer())
    return count


def _write_clip(shard: h5py.File, clip: ShardClip, attrs: dict[str, str], motion_rate: int) -> None:
    frames = len(clip.pose)
    people, windows = clip.pose.shape[1], len(clip.i3d)
    check_texts({"clip_id": clip.clip_id, **{name: getattr(clip, name) for name in CLIP_TEXTS}})
    check_counts({"frames": frames, "width": clip.width, "height": clip.height, "people": people}, windows)
    shapes = stream_shapes(frames, people, JOINTS[attrs["pose_layout"]], windows, motion_rate)
    if (clip.motion is None) != (motion_rate == 0):
        raise ValueError(
            f"{clip.clip_id}: {'no motion' if clip.motion is None else 'motion'} in a shard of motion_rate {motion_rate}"
        )
    if clip.split != attrs["split"]:
        raise ValueError(f"{clip.clip_id}: split '{clip.split}' in a shard of '{attrs['split']}'")
    group = shard.create_group(clip.clip_id)
    for name in CLIP_TEXTS:
        _write_text(group, name, getattr(clip, name))
    group.attrs["frames"], group.attrs["width"], group.attrs["height"] = frames, clip.width, clip.height
    for name in shapes:
        values = np.ascontiguousarray(getattr(clip, name), dtype="<f4")
        if values.shape != shapes[name] or min(values.shape) == 0:
            raise ValueError(f"{clip.clip_id}: {name} must be {shapes[name]}, found {values.shape}")
        check_numbers(name, values)
        group.create_dataset(name, data=values, chunks=chunk_shape(name, values.shape), fletcher32=True)


def check_texts(texts: dict[str, str]) -> None:
    """Raise ValueError for a name that can't be a part of a path, or a text that is not one printable line."""
    for name, text in texts.items():
        (check_name if name in ("corpus", "clip_id", "song") else check_label)(text, name)


def check_counts(counts: dict[str, int], windows: int) -> None:
    """Raise ValueError for frames, people, width or height out of range, or more i3d rows than frames."""
    most = {"frames": MAX_FRAMES, "people": MAX_PEOPLE, "width": SIDE, "height": SIDE}
    for name, count in counts.items():
        if not 1 <= count <= most[name]:
            raise ValueError(f"{name} must be 1 to {most[name]}, found {count}")
    if not 1 <= windows <= counts["frames"]:
        raise ValueError(f"i3d must have 1 to {counts['frames']} rows, found {windows}")


def check_numbers(name: str, values: np.ndarray) -> None:
    """Raise ValueError for NaN and infinite numbers, audio samples beyond `limits.SHARD_PEAK`, and pose confidences outside 0..2
    (some estimators give a little more than 1)."""
    if not np.isfinite(values).all():
        raise ValueError(f"{name} holds NaN or infinite numbers")
    if name == "audio" and not (peak := np.abs(values).max(initial=0)) <= SHARD_PEAK:
        raise ValueError(
            f"{name} holds samples up to {peak:g}, but at most {SHARD_PEAK:g} is allowed, because full scale is 1; scale it to -1..1"
        )
    if name == "pose" and not 0 <= values[..., 2].min(initial=0) <= values[..., 2].max(initial=0) <= 2:
        raise ValueError(f"{name} holds confidences outside 0..1")


def _write_text(target: h5py.Group, name: str, text: str) -> None:
    # HDF5 stores variable-length strings in its global heap, the only part of the file without a checksum.
    target.attrs[name] = np.bytes_(text.encode("utf-8"))


def stream_shapes(frames: int, people: int, joints: int, windows: int, motion_rate: int) -> dict[str, tuple[int, ...]]:
    """Stream -> shape."""
    shapes = {
        "pose": (frames, people, joints, 3),
        "audio": (frames_to_samples(frames),),
        "i3d": (windows, I3D_WIDTH),
    }
    return shapes | ({"motion": (frames, motion_rate // FPS, MOTION_WIDTH)} if motion_rate else {})


def chunk_shape(name: str, shape: tuple[int, ...]) -> tuple[int, ...]:
    """Shape of a chunk: about a second of a stream."""
    first = {"pose": FPS, "audio": SAMPLE_RATE, "i3d": 1, "motion": FPS}[name]
    return (min(first, shape[0]), *shape[1:])
