"""Convert a user's downloads of AIST++ to a corpus with annotations, for the stage `sources`.

The user's folder has the files that AIST and AIST++ provide once their terms are accepted:
    videos/<video>.mp4           aistdancedb.ongaaccel.jp, camera c01
    motions/<sequence>.pkl       google.github.io/aistplusplus_dataset, SMPL at 60 fps
    keypoints2d/<sequence>.pkl   the same, nine cameras
    splits/crossmodal_val.txt    the same, optional: names of the validation sequences, one per line
    ignore_list.txt              the same, optional: sequences whose annotations failed
"""

import dataclasses
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from dataset_tools.lib.aist.annotations import ANNOTATION_FPS, read_keypoints, read_motion
from dataset_tools.lib.aist.names import Name, parse_name
from dataset_tools.lib.core.array_file import read_npz
from dataset_tools.lib.core.atomic import atomic_write
from dataset_tools.lib.core.errors import UserError
from dataset_tools.lib.core.manifest import Manifest
from dataset_tools.lib.core.schema import SEGMENT_SECONDS, Clip, ListedClip, Song, Video, read_records
from dataset_tools.lib.core.timebase import FPS
from dataset_tools.lib.shard_io.shard_format import MOTION_WIDTH

ARRAY_SHAPES = {"motion": (MOTION_WIDTH,), "keypoints": (17, 3), "size": (2,)}
"""Arrays of an annotation file -> shape of one step; `size` has no steps."""
ANNOTATED_SIZE = (1920, 1080)
"""Width and height, in px, of the videos that were annotated."""


def required_files(name: Name, folder: Path) -> dict[str, Path]:
    """Kind of file -> its path in the user's folder, for one video of the corpus."""
    return {
        "video": folder / "videos" / f"{name.text}.mp4",
        "motion": folder / "motions" / f"{name.sequence}.pkl",
        "keypoints": folder / "keypoints2d" / f"{name.sequence}.pkl",
    }


@dataclass(frozen=True, kw_only=True)
class PreparedCorpus:
    """Result of `prepare_corpus`."""

    manifest: Manifest
    """The manifest with the validation clips of the folder, and with urls and times for all clips whose files exist."""
    messages: list[str]
    """Lines about the files that were found."""
    unusable: dict[str, str]
    """Clip id -> why the clip is not usable. Clips with bad files come before those with missing files."""


def prepare_corpus(manifest: Manifest, folder: Path, target: Path) -> PreparedCorpus:
    """Link the videos to target/media and write target/annotations/<clip_id>.npz for all clips whose files exist.

    An npz file has `motion` (N, 219) and `keypoints` (N, 17, 3), both float32 at 60 fps (see `annotations`), and `size` (width,
    height) in px.

    Raises UserError if the folder does not exist or no clip is usable.
    """
    if not folder.is_dir():
        raise UserError(
            f"{folder}: no such folder; put the downloads of AIST++ there as manifests/aistpp/README.md says"
        )
    manifest, problems = add_validation_clips(manifest, folder)
    found = list_files(manifest, folder)
    ignored = _read_ignore_list(folder)
    videos, clips, unusable, lacking = {v.video_id: v for v in manifest.videos}, [], {}, {}
    for clip in manifest.clips:
        try:
            name = parse_name(clip.video_id)
            files = required_files(name, folder)
            if name.camera is None:
                raise UserError(
                    f"video {name.text} is a sequence of all cameras; choose one camera, such as {name.video(1)}"
                )
            if name.sequence in ignored:
                raise UserError("is in ignore_list.txt: its annotations failed")
            if missing := [kind for kind, path in files.items() if not path.is_file()]:
                lacking[clip.clip_id] = f"no {', no '.join(missing)}"
                clips.append(clip)
                continue
            frames = _write_annotation(clip, name, files, target)
        except ValueError as err:  # UserError too
            unusable[clip.clip_id] = str(err)
            clips.append(clip)
            continue
        _link_or_copy(files["video"], target / "media" / f"{name.text}.mp4")
        videos[clip.video_id] = dataclasses.replace(videos[clip.video_id], url=f"media/{name.text}.mp4")
        clips.append(dataclasses.replace(clip, start=0.0, end=frames / FPS))
    unusable |= lacking
    if len(unusable) == len(clips):
        first = next(": ".join(item) for item in unusable.items())
        raise UserError(f"{folder}: nothing usable for any of {len(clips)} clips; {'; '.join(found)}; first: {first}")
    usable = f"{len(clips) - len(unusable)} of {len(clips)} clips usable"
    manifest = dataclasses.replace(manifest, videos=tuple(videos.values()), clips=tuple(clips))
    return PreparedCorpus(
        manifest=manifest,
        messages=[*found, *problems, usable, *_describe_parts(manifest, set(unusable))],
        unusable=unusable,
    )


