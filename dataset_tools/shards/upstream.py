"""Read the tables of the stages before `shards`."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from dataset_tools.audio.rows import AudioRow
from dataset_tools.clips.rows import ClipRow
from dataset_tools.i3d.rows import FeatureRow
from dataset_tools.lib.core.errors import UserError
from dataset_tools.lib.core.layout import Layout
from dataset_tools.lib.core.limits import SIDE
from dataset_tools.lib.core.names import SPLITS
from dataset_tools.lib.core.packs import stored_names
from dataset_tools.lib.core.schema import read_records
from dataset_tools.lib.shard_io.shard_format import JOINTS
from dataset_tools.pose.rows import PoseRow
from dataset_tools.shards.clip_streams import ClipStreams, Fit
from dataset_tools.split.rows import SplitRow

STREAM_ROWS = {"pose": PoseRow, "audio": AudioRow, "i3d": FeatureRow}
"""Stream -> record type of rows.csv of the stage that makes the stream."""


@dataclass(frozen=True, kw_only=True)
class Upstream:
    """The tables of the earlier stages."""

    layout: Layout
    clips: dict[str, ClipRow]
    streams: dict[str, dict[str, Any]]
    """Stream name -> clip id -> row, a record of `STREAM_ROWS`."""
    splits: dict[str, str]
    """Clip id -> split."""

    def refusal(self, clip_id: str) -> str:
        """Why a clip can't be in a shard, according to the tables; empty if it may."""
        clip = self.clips[clip_id]
        if clip.status != "ok":
            return f"clips: {clip.reason or clip.status}"
        if not (clip.frames and clip.width and clip.height):
            return "clips: ok, but without frames, width or height"
        if clip.frames < 1 or not (1 <= clip.width <= SIDE and 1 <= clip.height <= SIDE):
            return f"clips: {clip.frames} frames of {clip.width}x{clip.height} px can't be right; run the stage clips again"
        if clip_id not in self.splits:
            return "split: not in split.csv"
        for name in STREAM_ROWS:
            row = self.streams[name].get(clip_id)
            if row is None or row.status != "ok":
                return f"{name}: {(row.reason or row.status) if row else 'not in rows.csv'}"
        return ""

    def streams_of(self, clip_id: str) -> ClipStreams:
        """A clip that is not refused, with the paths of its streams."""
        clip = self.clips[clip_id]
        return ClipStreams(
            clip_id=clip_id, song=clip.song_id, genre=clip.genre, split=self.splits[clip_id],
            width=clip.width, height=clip.height, frames=clip.frames,
            folders=self.folders, has_motion=f"{clip_id}.motion.npy" in self.motions,
        )  # fmt: skip

    @cached_property
    def folders(self) -> dict[str, Path]:
        """Stream -> folder of the stage that makes it."""
        return {name: self.layout.stage(name) for name in STREAM_ROWS}

    @cached_property
    def motions(self) -> set[str]:
        """Names of the files of body motion."""
        return set(stored_names(self.folders["pose"], ".motion.npy"))

    def weights(self, stream: str) -> str:
        """The weights that computed a stream. Raises UserError if they are not the same for all clips."""
        found = sorted({row.weights for row in self.streams[stream].values() if row.status == "ok"})
        if len(found) > 1:
            table = self.layout.stage(stream) / "rows.csv"
            raise UserError(
                f"{table}: clips were computed by different weights ({', '.join(found)}); run {stream} again"
            )
        return found[0] if found else ""

    def motion_rate(self, fits: Mapping[str, Fit]) -> int:
        """Steps per second of the clips' motion; 0 without motion. Raises UserError if it is not the same for all clips. fits: those of the
        clips that are kept, by id."""
        rates: dict[int, str] = {}
        for clip_id, fit in fits.items():
            rates.setdefault(fit.motion_rate, clip_id)
        if len(rates) > 1:
            found = "; ".join(f"{clip_id}: {rate} steps a second" for rate, clip_id in rates.items())
            raise UserError(f"{self.layout.stage('pose')}: clips differ in their motion ({found}); run pose again")
        return next(iter(rates))

    def pose_layout(self, fits: Mapping[str, Fit]) -> str:
        """Pose layout of the clips. Raises UserError if they differ in slots or joints. fits: as for `motion_rate`."""
        shapes: dict[tuple[int, int], str] = {}
        for clip_id, fit in fits.items():
            shapes.setdefault((fit.people, fit.joints), clip_id)
        if len(shapes) > 1:
            found = "; ".join(
                f"{clip_id}: {people} people, {joints} joints" for (people, joints), clip_id in shapes.items()
            )
            raise UserError(f"{self.layout.stage('pose')}: clips differ in their layout ({found}); run pose again")
        ((_, joints),) = shapes
        return next(name for name, number in JOINTS.items() if number == joints)


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
