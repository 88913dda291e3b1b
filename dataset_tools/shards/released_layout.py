"""Export to and import from the folder layout of D2M-GAN's released code: one file per 2 s segment and stream.

    audio_s2/<segment>.wav    44 100 samples, mono, 22 050 Hz
    motion_s2/<segment>.npy   float32 (60, 75): BODY_25 x px, y px, confidence of the primary dancer at 30 fps; for AIST++
                              float32 (120, 219): SMPL motion at 60 fps, in the order of the shards' stream `motion`
    video_s2/<segment>.npy    float32 (1, 2048): I3D features, RGB 1024 then flow 1024
    train_segs.txt, test_segs.txt, ...   one segment per line

A segment is called <compilation>_<song>_<clip>_seg<n>, with n from 0. Each segment is imported as a clip of its own, because the
layout does not guarantee that segments follow each other without a gap, and it lacks the I3D rows between them.
"""

import re
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from scipy.io import wavfile

from dataset_tools.lib.audio.audio_file import read_samples
from dataset_tools.lib.core.array_file import read_npy, write_npy
from dataset_tools.lib.core.atomic import atomic_write, write_text
from dataset_tools.lib.core.errors import Unreadable, UserError
from dataset_tools.lib.core.limits import CSV_BYTES, SEGMENT_BYTES, SIDE, printable, read_bytes
from dataset_tools.lib.core.names import SPLITS, check_name
from dataset_tools.lib.core.timebase import FPS, SAMPLE_RATE, frames_to_samples
from dataset_tools.lib.parallel.workers import run_all
from dataset_tools.lib.shard_io.shard_format import (
    I3D_WIDTH,
    JOINTS,
    MOTION_WIDTH,
    ShardClip,
    ShardInfo,
    check_numbers,
)
from dataset_tools.lib.shard_io.shard_set import ShardSet, Window
from dataset_tools.pose.layouts import to_layout

SEGMENT_FRAMES = 2 * FPS
SEGMENT_SAMPLES = frames_to_samples(SEGMENT_FRAMES)
POSE_SHAPE = (SEGMENT_FRAMES, JOINTS["body25"] * 3)
MOTION_RATE = 60
"""Steps per second of AIST++'s motion."""
MOTION_SHAPE = (2 * MOTION_RATE, MOTION_WIDTH)
FOLDERS = {"audio": "audio_s2", "motion": "motion_s2", "i3d": "video_s2"}
SUFFIXES = {"audio": ".wav", "motion": ".npy", "i3d": ".npy"}
SEGMENT_NAME = re.compile(
    r"(?P<clip>(?P<compilation>.+)_(?P<song>[^_]+)_(?P<number>[^_]+))_seg_?(?P<n>\d+)", re.IGNORECASE
)
LIST_NAMES = {"train": ("train",), "val": ("val", "dev"), "test": ("test",)}


@dataclass(frozen=True, kw_only=True)
class Segment:
    """One 2 s segment on disk."""

    name: str
    song: str
    clip: str
    """<compilation>_<song>_<clip>."""
    number: int
    split: str


def segment_name(clip_id: str, song: str, number: int) -> str:
    """Name of a segment, <compilation>_<song>_<clip>_seg<n>. If a clip id does not have this form, the song is inserted before its last
    part. A clip that is an imported segment keeps its name. Raises ValueError for a name that could not be imported again."""
    if number == 0 and SEGMENT_NAME.fullmatch(clip_id):
        return clip_id
    if not re.fullmatch(rf".+_{re.escape(song)}_[^_]+", clip_id):
        head, _, tail = clip_id.rpartition("_")
        clip_id = f"{(head or 'clips')}_{song.replace('_', '-')}_{tail}"
    name = check_name(f"{clip_id}_seg{number}", "its segments' name")
    if not SEGMENT_NAME.fullmatch(name):
        raise ValueError(f"its segments would be called '{name}', which is not <compilation>_<song>_<clip>_seg<n>")
    return name


