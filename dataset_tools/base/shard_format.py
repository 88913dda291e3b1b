"""Shards: HDF5 files of whole clips, one split per file, written once and read in windows of any length.

One group per clip, named by clip id, clips sorted: `pose` float32 (T, P, J, 3), `audio` float32 (T * 735,) and `i3d`
float32 (W, 2048), about a second per chunk, each chunk under a fletcher32 checksum. Where the corpus comes with the
dancer's body motion there is also `motion` float32 (T, R, 219): R steps for each video frame, R * 30 a second, which
the file attribute `motion_rate` says. Such files are of schema version 2, others of version 1. The file format is HDF5
1.10's, whose metadata is checksummed too, and texts are stored at fixed length inside it: a flipped byte is an error,
not a wrong number. Equal clips give equal bytes.

A shard may come from someone else, and HDF5 can point a data set at any local file, so a shard is validated before
its first read: schema version, hard links only, no external or virtual storage, no filter but the checksum, shapes,
dtypes, chunks and stored sizes as declared.
"""

import io
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np

from dataset_tools.base.atomic import write_aside
from dataset_tools.base.errors import UserError
from dataset_tools.base.names import check_name
from dataset_tools.base.timebase import FPS, SAMPLE_RATE, frames_to_samples

SCHEMA_NAME = "d2m-shard"
SCHEMA_VERSION, MOTION_VERSION = 1, 2
"""Without and with the stream `motion`."""
JOINTS = {"coco17": 17, "body25": 25}
"""Joints J of each pose layout."""
I3D_WIDTH = 2048
MOTION_WIDTH = 219
"""Numbers of a step of `motion`: the SMPL body's translation over its scaling (3), then 24 rotation matrices (216)."""
MAX_MOTION_RATE = 240
SPLITS = ("train", "val", "test")
FILE_TEXTS = ("corpus", "split", "pose_layout", "pose_weights", "i3d_weights")
CLIP_TEXTS = ("song", "genre", "split")
CLIP_NUMBERS = ("frames", "width", "height")
STREAMS = ("pose", "audio", "i3d")
"""Of every clip."""
MAX_FRAMES = 3600 * FPS
"""Longest clip that a shard may declare: one hour."""
MAX_PEOPLE = 64
NO_POSE = "none, motion only"
"""pose_weights of clips whose `pose` is empty, for only their body motion is known."""
REBUILD = "rebuild it with python -m dataset_tools.shards"


@dataclass(frozen=True, kw_only=True)
class ShardClip:
    """One clip with its streams, to be written."""

    clip_id: str
    song: str
    genre: str
    split: str
    width: int
    height: int
    pose: np.ndarray
    """(T, P, J, 3) x px, y px, confidence 0..1; slot 0 of P is the primary dancer; missing = 0."""
    audio: np.ndarray
    """(T * 735,) mono at 22 050 Hz, within -1..1."""
    i3d: np.ndarray
    """(W, 2048) RGB then flow; row w is the window that starts at second w; W at least 1."""
    motion: np.ndarray | None = None
    """(T, R, 219): translation over scaling, then 24 rotation matrices, at R * 30 steps a second; None: not known."""


@dataclass(frozen=True, kw_only=True)
class ClipEntry:
    """What a shard says about one clip without reading its streams."""

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
    """P, the pose slots of every clip."""
    motion_rate: int
    """Steps a second of the stream `motion`, a multiple of 30; 0: the shard has none."""
    clips: tuple[ClipEntry, ...]

    @property
    def joints(self) -> int:
        """J of the pose layout."""
        return JOINTS[self.pose_layout]


def write_shard(path: Path, clips: Iterable[ShardClip], attrs: dict[str, str], motion_rate: int = 0) -> int:
    """Write one shard, complete or absent, and return its number of clips.

    clips: sorted by clip_id, all of one split; may be a generator, one clip is held at a time.
    attrs: exactly the texts `corpus`, `split`, `pose_layout`, `pose_weights`, `i3d_weights`.
    motion_rate: steps a second of the clips' motion, a multiple of 30; 0 where they have none.
    Raises ValueError for clips out of order, of another split, or whose streams disagree in length or shape.
    """
    if sorted(attrs) != sorted(FILE_TEXTS):
        raise ValueError(f"attrs must be {', '.join(FILE_TEXTS)}, found {', '.join(sorted(attrs))}")
    last, count = "", 0
    # HDF5 cannot be told that a disk is full (it crashes the process when it closes the file): it writes to memory
    memory = io.BytesIO()
    with write_aside(path) as aside:
        with h5py.File(memory, "w", libver=("v110", "v110")) as shard:
            _put_text(shard, "schema", f"{SCHEMA_NAME}/{MOTION_VERSION if motion_rate else SCHEMA_VERSION}")
            shard.attrs["fps"], shard.attrs["sample_rate"] = FPS, SAMPLE_RATE
            if motion_rate:
                shard.attrs["motion_rate"] = motion_rate
            for name in FILE_TEXTS:
                _put_text(shard, name, attrs[name])
            for clip in clips:
                if clip.clip_id <= last:
                    raise ValueError(f"clips must be sorted by id: '{clip.clip_id}' after '{last}'")
                _write_clip(shard, clip, attrs, motion_rate)
                last, count = clip.clip_id, count + 1
        aside.write_bytes(memory.getbuffer())
    return count


