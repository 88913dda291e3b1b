"""The stage `pose`: find and track the dancers of every clip."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from dataset_tools.clips.rows import ClipRow
from dataset_tools.lib.clip_arrays import ClipJob, compute_clips, cut_videos
from dataset_tools.lib.core.accounting import check_frames, read_ok
from dataset_tools.lib.core.array_file import read_npy
from dataset_tools.lib.core.atomic import atomic_write
from dataset_tools.lib.core.errors import UserError
from dataset_tools.lib.core.file_memo import FileMemo
from dataset_tools.lib.core.layout import Layout
from dataset_tools.lib.core.packs import is_stored, local_file
from dataset_tools.lib.core.schema import read_records
from dataset_tools.lib.core.weights import locate
from dataset_tools.lib.core.work_cache import file_sha256, item_key
from dataset_tools.pose.params import ANNOTATED, Params
from dataset_tools.pose.rows import PoseRow

VERSION = 5  # of the computed poses; raise it when the same input gives other poses
DECIDING = ("layout", "long_edge", "batch_size", "max_people", "gap_frames", "min_frames")  # what poses depend on
GPU = ("GPU",)  # which rounds differently


@dataclass(frozen=True, kw_only=True)
class Job(ClipJob):
    """One clip whose dancers are to be found."""

    clip: ClipRow
    weights: Path
    params: Params

    @property
    def settings(self) -> tuple:
        """Arguments of `_estimator`."""
        return self.weights, self.params.long_edge, self.params.layout, self.params.batch_size, self.params.gpus

    @property
    def files(self) -> dict[str, Path]:
        """The files of the pose and, if the corpus is annotated, of the motion."""
        files = super().files
        if self.params.weights == ANNOTATED:
            files[f"{self.clip.id}.motion.npy"] = self.cache.with_suffix(".motion.npy")
        return files

    @property
    def inputs(self) -> tuple[Path, ...]:
        """The video and the network's weights, or the annotation."""
        return self.video, self.weights


def pose_clips(layout: Layout, params: Params) -> list[PoseRow]:
    """Find the dancers of all clips that are ok, publish the arrays with rows.csv, and return the rows.

    Clips that an earlier run finished with the same video, weights and parameters are taken from the cache. A clip whose
    primary dancer is seen too rarely becomes 'dropped'. A clip that has not as many frames as clips/rows.csv says becomes 'failed'.
    """
    clips = read_ok(layout, "clips", ClipRow)
    network = None if params.weights == ANNOTATED else locate(params.weights, layout)
    sha = file_sha256(network) if network else ""
    deciding = [*(getattr(params, name) for name in DECIDING), *GPU[: params.gpus > 0]]
    annotations, cache = FileMemo(layout.memo("annotations")), layout.cache("pose")
    jobs = []
    for clip, video, content in cut_videos(layout, clips, "pose"):
        weights = network or layout.stage("sources") / "annotations" / f"{clip.id}.npz"
        if not network and not weights.is_file():
            raise UserError(f"{weights}: file not found; pose.weights '{ANNOTATED}' needs sources.annotated")
        key = item_key(VERSION, content, sha or annotations.sha256(weights), deciding)
        jobs.append(Job(clip=clip, video=video, cache=cache / f"{key}.npy", weights=weights, params=params))
    annotations.save()
    facts = {"layout": params.layout, "weights": f"{Path(params.weights).stem}@{sha[:8]}" if network else ANNOTATED}
    return compute_clips(
        layout, "pose", clips, jobs, PoseRow, begin=begin, work=work, measure=measure, row_columns=row_columns, facts=facts,
        workers=params.workers, timeout=params.timeout, pack=params.pack, gpus=params.gpus,
    )  # fmt: skip


def measure(job: Job) -> dict:
    """How many people the pose in the cache has, and the fraction of frames with the primary dancer."""
    seen: Any = (read_npy(job.cache)[..., 2] > 0).any(axis=2)  # (T, P)
    return {"people": int(seen.any(axis=0).sum()), "coverage": round(float(seen[:, 0].mean()), 4)}


