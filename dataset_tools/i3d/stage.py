"""The stage `i3d`: compute the visual features of every clip."""

import io
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np

from dataset_tools.i3d.checkpoints import load_i3d
from dataset_tools.i3d.params import Params
from dataset_tools.i3d.rows import ClipFile, FeatureRow
from dataset_tools.lib.core.accounting import check_frames, read_ok
from dataset_tools.lib.core.array_file import read_npy
from dataset_tools.lib.core.atomic import atomic_write, keep_only, prepare_folder, publish, remove_partial_files
from dataset_tools.lib.core.errors import UserError
from dataset_tools.lib.core.layout import Layout
from dataset_tools.lib.core.schema import write_records
from dataset_tools.lib.core.weights import locate
from dataset_tools.lib.core.work_cache import file_sha256, is_complete_array, item_key
from dataset_tools.lib.parallel.prefetch import Prefetcher
from dataset_tools.lib.parallel.workers import run_all

VERSION = 1  # of what this stage computes; raise it when the same input would give other features
DECIMALS = 3


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

    remove_partial_files(layout.cache("i3d"))
    todo = [job for job in jobs if not is_complete_array(job.cache)]
    outcomes = run_all(
        work, todo, params.workers, "i3d", prepare=begin, failed=lambda job, reason: reason, timeout=params.timeout
    )
    reasons = dict(zip((job.clip.id for job in todo), outcomes, strict=True))

    out = layout.stage("i3d")
    prepare_folder(out, "rows.csv")
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


def begin(job: Job) -> Prefetcher:
    """Start reading a clip and taking its flow, while the networks see the clip before."""
    from dataset_tools.lib.video.clip_reader import read_clip

    check_frames(job.clip.frames)
    return _extractor(*job.settings).start(read_clip(job.video, job.clip.frames))


def work(job: Job, begun: Prefetcher) -> str:
    """Compute one clip into the cache; returns the reason where that is impossible, else ''."""
    try:
        features = _extractor(*job.settings).features(begun)
    except UserError as err:
        return " ".join(str(err).split())
    memory = io.BytesIO()
    np.save(memory, np.round(features, DECIMALS) + np.float32(0))  # + 0: no negative zeros
    with atomic_write(job.cache) as temporary:
        temporary.write_bytes(memory.getvalue())
    return ""


@lru_cache(maxsize=1)
def _extractor(rgb: str, flow: str, raft: str, frame_size: int, crop: int, method: str, batch: int):
    import cv2
    import torch

    from dataset_tools.i3d.visual_features import VisualFeatures
    from dataset_tools.lib.video.flow import load_raft

    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    nets = load_i3d(rgb, "rgb"), load_i3d(flow, "flow")
    return VisualFeatures(*nets, frame_size, crop, method, batch, load_raft(Path(raft)) if raft else None)
