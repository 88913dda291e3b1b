"""Validate untrusted shards. One may come from someone else, and an HDF5 data set can refer to any local file.

The following is checked before the first read of a stream: schema version; hard links only; no external or virtual storage; no
filter but the checksum; names, counts, shapes, dtypes, chunks and stored sizes as declared. The type of an attribute is
checked before its value is read.

`validate_shard` checks a whole shard. If its content is known, from an earlier look or from an index (shard_index.py), `open_known`
checks the file and `check_clip` each clip before it is read.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from dataset_tools.lib.core.addresses import is_remote, open_ranges
from dataset_tools.lib.core.errors import UserError
from dataset_tools.lib.core.limits import SHARD_CLIPS, TEXT, printable
from dataset_tools.lib.core.locks import NO_LOCKS
from dataset_tools.lib.core.names import SPLITS
from dataset_tools.lib.core.timebase import FPS, SAMPLE_RATE
from dataset_tools.lib.shard_io.shard_format import (
    CLIP_NUMBERS,
    CLIP_TEXTS,
    FILE_TEXTS,
    I3D_WIDTH,
    JOINTS,
    MAX_MOTION_RATE,
    MOTION_VERSION,
    REBUILD,
    SCHEMA_NAME,
    SCHEMA_VERSION,
    STREAMS,
    ClipEntry,
    ShardInfo,
    check_counts,
    check_numbers,
    check_texts,
    chunk_shape,
    stream_shapes,
)

DAMAGE_ERRORS = (OSError, RuntimeError, KeyError, TypeError, ValueError, OverflowError)
"""Exceptions of h5py for damaged files and for types that numpy does not have."""
NO_ROOM = f"declares more numbers than the file has room for; {REBUILD}"
OTHER_SHARD = (
    "it is not the shard that was looked at, or that index.json describes; run python -m dataset_tools.shards again"
)


def open_shard(path: Path) -> h5py.File:
    """Open a shard for reading, also on file systems without locks. No lock is needed, because shards are never changed in place. Of a
    shard at an address (addresses.py), only the ranges that are read are requested."""
    if is_remote(path):
        return h5py.File(open_ranges(path), "r")
    try:
        return h5py.File(path, "r")
    except OSError as err:
        if err.errno not in NO_LOCKS:
            raise
        return h5py.File(path, "r", locking=False)


def count_bytes(shard: h5py.File) -> int:
    """Size of an open shard's file."""
    return shard.id.get_filesize()


def validate_shard(path: Path, *, deep: bool = False) -> ShardInfo:
    """Validate an untrusted shard. With deep=True also read every stream, which verifies every checksum.

    Raises UserError, one line, which names the file, the clip and the violated rule.
    """
    if not path.is_file():
        raise UserError(f"{path}: file not found; {REBUILD}")
    with _damage_of_file(path), open_shard(path) as shard:
        return _validate(shard, path, deep)


def open_known(info: ShardInfo) -> h5py.File:
    """Open a shard whose content is known. Raises UserError if it can't be read, or has other attributes or another number of clips."""
    with _damage_of_file(info.path):
        shard = open_shard(info.path)
        try:
            texts, motion_rate = _validate_attributes(shard, info.path)
            same = motion_rate == info.motion_rate and all(getattr(info, name) == text for name, text in texts.items())
            if not same or len(shard) != len(info.clips):
                raise UserError(f"{info.path}: {OTHER_SHARD}")
        except BaseException:
            shard.close()
            raise
    return shard


def check_clip(shard: h5py.File, info: ShardInfo, clip: ClipEntry) -> None:
    """Raise UserError unless a clip of an open shard is as it is known to be, and can be read safely."""
    texts = {name: getattr(info, name) for name in FILE_TEXTS}
    with damage_as_user_error(info.path, clip.clip_id):
        if clip.clip_id not in shard:
            raise UserError(f"{info.path}: clip '{clip.clip_id}' is missing; {OTHER_SHARD}")
        group = _get_hard_linked(shard, clip.clip_id, h5py.Group, info.path)
        found, _ = _validate_clip(group, clip.clip_id, texts, info.people, info.motion_rate, info.path)
        if found != clip:
            raise UserError(f"{info.path}: clip '{clip.clip_id}' differs; {OTHER_SHARD}")
        if sum(group[name].nbytes for name in group) > count_bytes(shard):
            raise UserError(f"{info.path} clip '{clip.clip_id}': {NO_ROOM}")