def row_columns(job: Job, measured: dict) -> dict:
    """Columns of rows.csv for a clip with a pose of which this was measured."""
    people, coverage = measured["people"], measured["coverage"]
    found: dict[str, Any] = dict(measured)
    if coverage < job.params.min_coverage:
        what = f"a dancer in only {coverage:.0%} of the frames" if people else "no person found"
        found |= {
            "status": "dropped",
            "reason": f"{what}, pose.min_coverage asks for {job.params.min_coverage:.0%}",
        }
    return found


def begin(job: Job) -> Iterator | None:
    """Start to read a clip while the network processes the clip before it. Returns None if the pose is annotated: no network runs."""
    from dataset_tools.lib.video.clip_reader import read_clip

    check_frames(job.clip.frames)
    if job.params.weights == ANNOTATED:
        return None
    return _estimator(*job.settings).start(read_clip(job.video, job.clip.frames))


def work(job: Job, begun: Iterator | None) -> None:
    """Write the pose of one clip into the cache. Raises UserError for a clip or an annotation that can't be read."""
    from dataset_tools.lib.aist.corpus import read_annotated_motion, read_annotated_pose
    from dataset_tools.pose.tracking import track

    clip, params = job.clip, job.params
    if begun is None:
        pose = read_annotated_pose(
            job.weights, clip.frames, params.max_people, source=(clip.source_width, clip.source_height),
            crop=(clip.crop_x, clip.crop_y, clip.crop_w, clip.crop_h), size=(clip.width, clip.height),
        )  # fmt: skip
        job.keep(pose, read_annotated_motion(job.weights, clip.frames))
        return
    chosen = {name: getattr(params, name) for name in ("max_people", "gap_frames", "min_frames")}
    job.keep(track(_estimator(*job.settings).find_people(begun), clip.width, clip.height, **chosen))


@lru_cache(maxsize=1)
def _estimator(weights: Path, long_edge: int, layout: str, batch_size: int, gpus: float):
    import cv2
    import torch

    from dataset_tools.lib.core.device import choose_device
    from dataset_tools.pose.estimator import PoseEstimator

    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    device = choose_device(gpus)
    return PoseEstimator(
        weights, long_edge=long_edge, layout=layout, batch_size=batch_size, device=device, share_batches=gpus > 0
    )


def write_overlay(layout: Layout, clip_id: str, out: Path) -> int:
    """Write the clip to `out` (.mp4), with its audio and with the tracked dancers drawn over it. Returns the number of frames.

    Raises UserError for another suffix, an unknown clip, a clip without a pose, and missing files.
    """
    from dataset_tools.lib.video.clip_reader import read_clip
    from dataset_tools.lib.video.video_io import read_audio, rgb_frames, write_clip
    from dataset_tools.pose.overlay import overlay_frames

    if out.suffix != ".mp4":
        raise UserError(f"{out}: --out must name an .mp4 file")
    table = layout.stage("pose") / "rows.csv"
    if not table.is_file():
        raise UserError(f"{table}: file not found; run the stage pose first")
    rows = {row.id: row for row in read_records(table, PoseRow)}
    if clip_id not in rows:
        raise UserError(f"{table}: no clip '{clip_id}'; its first are {', '.join(sorted(rows)[:3])}")
    if rows[clip_id].status != "ok":
        raise UserError(f"{table}: clip '{clip_id}' has no pose: {rows[clip_id].status}, {rows[clip_id].reason}")
    with local_file(layout.stage("pose") / f"{clip_id}.npy") as file:
        pose = read_npy(file)
    video = layout.stage("clips") / f"{clip_id}.mp4"
    if not is_stored(video):
        raise UserError(f"{video}: file not found; run the stage clips again")
    with local_file(video) as file:
        audio, rate = read_audio(file) or (None, 0)
    with atomic_write(out) as temporary:
        frames = rgb_frames(overlay_frames(read_clip(video, len(pose)), pose))
        return write_clip(temporary, frames, audio, rate, audio_codec="aac")