def export_released(shards: Path, out: Path, workers: int = 1) -> dict[str, int]:
    """Write every whole 2 s of every clip in the folder `shards` into `out`, `workers` shards at once (as in `run_all`). Returns {split:
    number of segments}.

    The layout has no place for dancers other than the primary one, the rest of a clip after its last whole 2 s, I3D rows of odd
    seconds, the genre and the frame size. For coco17 poses, neck and mid-hip are means and the feet are missing (0). For shards
    with SMPL motion this is written instead of keypoints.

    Raises UserError as ShardSet, for two segments with the same name, for a name that could not be imported again, and for SMPL
    motion at another rate. Nothing is written then.
    """
    names_of = _segment_names(shards)
    written = {}
    for split in SPLITS:
        if not any(shards.glob(f"{split}-*.h5")):
            continue
        source = ShardSet(shards, split)
        write = partial(_write_segments, source=source, names_of=names_of, out=out)
        run_all(write, list(range(len(source.infos))), workers, f"shards: {split}", unit="shard")
        names = [name for clip in source.clips for name in names_of[clip.clip_id]]
        write_text(out / f"{split}_segs.txt", "".join(f"{name}\n" for name in names))
        written[split] = len(names)
    if not written:
        raise UserError(f"{shards}: no shards; run python -m dataset_tools.shards")
    return written


def _write_segments(shard: int, source: ShardSet, names_of: dict[str, list[str]], out: Path) -> None:
    """Write the segments of all clips of one shard."""
    for clip in source.infos[shard].clips:
        for number, name in enumerate(names_of[clip.clip_id]):
            window = source.read(clip.clip_id, number * SEGMENT_FRAMES, SEGMENT_FRAMES)
            motion = np.ascontiguousarray(_motion_array(window, source.info))
            write_npy(out / FOLDERS["motion"] / f"{name}.npy", motion)
            write_npy(out / FOLDERS["i3d"] / f"{name}.npy", window.i3d[None])
            with atomic_write(out / FOLDERS["audio"] / f"{name}.wav") as temporary:
                # libsndfile would write the time of day into the file
                wavfile.write(temporary, SAMPLE_RATE, window.audio)