def _validate_attributes(shard: h5py.File, path: Path) -> tuple[dict[str, str], int]:
    """(`FILE_TEXTS` of the file, motion rate)."""
    schema = _read_text(shard, "schema", path)
    known = [f"{SCHEMA_NAME}/{version}" for version in (SCHEMA_VERSION, MOTION_VERSION)]
    if schema not in known:
        raise UserError(
            f"{path}: schema '{printable(schema)}' is not {' or '.join(known)}, which this version reads; {REBUILD}"
        )
    for name, expected in (("fps", FPS), ("sample_rate", SAMPLE_RATE)):
        if _read_number(shard, name, path) != expected:
            raise UserError(f"{path}: {name} must be {expected}, found {_read_number(shard, name, path)}")
    texts = {name: _read_text(shard, name, path) for name in FILE_TEXTS}
    if texts["split"] not in SPLITS:
        raise UserError(f"{path}: split must be one of {', '.join(SPLITS)}, found '{printable(texts['split'])}'")
    if texts["pose_layout"] not in JOINTS:
        raise UserError(
            f"{path}: pose_layout must be one of {', '.join(JOINTS)}, found '{printable(texts['pose_layout'])}'"
        )
    with _as_user_error(path):
        check_texts(texts)
    motion_rate = _read_number(shard, "motion_rate", path) if schema == known[1] else 0
    if motion_rate % FPS or not 0 <= motion_rate <= MAX_MOTION_RATE or (schema == known[1]) != (motion_rate > 0):
        raise UserError(f"{path}: motion_rate must be a multiple of {FPS} up to {MAX_MOTION_RATE}, found {motion_rate}")
    if len(shard) > SHARD_CLIPS:
        raise UserError(f"{path}: holds {len(shard)} clips, at most {SHARD_CLIPS} are read")
    return texts, motion_rate


def _validate(shard: h5py.File, path: Path, deep: bool) -> ShardInfo:
    texts, motion_rate = _validate_attributes(shard, path)
    entries, people, room = [], None, count_bytes(shard)
    for clip_id in sorted(shard):
        group = _get_hard_linked(shard, clip_id, h5py.Group, path)
        entry, people = _validate_clip(group, clip_id, texts, people, motion_rate, path)
        entries.append(entry)
        room -= sum(group[name].nbytes for name in group)
        if room < 0:  # checked before any stream is read into memory
            raise UserError(f"{path} clip '{clip_id}': {NO_ROOM}")
        if deep:
            with damage_as_user_error(path, clip_id):
                for name in group:
                    check_numbers(name, group[name][...])
    if not entries or people is None:
        raise UserError(f"{path}: has no clips; {REBUILD}")
    return ShardInfo(path=path, people=people, motion_rate=motion_rate, clips=tuple(entries), **texts)


