"""Visual features of every clip: data/<corpus>/clips -> data/<corpus>/i3d/<clip_id>.npy, float32 (W, 2048).

Row w is the window of 2 s that starts at second w: 1024 RGB features, then 1024 of optical flow, from a two-stream I3D.
Numbers are rounded to 0.001, far below what tells two windows apart, so that equal runs give equal bytes.

The network alone, for any of the published files: `load_i3d(path)` and `i3d_features(net, x)`, (B, 3 or 2, T, H, W) in
-1..1 -> (B, 1024).
"""

import io
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np

from dataset_tools.base import cli
from dataset_tools.base.accounting import check_frames, demand, read_ok
from dataset_tools.base.ahead import Ahead
from dataset_tools.base.array_file import read_npy
from dataset_tools.base.atomic import begin_folder, keep_only, publish, sweep, write_aside
from dataset_tools.base.errors import UserError
from dataset_tools.base.layout import Layout
from dataset_tools.base.params import load_params, require
from dataset_tools.base.schema import Row, write_records
from dataset_tools.base.weights import locate
from dataset_tools.base.work_cache import file_sha256, is_whole, item_key
from dataset_tools.base.workers import run_all
from dataset_tools.vision.flow import METHODS, RAFT_LEAST
from dataset_tools.vision.i3d_checkpoints import i3d_features, load_i3d

__all__ = ["FeatureRow", "Params", "extract", "i3d_features", "load_i3d", "main"]

VERSION = 1  # of what this stage computes; raise it when the same input would give other features
DECIMALS = 3


@dataclass(frozen=True, kw_only=True)
class Params:
    """Section i3d of params.yaml."""

    weights: str | tuple[str, ...] = "i3d_demo"
    """One two-stream file, or [rgb, flow]: names in manifests/weights.csv or paths relative to the root."""
    frame_size: int = 64
    """Short side in px that frames are resized to; 256 for the published weights."""
    crop: int = 0
    """Side in px of the centre square that the network sees, 224 for the published weights; 0: the whole frame."""
    flow: str = "dis"
    """'tvl1' as the published weights were trained with, 'dis', faster, or 'raft', as video_features has it."""
    flow_weights: str = "raft_sintel"
    """RAFT's, for the flow 'raft': a name in manifests/weights.csv or a path relative to the root."""
    batch: int = 4
    """Windows that go through a network at once."""
    workers: int = 2
    """Processes, one thread each."""
    timeout: float = 3600.0
    """Seconds that one clip may take; one that hangs a decoder becomes a failed row."""
    min_ok: float = 0.95
    """Share of the clips that must end ok, or the stage fails."""

    def __post_init__(self):
        names = (self.weights,) if isinstance(self.weights, str) else self.weights
        require(len(names) in (1, 2), f"weights must be one file or [rgb, flow], found {len(names)} names")
        require(32 <= self.frame_size <= 1024, f"frame_size must be 32..1024 px, found {self.frame_size}")
        require(
            self.crop == 0 or 32 <= self.crop <= self.frame_size,
            f"crop must be 0 or 32..frame_size ({self.frame_size}) px, found {self.crop}",
        )
        require(self.flow in METHODS, f"flow must be one of {', '.join(METHODS)}, found '{self.flow}'")
        require(
            self.flow != "raft" or self.frame_size >= RAFT_LEAST,
            f"flow raft needs a frame_size of at least {RAFT_LEAST} px, found {self.frame_size}",
        )
        require(self.batch >= 1, f"batch must be at least 1, found {self.batch}")
        require(self.workers >= 1, f"workers must be at least 1, found {self.workers}")
        require(self.timeout > 0, f"timeout must be above 0 s, found {self.timeout:g}")
        require(0 <= self.min_ok <= 1, f"min_ok must be 0..1, found {self.min_ok}")

    @property
    def files(self) -> tuple[str, str]:
        """RGB and flow weights."""
        names = (self.weights,) if isinstance(self.weights, str) else self.weights
        return names[0], names[-1]


@dataclass(frozen=True, kw_only=True)
class ClipFile(Row):
    """What this stage needs of a row of clips/rows.csv."""

    frames: int | None = None


@dataclass(frozen=True, kw_only=True)
class FeatureRow(Row):
    """One row of i3d/rows.csv."""

    windows: int = 0
    weights: str = ""
    """RGB and flow weights: name and the first 8 digits of the file's sha256."""


@dataclass(frozen=True, kw_only=True)
class Job:
    """One clip to work on, for a worker process."""

    clip: ClipFile
    video: Path
    cache: Path
    settings: tuple
    """Of `_extractor`: what decides the features, beside the video."""


