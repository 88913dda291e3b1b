"""Read the results of the stages before `shards`: their tables, and the streams of each clip at one length."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from dataset_tools.audio.rows import AudioRow
from dataset_tools.clips.rows import ClipRow
from dataset_tools.i3d.rows import FeatureRow
from dataset_tools.lib.core.errors import UserError
from dataset_tools.lib.core.layout import Layout
from dataset_tools.lib.core.limits import MAX_SHOWN, SIDE
from dataset_tools.lib.core.names import SPLITS
from dataset_tools.lib.core.schema import read_records
from dataset_tools.lib.core.timebase import FPS, SAMPLES_PER_FRAME, window_starts
from dataset_tools.lib.shard_io.shard_format import (
    JOINTS,
    MAX_FRAMES,
    MAX_PEOPLE,
    ShardClip,
    check_numbers,
)
from dataset_tools.lib.shard_io.stream_files import count_audio_frames, read_audio, read_i3d, read_motion, read_pose
from dataset_tools.pose.rows import PoseRow
from dataset_tools.split.rows import SplitRow

STREAM_ROWS = {"pose": PoseRow, "audio": AudioRow, "i3d": FeatureRow}
"""Stream -> record type of rows.csv of the stage that makes the stream."""


@dataclass(frozen=True, kw_only=True)
class Upstream:
    """The tables of the earlier stages, and access to the streams."""

    layout: Layout
    clips: dict[str, ClipRow]
    streams: dict[str, dict[str, Any]]
    """Stream name -> clip id -> row, a record of `STREAM_ROWS`."""
    splits: dict[str, str]
    """Clip id -> split."""

    def joint_length(self, clip_id: str, frames_apart: int) -> tuple[int, str]:
        """(number of frames that all streams of a clip have, ''), or (0, reason) if the clip can't be used. The lengths of the streams
        may differ by `frames_apart` frames."""
        clip = self.clips[clip_id]
        if clip.status != "ok":
            return 0, f"clips: {clip.reason or clip.status}"
        if not (clip.frames and clip.width and clip.height):
            return 0, "clips: ok, but without frames, width or height"
        if clip.frames < 1 or not (1 <= clip.width <= SIDE and 1 <= clip.height <= SIDE):
            return (
                0,
                f"clips: {clip.frames} frames of {clip.width}x{clip.height} px can't be right; run the stage clips again",
            )
        if clip_id not in self.splits:
            return 0, "split: not in split.csv"
        for name in STREAM_ROWS:
            row = self.streams[name].get(clip_id)
            if row is None or row.status != "ok":
                return 0, f"{name}: {(row.reason or row.status) if row else 'not in rows.csv'}"
        lengths = {"clips": clip.frames}
        try:
            streams = {"pose": read_pose(self._path("pose", clip_id)), "i3d": read_i3d(self._path("i3d", clip_id))}
            if self._motion(clip_id).exists():
                streams["motion"] = read_motion(self._motion(clip_id))
            lengths |= {name: len(values) for name, values in streams.items() if name != "i3d"}
            claimed = count_audio_frames(self._path("audio", clip_id))
            streams["audio"] = read_audio(self._path("audio", clip_id))
            lengths["audio"] = min(
                claimed, len(streams["audio"]) // SAMPLES_PER_FRAME
            )  # a file may be shorter than its header says
            windows = len(streams["i3d"])
            for name, values in streams.items():
                if not np.isfinite(values).all():
                    raise ValueError(
                        f"{name}: {clip_id} holds NaN or infinite values; run {'pose' if name == 'motion' else name} again"
                    )
                check_numbers(name, values)
            if not 1 <= streams["pose"].shape[1] <= MAX_PEOPLE:
                raise ValueError(
                    f"pose: {clip_id} has {streams['pose'].shape[1]} people, 1 to {MAX_PEOPLE} fit into a shard"
                )
        except (OSError, ValueError, RuntimeError) as err:
            return 0, " ".join(str(err).split())
        except Exception as err:  # noqa: BLE001 - any error of a library on a damaged file fails only its clip
            return (
                0,
                f"streams of {clip_id} are not readable ({type(err).__name__}: {' '.join(str(err).split())[:MAX_SHOWN]})",
            )
        if max(lengths.values()) - min(lengths.values()) > frames_apart:
            found = ", ".join(f"{name} {length}" for name, length in lengths.items())
            return 0, f"lengths in frames differ by more than {frames_apart}: {found}"
        frames = min(lengths.values())
        if not 1 <= frames <= MAX_FRAMES:
            return 0, f"lengths in frames must be 1 to {MAX_FRAMES}, found {frames}"
        if windows < _count_windows(frames):
            return 0, f"i3d: {windows} windows for {frames} frames, at least {_count_windows(frames)} are needed"
        return frames, ""

    def load(self, clip_id: str, frames: int, motion_rate: int) -> ShardClip:
        """All streams of one clip, cut to `frames` frames. If `motion_rate` is 0, there is no motion."""
        clip = self.clips[clip_id]
        return ShardClip(
            clip_id=clip_id,
            song=clip.song_id,
            genre=clip.genre,
            split=self.splits[clip_id],
            width=clip.width,
            height=clip.height,
            pose=read_pose(self._path("pose", clip_id))[:frames],
            audio=read_audio(self._path("audio", clip_id), frames),
            i3d=read_i3d(self._path("i3d", clip_id))[: _count_windows(frames)],
            motion=read_motion(self._motion(clip_id))[:frames] if motion_rate else None,
        )

    def weights(self, stream: str) -> str:
        """The weights that computed a stream. Raises UserError if they are not the same for all clips."""
        found = sorted({row.weights for row in self.streams[stream].values() if row.status == "ok"})
        if len(found) > 1:
            table = self.layout.stage(stream) / "rows.csv"
            raise UserError(
                f"{table}: clips were computed by different weights ({', '.join(found)}); run {stream} again"
            )
        return found[0] if found else ""

    def motion_rate(self, clip_ids: Iterable[str]) -> int:
        """Steps per second of the clips' motion; 0 without motion. Raises UserError if it is not the same for all clips."""
        rates = {}
        for clip_id in clip_ids:
            known = self._motion(clip_id).exists()
            rates.setdefault(FPS * read_motion(self._motion(clip_id)).shape[1] if known else 0, clip_id)
        if len(rates) > 1:
            found = "; ".join(f"{clip_id}: {rate} steps a second" for rate, clip_id in rates.items())
            raise UserError(f"{self.layout.stage('pose')}: clips differ in their motion ({found}); run pose again")
        return next(iter(rates))

    def pose_layout(self, clip_ids: Iterable[str]) -> str:
        """Pose layout of the clips. Raises UserError if they differ in slots or joints."""
        shapes = {}
        for clip_id in clip_ids:
            shapes.setdefault(read_pose(self._path("pose", clip_id)).shape[1:3], clip_id)
        if len(shapes) > 1:
            found = "; ".join(
                f"{clip_id}: {people} people, {joints} joints" for (people, joints), clip_id in shapes.items()
            )
            raise UserError(f"{self.layout.stage('pose')}: clips differ in their layout ({found}); run pose again")
        (_, joints), _ = next(iter(shapes.items()))
        return next(name for name, number in JOINTS.items() if number == joints)

    def _path(self, stream: str, clip_id: str) -> Path:
        return self.layout.stage(stream) / f"{clip_id}{'.wav' if stream == 'audio' else '.npy'}"

    def _motion(self, clip_id: str) -> Path:
        """Path of a clip's body motion, which only some corpora have."""
        return self.layout.stage("pose") / f"{clip_id}.motion.npy"