def _write_clip(shard: h5py.File, clip: ShardClip, attrs: dict[str, str], motion_rate: int) -> None:
    check_name(clip.clip_id)
    frames = len(clip.pose)
    shapes = _shapes(frames, clip.pose.shape[1], JOINTS[attrs["pose_layout"]], len(clip.i3d), motion_rate)
    if (clip.motion is None) != (motion_rate == 0):
        raise ValueError(f"{clip.clip_id}: {'no motion' if clip.motion is None else 'motion'} in a shard of motion_rate {motion_rate}")
    if clip.split != attrs["split"]:
        raise ValueError(f"{clip.clip_id}: split '{clip.split}' in a shard of '{attrs['split']}'")
    group = shard.create_group(clip.clip_id)
    for name in CLIP_TEXTS:
        _put_text(group, name, getattr(clip, name))
    group.attrs["frames"], group.attrs["width"], group.attrs["height"] = frames, clip.width, clip.height
    for name in shapes:
        values = np.ascontiguousarray(getattr(clip, name), dtype="<f4")
        if values.shape != shapes[name] or min(values.shape) == 0:
            raise ValueError(f"{clip.clip_id}: {name} must be {shapes[name]}, found {values.shape}")
        group.create_dataset(name, data=values, chunks=_chunks(name, values.shape), fletcher32=True)


def _put_text(target: h5py.Group, name: str, text: str) -> None:
    # Variable-length text would sit in HDF5's global heap, the one part of the file without a checksum.
    target.attrs[name] = np.bytes_(text.encode("utf-8"))