def _segment_names(shards: Path) -> dict[str, list[str]]:
    """{clip id: names of its segments} of all splits. Raises as `export_released`."""
    owners, result = {}, {}
    for split in SPLITS:
        if not any(shards.glob(f"{split}-*.h5")):
            continue
        source = ShardSet(shards, split)
        if source.info.motion_rate not in (0, MOTION_RATE):
            raise UserError(
                f"{shards}: motion at {source.info.motion_rate} steps a second; the layout has {MOTION_RATE}"
            )
        for clip in source.clips:
            try:
                result[clip.clip_id] = [
                    segment_name(clip.clip_id, clip.song, number) for number in range(clip.frames // SEGMENT_FRAMES)
                ]
            except ValueError as err:
                raise UserError(f"{shards}: clip '{clip.clip_id}' of song '{clip.song}': {err}; rename it") from None
            for name in result[clip.clip_id]:
                if owners.setdefault(name, clip.clip_id) != clip.clip_id:
                    raise UserError(
                        f"{shards}: clips '{owners[name]}' and '{clip.clip_id}' would both be segment '{name}'; rename one"
                    )
    return result


def _motion_array(window: Window, info: ShardInfo) -> np.ndarray:
    """Array of a window for motion_s2/: SMPL motion if there is any, else the primary dancer's keypoints."""
    if info.motion_rate:
        return window.motion.reshape(MOTION_SHAPE)
    pose = window.pose[:, 0]
    return (pose if info.pose_layout == "body25" else to_layout(pose, "body25")).reshape(POSE_SHAPE)


def find_segments(folder: Path) -> list[Segment]:
    """The segments in the lists of `folder`, sorted. Lists are .txt files with train, val or test in their name. Their lines may have a
    suffix.

    Raises UserError for a missing folder or list, a line that is not the name of a segment, and a segment in two lists.
    """
    for name in FOLDERS.values():
        if not (folder / name).is_dir():
            raise UserError(
                f"{folder / name}: no such folder; the layout is {', '.join(FOLDERS.values())} and *train*.txt, *test*.txt"
            )
    found: dict[str, Segment] = {}
    for path in sorted(folder.glob("*.txt")):
        splits = [split for split, words in LIST_NAMES.items() if any(word in path.stem.lower() for word in words)]
        if len(splits) != 1:
            continue
        try:
            lines = read_bytes(path, CSV_BYTES).decode("utf-8-sig").splitlines()
        except UnicodeDecodeError:
            raise UserError(f"{path}: not UTF-8 text") from None
        for number, line in enumerate(lines, start=1):
            if not line.strip():
                continue
            segment = _parse_segment(line.strip(), splits[0], f"{path} line {number}")
            known = found.setdefault(segment.name, segment)
            if known.split != segment.split:
                raise UserError(f"{path} line {number}: '{segment.name}' is in the {known.split} list too")
    if not found:
        raise UserError(f"{folder}: no segment lists; expected *train*.txt and *test*.txt with one segment per line")
    return [found[name] for name in sorted(found)]


def _parse_segment(line: str, split: str, where: str) -> Segment:
    match = SEGMENT_NAME.fullmatch(re.sub(r"\.(npy|wav)$", "", line, flags=re.IGNORECASE))
    try:
        name = check_name(match.group(0) if match else "")
        check_name(match["song"] if match else "")
    except ValueError:
        raise UserError(
            f"{where}: '{printable(line)}' is not a segment's name, <compilation>_<song>_<clip>_seg<n>"
        ) from None
    assert match is not None
    return Segment(name=name, song=match["song"], clip=match["clip"], number=int(match["n"]), split=split)


def load_segment(folder: Path, segment: Segment, genre: str) -> ShardClip:
    """All streams of a segment. Audio longer than 2 s is cut; integer samples are scaled to full scale 1. A segment of AIST++ has SMPL
    motion and an empty pose (all 0, which means missing), because the layout then has no keypoints.

    Raises ValueError, one line, for a missing or damaged file, a wrong shape, rate or dtype, and numbers that are not finite or out
    of range (`limits.SHARD_PEAK` for audio).
    """
    dance = _read_array(folder, "motion", segment.name, POSE_SHAPE, MOTION_SHAPE)
    i3d = _read_array(folder, "i3d", segment.name, (1, I3D_WIDTH))
    audio = _read_audio(_segment_file(folder, "audio", segment.name))
    for name, values in (("motion", dance), ("i3d", i3d), ("audio", audio)):
        if not np.isfinite(values).all():
            raise ValueError(f"{name}: {segment.name} holds NaN or infinite values")
    motion = dance.reshape(SEGMENT_FRAMES, -1, MOTION_WIDTH) if dance.shape == MOTION_SHAPE else None
    pose = (dance if motion is None else np.zeros(POSE_SHAPE, np.float32)).reshape(SEGMENT_FRAMES, 1, -1, 3)
    farthest = np.abs(pose[..., :2]).max()
    if farthest > SIDE:
        raise ValueError(
            f"motion: {segment.name} has keypoints {farthest:g} px from the frame's corner, but a frame has at most {SIDE} px"
        )
    width, height = (max(1, int(np.ceil(pose[..., axis].max()))) for axis in (0, 1))
    for stream, name, values in (("motion", "pose", pose), ("audio", "audio", audio)):
        try:
            check_numbers(name, values)
        except ValueError as err:
            raise ValueError(f"{stream}: {segment.name}: {err}") from None
    return ShardClip(
        clip_id=segment.name, song=segment.song, genre=genre, split=segment.split, width=width, height=height,
        pose=pose, audio=audio, i3d=i3d, motion=motion,
    )  # fmt: skip


def _segment_file(folder: Path, stream: str, name: str) -> Path:
    path = folder / FOLDERS[stream] / f"{name}{SUFFIXES[stream]}"
    if path.is_symlink() or not path.is_file():
        raise ValueError(f"{stream}: {FOLDERS[stream]}/{path.name} is missing or not a plain file")
    if path.stat().st_size > SEGMENT_BYTES:
        raise ValueError(f"{stream}: {FOLDERS[stream]}/{path.name} has {path.stat().st_size} bytes, too many for 2 s")
    return path


def _read_array(folder: Path, stream: str, name: str, *shapes: tuple[int, ...]) -> np.ndarray:
    path = _segment_file(folder, stream, name)
    try:
        values = read_npy(path)
    except Unreadable as err:
        raise ValueError(f"{stream}: {path.name} is not readable: {err.reason}") from None
    number = values.dtype.kind in "fiu"
    shape = next((shape for shape in shapes if number and values.size == np.prod(shape)), None)
    if shape is None:
        raise ValueError(
            f"{stream}: {path.name} must have numbers of shape {' or '.join(map(str, shapes))}, found {values.dtype} {values.shape}"
        )
    with np.errstate(over="ignore"):  # it becomes infinite and is refused
        return np.array(values.reshape(shape), np.float32)


def _read_audio(path: Path) -> np.ndarray:
    try:
        samples = read_samples(path, most=SEGMENT_SAMPLES)  # limits the memory
    except Unreadable as err:
        raise ValueError(f"audio: {path.name} is not readable: {err.reason}") from None
    if samples.channels != 1 or samples.rate != SAMPLE_RATE or len(samples.audio) < SEGMENT_SAMPLES:
        found = f"{samples.audio.shape} at {samples.rate} Hz"
        raise ValueError(
            f"audio: {path.name} must be mono {SAMPLE_RATE} Hz of at least {SEGMENT_SAMPLES} samples, found {found}"
        )
    return samples.audio[:, 0]