def _describe_parts(manifest: Manifest, unusable: set[str]) -> Iterator[str]:
    """Yield a line for each part of the split: the number of usable clips and of their whole 2 s segments, and the publishers' number."""
    listed = (
        read_records(manifest.folder / "clips.csv", ListedClip) if (manifest.folder / "clips.csv").is_file() else []
    )
    counted = {clip.clip_id: clip.segments_2s for clip in listed}
    for part in ("train", "val", "test"):
        clips = [clip for clip in manifest.clips if clip.official_split == part]
        if not clips:
            continue
        usable = [clip for clip in clips if clip.clip_id not in unusable]
        line = f"{part}: {len(usable)} of {len(clips)} clips, {sum(int(clip.end // SEGMENT_SECONDS) for clip in usable)} whole segments of 2 s"
        known = [counted.get(clip.clip_id) for clip in usable]
        yield line + (f"; the authors' lists have {sum(known)} of these clips" if known and None not in known else "")


def add_validation_clips(manifest: Manifest, folder: Path) -> tuple[Manifest, list[str]]:
    """(the manifest with the sequences of folder/splits/crossmodal_val.txt, first camera, as official_split 'val'; one line per problem).

    The manifest itself lacks them, because it was made from the lists of the training and test parts.
    """
    path = folder / "splits" / "crossmodal_val.txt"
    if not path.is_file():
        return manifest, [f"{path} not found: no validation clips"]
    parts, songs = (
        {clip.clip_id: clip.official_split for clip in manifest.clips},
        {song.song_id: song for song in manifest.songs},
    )
    videos, clips, problems = list(manifest.videos), list(manifest.clips), []
    for line in path.read_text(encoding="utf-8", errors="replace").split():
        try:
            name = parse_name(line)
        except ValueError as err:
            problems.append(f"{path}: {err}")
            continue
        video = name.video(1)
        if video in parts:
            problems += [f"{path}: {line} is a {parts[video]} clip of the manifest"] if parts[video] != "val" else []
            continue
        parts[video] = "val"
        songs.setdefault(name.music, Song(song_id=name.music, genre=name.genre, tempo=float(name.tempo)))
        videos.append(Video(video_id=video, url=""))
        clips.append(Clip(clip_id=video, video_id=video, song_id=name.music, dancers=1, official_split="val"))
    return dataclasses.replace(
        manifest, videos=tuple(videos), clips=tuple(clips), songs=tuple(songs.values())
    ), problems


def list_files(manifest: Manifest, folder: Path) -> list[str]:
    """One line for each kind of file: how many the corpus needs, how many exist, and an example of a file that is not needed."""
    wanted: dict[Path, set[str]] = {}
    for clip in manifest.clips:
        try:
            files = required_files(parse_name(clip.video_id), folder)
        except ValueError:
            continue
        for path in files.values():
            wanted.setdefault(path.parent, set()).add(path.name)
    lines = []
    for part, names in wanted.items():
        there = {path.name for path in part.iterdir()} if part.is_dir() else set()
        line = f"{part.name}/: {len(names & there)} of {len(names)} files"
        if not part.is_dir():
            line += ", no such folder"
        elif names - there and there - names:
            line += f" ({min(names - there)} is missing, {min(there - names)} is not needed)"
        lines.append(line)
    return lines