def _shapes(frames: int, people: int, joints: int, windows: int, motion_rate: int) -> dict[str, tuple[int, ...]]:
    shapes = {
        "pose": (frames, people, joints, 3),
        "audio": (frames_to_samples(frames),),
        "i3d": (windows, I3D_WIDTH),
    }
    return shapes | ({"motion": (frames, motion_rate // FPS, MOTION_WIDTH)} if motion_rate else {})


def _chunks(name: str, shape: tuple[int, ...]) -> tuple[int, ...]:
    first = {"pose": FPS, "audio": SAMPLE_RATE, "i3d": 1, "motion": FPS}[name]
    return (min(first, shape[0]), *shape[1:])


def validate_shard(path: Path, *, deep: bool = False) -> ShardInfo:
    """Check a shard without trusting it; with deep=True also read every stream and so verify every checksum.

    Raises UserError, one line, naming the file, the clip and the rule that is broken.
    """
    path = Path(path)
    if not path.is_file():
        raise UserError(f"{path}: file not found; {REBUILD}")
    try:
        with h5py.File(path, "r") as shard:
            return _validate(shard, path, deep)
    except (OSError, RuntimeError, KeyError) as err:  # what h5py raises for damaged files
        raise UserError(f"{path}: not a readable shard ({_first_line(err)}); {REBUILD}") from None


def _validate(shard: h5py.File, path: Path, deep: bool) -> ShardInfo:
    schema = _text(shard, "schema", path)
    known = [f"{SCHEMA_NAME}/{version}" for version in (SCHEMA_VERSION, MOTION_VERSION)]
    if schema not in known:
        raise UserError(f"{path}: schema '{schema}' is not {' or '.join(known)}, which this version reads; {REBUILD}")
    for name, expected in (("fps", FPS), ("sample_rate", SAMPLE_RATE)):
        if _number(shard, name, path) != expected:
            raise UserError(f"{path}: {name} must be {expected}, found {_number(shard, name, path)}")
    texts = {name: _text(shard, name, path) for name in FILE_TEXTS}
    if texts["split"] not in SPLITS:
        raise UserError(f"{path}: split must be one of {', '.join(SPLITS)}, found '{texts['split']}'")
    if texts["pose_layout"] not in JOINTS:
        raise UserError(f"{path}: pose_layout must be one of {', '.join(JOINTS)}, found '{texts['pose_layout']}'")
    motion_rate = _number(shard, "motion_rate", path) if schema == known[1] else 0
    if motion_rate % FPS or not 0 <= motion_rate <= MAX_MOTION_RATE or (schema == known[1]) != (motion_rate > 0):
        raise UserError(f"{path}: motion_rate must be a multiple of {FPS} up to {MAX_MOTION_RATE}, found {motion_rate}")
    entries, people = [], None
    for clip_id in sorted(shard):
        group = _hard_child(shard, clip_id, h5py.Group, path)
        entry, people = _validate_clip(group, clip_id, texts, people, motion_rate, path)
        entries.append(entry)
        if deep:
            with damage_as_user_error(path, clip_id):
                for name in group:
                    group[name][...]
    if not entries:
        raise UserError(f"{path}: holds no clip; {REBUILD}")
    return ShardInfo(path=path, people=people, motion_rate=motion_rate, clips=tuple(entries), **texts)


def _validate_clip(group: h5py.Group, clip_id: str, texts: dict, people: int | None, motion_rate: int, path: Path):
    where = f"{path} clip '{clip_id}'"
    try:
        check_name(clip_id)
    except ValueError as err:
        raise UserError(f"{where}: {err}") from None
    entry = ClipEntry(
        clip_id=clip_id,
        **{name: _text(group, name, where) for name in CLIP_TEXTS},
        **{name: _number(group, name, where) for name in CLIP_NUMBERS},
    )
    if entry.split != texts["split"]:
        raise UserError(f"{where}: split '{entry.split}' in a shard of '{texts['split']}'")
    if not 0 < entry.frames <= MAX_FRAMES:
        raise UserError(f"{where}: frames must be 1 to {MAX_FRAMES}, found {entry.frames}")
    names = (*STREAMS, "motion") if motion_rate else STREAMS
    if sorted(group) != sorted(names):
        raise UserError(f"{where}: must hold {', '.join(names)}, found {', '.join(sorted(group)) or 'nothing'}")
    streams = {name: _hard_child(group, name, h5py.Dataset, where) for name in names}
    if streams["pose"].ndim != 4 or streams["i3d"].ndim != 2:
        raise UserError(f"{where}: pose must be (T, P, J, 3) and i3d (W, {I3D_WIDTH})")
    people = people or streams["pose"].shape[1]
    windows = streams["i3d"].shape[0]
    if not 0 < people <= MAX_PEOPLE or not 0 < windows <= entry.frames:
        raise UserError(f"{where}: found {people} people and {windows} i3d rows for {entry.frames} frames")
    shapes = _shapes(entry.frames, people, JOINTS[texts["pose_layout"]], windows, motion_rate)
    for name, stream in streams.items():
        _validate_storage(stream, shapes[name], _chunks(name, shapes[name]), f"{where}: {name}")
    return entry, people


def _hard_child(parent: h5py.Group, name: str, kind: type, where) -> h5py.Group | h5py.Dataset:
    if not isinstance(parent.get(name, getlink=True), h5py.HardLink):
        raise UserError(f"{where}: '{name}' is a link to somewhere else, which a shard may not hold; {REBUILD}")
    if parent.get(name, getclass=True) is not kind:
        raise UserError(f"{where}: '{name}' must be a {kind.__name__.lower()}")
    return parent[name]


def _validate_storage(stream: h5py.Dataset, shape: tuple, chunks: tuple, where: str) -> None:
    if stream.external is not None or stream.is_virtual:
        raise UserError(f"{where} is stored in another file, which a shard may not do; {REBUILD}")
    if stream.shape != shape or stream.dtype != np.dtype("<f4") or stream.chunks != chunks:
        found = f"{stream.dtype} {stream.shape} in chunks {stream.chunks}"
        raise UserError(f"{where} must be float32 {shape} in chunks {chunks}, found {found}")
    plan = stream.id.get_create_plist()
    filters = [plan.get_filter(i)[0] for i in range(plan.get_nfilters())]
    if filters != [h5py.h5z.FILTER_FLETCHER32]:
        raise UserError(f"{where} must have the fletcher32 filter and no other, found filters {filters}")
    if stream.id.get_storage_size() < stream.nbytes:  # chunks that were never written would read as zeros
        raise UserError(f"{where} is incomplete; {REBUILD}")


def _text(target: h5py.Group, name: str, where) -> str:
    attribute = _attribute(target, name, where)
    if not isinstance(attribute, bytes):
        raise UserError(f"{where}: attribute '{name}' must be a fixed-length text")
    try:
        return attribute.decode("utf-8")
    except UnicodeDecodeError:
        raise UserError(f"{where}: attribute '{name}' is not UTF-8") from None


def _number(target: h5py.Group, name: str, where) -> int:
    attribute = _attribute(target, name, where)
    if not isinstance(attribute, np.integer):
        raise UserError(f"{where}: attribute '{name}' must be a whole number")
    return int(attribute)


def _attribute(target: h5py.Group, name: str, where):
    if name not in target.attrs:
        raise UserError(f"{where}: attribute '{name}' is missing; {REBUILD}")
    return target.attrs[name]


@contextmanager
def damage_as_user_error(path: Path, clip_id: str) -> Iterator[None]:
    """What h5py raises for damaged data, as a UserError that names file and clip."""
    try:
        yield
    except (OSError, RuntimeError, KeyError) as err:
        raise UserError(f"{path} clip '{clip_id}': damaged data ({_first_line(err)}); {REBUILD}") from None


def _first_line(err: Exception) -> str:
    return str(err).strip("'\" ").splitlines()[0][:160] if str(err) else type(err).__name__