def _validate_clip(group: h5py.Group, clip_id: str, texts: dict, people: int | None, motion_rate: int, path: Path):
    where = f"{path} clip '{printable(clip_id)}'"
    values: dict[str, Any] = {name: _read_text(group, name, where) for name in CLIP_TEXTS}
    values |= {name: _read_number(group, name, where) for name in CLIP_NUMBERS}
    entry = ClipEntry(clip_id=clip_id, **values)
    if entry.split != texts["split"]:
        raise UserError(f"{where}: split '{printable(entry.split)}' in a shard of '{texts['split']}'")
    with _as_user_error(where):
        check_texts({"clip_id": clip_id, **{name: getattr(entry, name) for name in CLIP_TEXTS}})
    names = (*STREAMS, "motion") if motion_rate else STREAMS
    if sorted(group) != sorted(names):
        raise UserError(
            f"{where}: must contain {', '.join(names)}, found {printable(', '.join(sorted(group))) or 'nothing'}"
        )
    streams = {name: _get_hard_linked(group, name, h5py.Dataset, where) for name in names}
    if streams["pose"].ndim != 4 or streams["i3d"].ndim != 2:
        raise UserError(f"{where}: pose must be (T, P, J, 3) and i3d (W, {I3D_WIDTH})")
    people, windows = people or streams["pose"].shape[1], streams["i3d"].shape[0]
    with _as_user_error(where):
        check_counts({"frames": entry.frames, "width": entry.width, "height": entry.height, "people": people}, windows)
    shapes = stream_shapes(entry.frames, people, JOINTS[texts["pose_layout"]], windows, motion_rate)
    for name, stream in streams.items():
        _validate_storage(stream, shapes[name], chunk_shape(name, shapes[name]), f"{where}: {name}")
    return entry, people


def _get_hard_linked(parent: h5py.Group, name: str, kind: type, where) -> h5py.Group | h5py.Dataset:
    if not isinstance(parent.get(name, getlink=True), h5py.HardLink):
        raise UserError(f"{where}: '{printable(name)}' is a link, which a shard may not contain; {REBUILD}")
    if parent.get(name, getclass=True) is not kind:
        raise UserError(f"{where}: '{printable(name)}' must be a {kind.__name__.lower()}")
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


def _read_text(target: h5py.Group, name: str, where) -> str:
    kind = _open_attribute(target, name, where).get_type()
    if not isinstance(kind, h5py.h5t.TypeStringID) or kind.is_variable_str() or kind.get_size() > 4 * TEXT:
        raise UserError(f"{where}: attribute '{name}' must be a fixed-length text of at most {TEXT} letters")
    try:
        return target.attrs[name].decode("utf-8")
    except UnicodeDecodeError:
        raise UserError(f"{where}: attribute '{name}' is not UTF-8") from None


def _read_number(target: h5py.Group, name: str, where) -> int:
    if not isinstance(_open_attribute(target, name, where).get_type(), h5py.h5t.TypeIntegerID):
        raise UserError(f"{where}: attribute '{name}' must be a whole number")
    return int(target.attrs[name])


def _open_attribute(target: h5py.Group, name: str, where) -> h5py.h5a.AttrID:
    """A scalar attribute whose value has not been read yet."""
    if name not in target.attrs:
        raise UserError(f"{where}: attribute '{name}' is missing; {REBUILD}")
    found = target.attrs.get_id(name)
    if found.get_space().get_simple_extent_type() != h5py.h5s.SCALAR:
        raise UserError(f"{where}: attribute '{name}' must be one value")
    return found


@contextmanager
def _as_user_error(where) -> Iterator[None]:
    """Turn a ValueError about a rule into a UserError that names file and clip."""
    try:
        yield
    except UserError:
        raise
    except ValueError as err:
        raise UserError(f"{where}: {err}") from None


@contextmanager
def _damage_of_file(path: Path) -> Iterator[None]:
    """Turn errors of h5py into a UserError that names the file."""
    try:
        yield
    except UserError:
        raise
    except DAMAGE_ERRORS as err:
        raise UserError(f"{path}: not a readable shard ({_first_line(err)}); {REBUILD}") from None


@contextmanager
def damage_as_user_error(path: Path, clip_id: str) -> Iterator[None]:
    """Turn errors of h5py about damaged data, and ValueError, into a UserError that names file and clip."""
    try:
        yield
    except UserError:
        raise
    except DAMAGE_ERRORS as err:
        raise UserError(f"{path} clip '{clip_id}': damaged data ({_first_line(err)}); {REBUILD}") from None


def _first_line(err: Exception) -> str:
    lines = str(err).strip("'\" ").splitlines()
    return printable(lines[0]) if lines else type(err).__name__
