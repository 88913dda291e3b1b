"""The stage `i3d`: compute the visual features of every clip."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np

from dataset_tools.clips.rows import ClipRow
from dataset_tools.i3d.params import Params
from dataset_tools.i3d.rows import FeatureRow
from dataset_tools.lib.clip_arrays import ClipJob, compute_clips, cut_videos
from dataset_tools.lib.core.accounting import check_frames, read_ok
from dataset_tools.lib.core.array_file import read_npy
from dataset_tools.lib.core.layout import Layout
from dataset_tools.lib.core.weights import locate
from dataset_tools.lib.core.work_cache import file_sha256, item_key

VERSION = 1  # of the computed features; raise it when the same input gives other features
DECIMALS = 3
GPU = ("GPU",)  # which rounds differently


@dataclass(frozen=True, kw_only=True)
class Job(ClipJob):
    """One clip whose features are to be computed."""

    clip: ClipRow
    settings: tuple
    """Arguments of `_extractor`: everything but the video that the features depend on."""

    @property
    def inputs(self) -> tuple[Path, ...]:
        """The video and the networks' weights."""
        return self.video, *(Path(name) for name in self.settings[:3] if name)


def extract(layout: Layout, params: Params) -> list[FeatureRow]:
    """Compute the features of all clips that are ok, publish them with rows.csv, and return the rows.

    Clips that an earlier run finished with the same video, weights and parameters are taken from the cache. A clip
    under 2 s has no window and becomes 'dropped'. A clip that has not as many frames as clips/rows.csv says becomes 'failed'.
    """
    clips = read_ok(layout, "clips", ClipRow)
    files = [locate(name, layout) for name in params.files]
    shas = [file_sha256(file) for file in files]
    label = "+".join(dict.fromkeys(f"{Path(n).stem}@{s[:8]}" for n, s in zip(params.files, shas, strict=True)))
    chosen = (params.frame_size, params.crop, params.flow, params.batch)
    raft = [locate(params.flow_weights, layout)] if params.flow == "raft" else []
    shas += [file_sha256(file) for file in raft]
    settings = (*map(str, files), "".join(map(str, raft)), *chosen, params.gpus)
    jobs, cache = [], layout.cache("i3d")
    for clip, video, content in cut_videos(layout, clips, "i3d"):
        key = item_key(VERSION, content, shas, (*chosen, *GPU[: params.gpus > 0]))
        jobs.append(Job(clip=clip, video=video, cache=cache / f"{key}.npy", settings=settings))
    return compute_clips(
        layout, "i3d", clips, jobs, FeatureRow, begin=begin, work=work, measure=measure, row_columns=row_columns, facts={"weights": label},
        workers=params.workers, timeout=params.timeout, pack=params.pack, gpus=params.gpus,
    )  # fmt: skip


def measure(job: Job) -> dict:
    """Number of windows of the features in the cache."""
    return {"windows": len(read_npy(job.cache))}


def row_columns(job: Job, measured: dict) -> dict:
    """Columns of rows.csv for a clip with features of which this was measured."""
    return measured if measured["windows"] else {"status": "dropped", "reason": "shorter than one window of 2 s"}


def begin(job: Job) -> Iterator:
    """Start to read a clip and to compute its flow, while the networks process the clip before it."""
    from dataset_tools.lib.video.clip_reader import read_clip

    check_frames(job.clip.frames)
    return _extractor(*job.settings).start(read_clip(job.video, job.clip.frames))


def work(job: Job, begun: Iterator) -> None:
    """Write the features of one clip into the cache. Raises UserError for a clip that can't be read."""
    features = _extractor(*job.settings).features(begun)
    job.keep(np.round(features, DECIMALS) + np.float32(0))  # + 0: no negative zeros


@lru_cache(maxsize=1)
def _extractor(rgb: str, flow: str, raft: str, frame_size: int, crop: int, method: str, batch: int, gpus: float):
    import cv2
    import torch

    from dataset_tools.i3d.checkpoints import load_i3d
    from dataset_tools.i3d.visual_features import VisualFeatures
    from dataset_tools.lib.core.device import choose_device
    from dataset_tools.lib.video.flow import load_raft

    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    device = choose_device(gpus)
    nets = load_i3d(rgb, "rgb").to(device), load_i3d(flow, "flow").to(device)
    solver = load_raft(Path(raft)).to(device) if raft else None
    return VisualFeatures(*nets, frame_size, crop, method, batch, solver, share_batches=gpus > 0)
