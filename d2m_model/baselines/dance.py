"""Input of the baselines: a dance to generate music for, and the training split."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np

from d2m_model.training.command import TrainingParams
from d2m_model.training.curves import Curves
from d2m_model.training.loop import Measurement, Run, training_run
from d2m_model.training.seeding import stream_seed
from dataset_tools.lib.core.array_file import read_npz
from dataset_tools.lib.core.atomic import write_text
from dataset_tools.lib.core.errors import UserError
from dataset_tools.lib.core.layout import Layout
from dataset_tools.lib.core.params import require
from dataset_tools.lib.shard_io.shard_format import NO_POSE, ClipEntry
from dataset_tools.lib.shard_io.shard_set import ShardSet

STAGE = "baselines"


@dataclass(frozen=True, kw_only=True)
class SystemParams(TrainingParams):
    """Parameters shared by the systems that are trained."""

    def __post_init__(self):
        super().__post_init__()
        require(
            self.measure_every == 0,
            f"measure_every must be 0, found {self.measure_every}: baselines are scored by evaluate alone",
        )
        require(
            self.compile != "always",
            "compile must be auto or never, because the lengths of a baseline's inputs change from step to step",
        )


class Unmeasured:
    """A task of `train_loop` without measurements during training; `evaluate` scores its music."""

    rate_share: Callable[[int], float] | None = None

    def measure(self) -> Measurement:
        """No scores, no audio."""
        return Measurement({}, {})


@dataclass(frozen=True, kw_only=True, eq=False)
class ClipDance:
    """A dance without its music."""

    clip_id: str
    pose: np.ndarray
    """(T, P, J, 3) float32: x px, y px, confidence at 30 fps; dancer 0 is the primary one; missing = 0."""
    size: tuple[int, int]
    """Width and height of the picture in px."""
    frames: int
    """T."""
    video: Path
    """The clip's mp4."""
    seed: int
    """Seed of all random draws for this dance."""


@dataclass(frozen=True, kw_only=True)
class Corpus:
    """A corpus as one system sees it. Its training data come from the training split only, without a dance or song of another split."""

    layout: Layout
    system: str
    seed: int = 0
    resume: bool = False
    """Continue a stopped training."""

    @property
    def folder(self) -> Path:
        """runs/<corpus>/baselines/<system>, where a trained system writes model.pt, metrics.json and curves.csv."""
        return self.layout.stage(STAGE) / self.system

    @cached_property
    def train(self) -> ShardSet:
        """Training clips with their music."""
        return ShardSet(self.layout.stage("shards"), "train")

    def require_pose(self) -> None:
        """Raises UserError where the shards have no pose; for systems that read it."""
        if NO_POSE in self.train.info.pose_weights:
            raise UserError(
                f"{self.train.folder}: these shards hold SMPL motion only, but {self.system} reads the pose; take it out of `systems` in params.yaml"
            )

    def dance(self, shards: ShardSet, clip: ClipEntry) -> ClipDance:
        """One clip's dance."""
        return ClipDance(
            clip_id=clip.clip_id,
            pose=shards.read(clip.clip_id).pose,
            size=(clip.width, clip.height),
            frames=clip.frames,
            video=self.layout.stage("clips") / f"{clip.clip_id}.mp4",
            seed=stream_seed(self.seed, self.system, clip.clip_id),
        )

    def training_dances(self) -> Iterator[ClipDance]:
        """The dances of the training clips, one by one."""
        return (self.dance(self.train, clip) for clip in self.train.clips)

    def scores(self) -> dict[str, Path]:
        """{song: MIDI file} of the training songs that have a score; empty where none has."""
        songs = sorted({clip.song for clip in self.train.clips})
        files = {song: self.layout.stage("sources") / "scores" / f"{song}.mid" for song in songs}
        return {song: path for song, path in files.items() if path.is_file()}

    def song_start(self, clip_id: str) -> float | None:
        """Position of a clip's start in its song, in seconds; None if unknown."""
        path = self.layout.stage("sources") / "truth" / f"{clip_id}.npz"
        if not path.is_file():
            return None
        start = read_npz(path, (), ("song_start",)).get("song_start")
        if start is not None and (start.size != 1 or not np.isfinite(start).all()):
            raise UserError(
                f"{path}: song_start must be one number, found {start.dtype} {start.shape}; run the stage sources again"
            )
        return None if start is None else float(start.item())

    def run(self, params: TrainingParams, inputs: Sequence[Path], part: str = "") -> Run:
        """The `Run` of this system's training. inputs: files that the training depends on. part: name of one of several trainings."""
        found = training_run(self.layout, STAGE, self.system, params, inputs, f"--system {self.system}", self.resume)
        found = replace(found, section=f"{STAGE}.{self.system}")
        return found.part(part) if part else found

    def publish(self, run: Run, curves: Curves, metrics: Mapping[str, object]) -> None:
        """Write curves.csv and metrics.json (`metrics` and the last row of the curves), and end the run. The caller has written
        model.pt before."""
        last = {name: round(value, 6) for name, value in curves.rows[-1].items() if name != "step"}
        curves.write(self.folder / "curves.csv")
        write_text(self.folder / "metrics.json", json.dumps({**metrics, **last}, indent=2) + "\n")
        run.finish()