def read_annotated_pose(
    path: Path,
    frames: int,
    people: int,
    *,
    source: tuple[int, int],
    crop: tuple[int, int, int, int],
    size: tuple[int, int],
) -> np.ndarray:
    """Keypoints of an npz file of `prepare_corpus` in the form of the stage pose: (T, P, 17, 3) float32, x and y in px of the clip,
    confidence; 0 if missing. Every other annotated frame is taken, and the dancer is in slot 0 of P.

    frames: T.
    people: P.
    source: (width, height) in px of the video that the clip was cut from.
    crop: (x, y, width, height) in px of that video.
    size: (width, height) in px of the clip.

    Raises UserError for a missing, damaged or too short file.
    """
    points, annotated = _read_steps(path, "keypoints", frames)[:, 0], _read_array(path, "size")
    pose = np.zeros((frames, people, 17, 3), np.float32)
    seen = points[..., 2] > 0
    corner, part = np.array(crop[:2]), np.array(crop[2:])
    at = (points[..., :2] * np.array(source) / annotated - corner) * np.array(size) / part
    seen &= ((at >= 0) & (at < size)).all(axis=-1)
    pose[:, 0, :, :2] = at * seen[..., None]
    pose[:, 0, :, 2] = points[..., 2] * seen
    return pose


def read_annotated_motion(path: Path, frames: int) -> np.ndarray:
    """Body motion of an npz file of `prepare_corpus` for a clip of T = `frames` frames: (T, 2, 219) float32, two steps for each frame.
    Raises UserError for a missing, damaged or too short file."""
    return _read_steps(path, "motion", frames)


def _read_steps(path: Path, name: str, frames: int) -> np.ndarray:
    """An annotated array (N, ...) at 60 fps as (frames, 2, ...)."""
    values = _read_array(path, name)
    steps = ANNOTATION_FPS // FPS
    if len(values) < frames * steps:
        raise UserError(f"{path}: {len(values) // steps} annotated frames at {FPS} fps, but the clip has {frames}")
    return values[: frames * steps].reshape(frames, steps, *values.shape[1:])


def _read_array(path: Path, name: str) -> np.ndarray:
    try:
        values = read_npz(path, (name,))[name]
    except UserError as err:
        raise UserError(
            f"{path}: no annotated {name} ({str(err).removeprefix(f'{path}: ')}); run the stage sources again"
        ) from None
    shape = ARRAY_SHAPES[name]
    if (
        values.shape[-len(shape) :] != shape
        or values.ndim != len(shape) + (name != "size")
        or not np.isfinite(values).all()
    ):
        raise UserError(
            f"{path}: the annotated {name} is {values.dtype} {values.shape}, but must be finite numbers of shape {shape} for each step; run the stage sources again"
        )
    return values


def _write_annotation(clip: Clip, name: Name, files: dict[str, Path], target: Path) -> int:
    """Write the npz file of a clip. Returns the clip's length in frames at 30 fps."""
    motion, keypoints = read_motion(files["motion"]), read_keypoints(files["keypoints"], name.camera)
    if abs(len(motion) - len(keypoints)) > 2:
        raise UserError(
            f"{files['motion']} has {len(motion)} frames, {files['keypoints']} {len(keypoints)}; download both again"
        )
    frames = min(len(motion), len(keypoints)) * FPS // ANNOTATION_FPS
    if frames == 0:
        raise UserError(f"{files['motion']} has {len(motion)} frames, less than one frame of video; download it again")
    count = frames * ANNOTATION_FPS // FPS
    with atomic_write(target / "annotations" / f"{clip.clip_id}.npz") as temporary, temporary.open("wb") as handle:
        np.savez(handle, motion=motion[:count], keypoints=keypoints[:count], size=np.array(ANNOTATED_SIZE))
    return frames


def _link_or_copy(source: Path, target: Path) -> None:
    """Make a hard link, or a copy if the file system has no hard links."""
    target.parent.mkdir(parents=True, exist_ok=True)
    target.unlink(missing_ok=True)
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)


def _read_ignore_list(folder: Path) -> set[str]:
    path = folder / "ignore_list.txt"
    return set(path.read_text(encoding="utf-8", errors="replace").split()) if path.is_file() else set()