def extract(layout: Layout, params: Params) -> list[FeatureRow]:
    """Compute the features of all clips that are ok, publish them with rows.csv, and return the rows.

    Clips that an earlier run finished with the same video, weights and parameters are taken from the cache. A clip
    under 2 s has no window and becomes 'dropped'; one that cannot be decoded to its promised length 'failed'.
    """
    clips = read_ok(layout, "clips", ClipFile)
    files = [locate(name, layout) for name in params.files]
    shas = [file_sha256(file) for file in files]
    label = "+".join(dict.fromkeys(f"{Path(n).stem}@{s[:8]}" for n, s in zip(params.files, shas, strict=True)))
    chosen = (params.frame_size, params.crop, params.flow, params.batch)
    raft = [locate(params.flow_weights, layout)] if params.flow == "raft" else []
    shas += [file_sha256(file) for file in raft]
    settings = (*map(str, files), "".join(map(str, raft)), *chosen)
    jobs = []
    for clip in clips:
        if clip.status == "ok":
            video = layout.stage("clips") / f"{clip.id}.mp4"
            if not video.is_file():
                raise UserError(f"{video}: file not found, though clips/rows.csv says ok; run the stage clips again")
            key = item_key(VERSION, file_sha256(video), shas, chosen)
            jobs.append(Job(clip=clip, video=video, cache=layout.cache("i3d") / f"{key}.npy", settings=settings))

    sweep(layout.cache("i3d"))
    todo = [job for job in jobs if not is_whole(job.cache)]
    outcomes = run_all(
        work, todo, params.workers, "i3d", prepare=begin, failed=lambda job, reason: reason, timeout=params.timeout
    )
    reasons = dict(zip((job.clip.id for job in todo), outcomes, strict=True))

    out = layout.stage("i3d")
    begin_folder(out, "rows.csv")
    rows = []
    for job in jobs:
        status, reason, windows = "ok", reasons.get(job.clip.id, ""), 0
        if reason:
            status = "failed"
        else:
            windows = len(read_npy(job.cache))
            if windows == 0:
                status, reason = "dropped", "shorter than one window of 2 s"
            else:
                publish(job.cache, out / f"{job.clip.id}.npy")
        rows.append(FeatureRow(id=job.clip.id, status=status, reason=reason, windows=windows, weights=label))
    done = {row.id for row in rows}
    rows += [
        FeatureRow(id=c.id, status=c.status, reason=c.reason or "not ok in clips") for c in clips if c.id not in done
    ]
    keep_only(out, {f"{row.id}.npy" for row in rows if row.status == "ok"}, ".npy")
    write_records(out / "rows.csv", rows, FeatureRow)
    return rows


def begin(job: Job) -> Ahead:
    """Start reading a clip and taking its flow, while the networks see the clip before."""
    from dataset_tools.vision.clip_reader import read_clip

    check_frames(job.clip.frames)
    return _extractor(*job.settings).begin(read_clip(job.video, job.clip.frames))


def work(job: Job, begun: Ahead) -> str:
    """Compute one clip into the cache; returns the reason where that is impossible, else ''."""
    try:
        features = _extractor(*job.settings).features(begun)
    except UserError as err:
        return " ".join(str(err).split())
    memory = io.BytesIO()
    np.save(memory, np.round(features, DECIMALS) + np.float32(0))  # + 0: no negative zeros
    with write_aside(job.cache) as aside:
        aside.write_bytes(memory.getvalue())
    return ""


@lru_cache(maxsize=1)
def _extractor(rgb: str, flow: str, raft: str, frame_size: int, crop: int, method: str, batch: int):
    import cv2
    import torch

    from dataset_tools.vision.flow import load_raft
    from dataset_tools.vision.visual_features import VisualFeatures

    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    nets = load_i3d(rgb, "rgb"), load_i3d(flow, "flow")
    return VisualFeatures(*nets, frame_size, crop, method, batch, load_raft(Path(raft)) if raft else None)


def main(argv: list[str] | None = None) -> int:
    """The command line; the exit status."""
    parser = cli.stage_parser("dataset_tools.i3d", __doc__)
    args = parser.parse_args(argv)
    layout = cli.layout_of(args)
    params = load_params(layout.params, "i3d", Params)
    rows = extract(layout, params)
    summary = demand(rows, stage="i3d", min_ok=params.min_ok, table=layout.stage("i3d") / "rows.csv")
    cli.say("i3d", f"{summary}, {sum(row.windows for row in rows)} windows")
    return 0


if __name__ == "__main__":
    cli.run(main)