def read_upstream(layout: Layout) -> Upstream:
    """Read the tables of the stages before `shards`.

    Raises UserError for a missing table (the message names the stage to run), for a split with clips that were not cut, and for a
    split without training or test clips.
    """
    tables = {word: layout.table(word) for word in ("clips", *STREAM_ROWS)} | {
        "split": layout.table("split", "split.csv")
    }
    clips = {row.id: row for row in read_records(tables["clips"], ClipRow)}
    splits = {row.clip_id: row.split for row in read_records(tables["split"], SplitRow)}
    for clip_id, split in splits.items():
        if clip_id not in clips or split not in SPLITS:
            raise UserError(
                f"{tables['split']}: clip '{clip_id}' in split '{split}' is not one of clips/rows.csv in one of "
                f"{', '.join(SPLITS)}; run python -m dataset_tools.split again"
            )
    for split in ("train", "test"):
        if split not in splits.values():
            raise UserError(
                f"{tables['split']}: no clip is in the {split} split, which later stages need; run python -m "
                "dataset_tools.split again, or correct the table"
            )
    streams = {
        name: {row.id: row for row in read_records(tables[name], record)} for name, record in STREAM_ROWS.items()
    }
    return Upstream(layout=layout, clips=clips, streams=streams, splits=splits)


def _count_windows(frames: int) -> int:
    return max(1, len(window_starts(frames)))
