"""2-D pose of every clip: data/<corpus>/clips -> data/<corpus>/pose/<clip_id>.npy, float32 (T, P, J, 3).

x px, y px, confidence 0..1 of P dancers, slot 0 the primary one; what was not found is 0. OpenPifPaf finds the people,
`vision.tracking` tells them apart. Numbers come in steps of 1/16 px and 1/256, so that equal runs give equal bytes.
Where the corpus came with its pose (weights 'annotated') no network runs, and the body's annotated motion goes with it:
<clip_id>.motion.npy, float32 (T, R, 219), R steps for each video frame.

`--overlay CLIP --out FILE.mp4` draws what was found over a clip instead: a colour for each dancer, the primary one framed,
lines as opaque as they are sure.
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
from dataset_tools.base.limits import DANCERS
from dataset_tools.base.params import load_params, require
from dataset_tools.base.schema import Row, read_records, write_records
from dataset_tools.base.weights import locate
from dataset_tools.base.work_cache import file_sha256, is_whole, item_key
from dataset_tools.base.workers import run_all
from dataset_tools.vision.pose_layouts import SOURCES

VERSION = 5  # of what this stage computes; raise it when the same input would give other poses
ANNOTATED = "annotated"
DECIDING = ("layout", "long_edge", "batch_size", "max_people", "gap_frames", "min_frames")  # parameters that decide it


@dataclass(frozen=True, kw_only=True)
class Params:
    """Section pose of params.yaml."""

    weights: str = "pose_demo"
    """Name in manifests/weights.csv, or a path relative to the root; 'annotated' takes the keypoints that came with the
    corpus (data/<corpus>/sources/annotations) and runs no network."""
    layout: str = "coco17"
    """'coco17' or 'body25' (whole-body weights)."""
    long_edge: int = 257
    """px that a frame's longer side is scaled to; 257 for the demo's weights, 513 or more for the published ones."""
    batch_size: int = 8
    """Frames that go through the network at once."""
    max_people: int = 5
    """P: dancers kept per clip."""
    gap_frames: int = 6
    """Joints missing for at most so many frames are interpolated, with half the confidence; 0: never."""
    min_frames: int = 5
    """Someone seen in fewer frames of a clip is taken for an error of the network."""
    min_coverage: float = 0.3
    """Share of a clip's frames in which the primary dancer must be seen, or the clip is dropped; 0 keeps every clip."""
    workers: int = 2
    """Processes, one thread each."""
    timeout: float = 3600.0
    """Seconds that one clip may take; one that hangs a decoder becomes a failed row."""
    min_ok: float = 0.9
    """Share of the clips that must end ok, or the stage fails."""

    def __post_init__(self):
        require(self.layout in SOURCES, f"layout must be one of {', '.join(SOURCES)}, found '{self.layout}'")
        require(
            self.long_edge == 0 or self.long_edge >= 33,
            f"long_edge must be 0 or at least 33 px, found {self.long_edge}",
        )
        require(self.timeout > 0, f"timeout must be above 0 s, found {self.timeout:g}")
        require(
            self.weights != ANNOTATED or self.layout == "coco17", f"weights '{ANNOTATED}' are coco17, found {self.layout}"
        )
        require(1 <= self.max_people <= DANCERS, f"max_people must be 1 to {DANCERS}, found {self.max_people}")
        for name in ("batch_size", "min_frames", "workers"):
            require(getattr(self, name) >= 1, f"{name} must be at least 1, found {getattr(self, name)}")
        require(self.gap_frames >= 0, f"gap_frames must be at least 0, found {self.gap_frames}")
        for name in ("min_coverage", "min_ok"):
            require(0 <= getattr(self, name) <= 1, f"{name} must be 0..1, found {getattr(self, name)}")


@dataclass(frozen=True, kw_only=True)
class ClipFile(Row):
    """What this stage needs of a row of clips/rows.csv."""

    frames: int | None = None
    width: int | None = None
    height: int | None = None
    crop_x: int | None = None
    crop_y: int | None = None
    crop_w: int | None = None
    crop_h: int | None = None
    source_width: int | None = None
    source_height: int | None = None


@dataclass(frozen=True, kw_only=True)
class PoseRow(Row):
    """One row of pose/rows.csv."""

    people: int = 0
    """Dancers found, at most P."""
    coverage: float = 0.0
    """Share of the frames in which the primary dancer was seen."""
    layout: str = ""
    weights: str = ""
    """Name and the first 8 digits of the file's sha256."""


@dataclass(frozen=True, kw_only=True)
class Job:
    """One clip to work on, for a worker process."""

    clip: ClipFile
    video: Path
    cache: Path
    weights: Path
    params: Params

    @property
    def settings(self) -> tuple:
        """Of `_poser`."""
        return self.weights, self.params.long_edge, self.params.layout, self.params.batch_size

    @property
    def files(self) -> dict[str, Path]:
        """Name in the stage's folder -> where it is made: pose and, where the pose is annotated, motion."""
        files = {f"{self.clip.id}.npy": self.cache}
        if self.params.weights == ANNOTATED:
            files[f"{self.clip.id}.motion.npy"] = self.cache.with_suffix(".motion.npy")
        return files


def pose_clips(layout: Layout, params: Params) -> list[PoseRow]:
    """Pose all clips that are ok, publish the arrays with rows.csv, and return the rows.

    Clips that an earlier run finished with the same video, weights and parameters are taken from the cache. A clip whose
    primary dancer is seen too rarely becomes 'dropped'; one that cannot be decoded to its promised length 'failed'.
    """
    clips = read_ok(layout, "clips", ClipFile)
    network = None if params.weights == ANNOTATED else locate(params.weights, layout)
    sha = file_sha256(network) if network else ""
    jobs = []
    for clip in clips:
        if clip.status == "ok":
            video = layout.stage("clips") / f"{clip.id}.mp4"
            if not video.is_file():
                raise UserError(f"{video}: file not found, though clips/rows.csv says ok; run the stage clips again")
            weights = network or layout.stage("sources") / "annotations" / f"{clip.id}.npz"
            if not weights.is_file():
                raise UserError(f"{weights}: file not found; pose.weights '{ANNOTATED}' needs sources.annotated")
            key = item_key(VERSION, file_sha256(video), sha or file_sha256(weights), [getattr(params, name) for name in DECIDING])
            cache = layout.cache("pose") / f"{key}.npy"
            jobs.append(Job(clip=clip, video=video, cache=cache, weights=weights, params=params))

    sweep(layout.cache("pose"))
    todo = [job for job in jobs if not all(is_whole(path) for path in job.files.values())]
    outcomes = run_all(
        work, todo, params.workers, "pose", prepare=begin, failed=lambda job, reason: reason, timeout=params.timeout
    )
    reasons = dict(zip((job.clip.id for job in todo), outcomes, strict=True))

    out = layout.stage("pose")
    begin_folder(out, "rows.csv")
    facts = {"layout": params.layout, "weights": f"{Path(params.weights).stem}@{sha[:8]}" if network else ANNOTATED}
    rows = [_finished(job, reasons.get(job.clip.id, ""), facts) for job in jobs]
    for job, row in zip(jobs, rows, strict=True):
        if row.status == "ok":
            for name, path in job.files.items():
                publish(path, out / name)
    done = {row.id for row in rows}
    rows += [PoseRow(id=c.id, status=c.status, reason=c.reason or "not ok in clips") for c in clips if c.id not in done]
    keep_only(out, {name for job, row in zip(jobs, rows, strict=False) if row.status == "ok" for name in job.files}, ".npy")
    write_records(out / "rows.csv", rows, PoseRow)
    return rows


def _finished(job: Job, reason: str, facts: dict) -> PoseRow:
    if reason:
        return PoseRow(id=job.clip.id, status="failed", reason=reason, **facts)
    seen = (read_npy(job.cache)[..., 2] > 0).any(axis=2)  # (T, P)
    people, coverage = int(seen.any(axis=0).sum()), round(float(seen[:, 0].mean()), 4)
    status, reason = "ok", ""
    if coverage < job.params.min_coverage:
        found = f"a dancer in only {coverage:.0%} of the frames" if people else "no person found"
        status, reason = "dropped", f"{found}, pose.min_coverage asks for {job.params.min_coverage:.0%}"
    return PoseRow(id=job.clip.id, status=status, reason=reason, people=people, coverage=coverage, **facts)


def begin(job: Job) -> Ahead | None:
    """Start reading a clip, while the network sees the clip before; None where no network is run."""
    from dataset_tools.vision.clip_reader import read_clip

    check_frames(job.clip.frames)
    if job.params.weights == ANNOTATED:
        return None
    return _poser(*job.settings).begin(read_clip(job.video, job.clip.frames))


def work(job: Job, begun: Ahead | None) -> str:
    """Pose one clip into the cache; returns the reason where that is impossible, else ''."""
    from dataset_tools.aist.corpus import annotated_motion, annotated_pose
    from dataset_tools.vision.tracking import track

    clip, params = job.clip, job.params
    chosen = {name: getattr(params, name) for name in ("max_people", "gap_frames", "min_frames")}
    try:
        if begun is None:
            pose = annotated_pose(
                job.weights, clip.frames, params.max_people, source=(clip.source_width, clip.source_height),
                crop=(clip.crop_x, clip.crop_y, clip.crop_w, clip.crop_h), size=(clip.width, clip.height),
            )  # fmt: skip
            for path, values in zip(job.files.values(), (pose, annotated_motion(job.weights, clip.frames)), strict=True):
                _save(values, path)
            return ""
        pose = track(_poser(*job.settings).found(begun), clip.width, clip.height, **chosen)
    except UserError as err:
        return " ".join(str(err).split())
    return _save(pose, job.cache)


def _save(pose: np.ndarray, path: Path) -> str:
    memory = io.BytesIO()
    np.save(memory, pose)
    with write_aside(path) as aside:
        aside.write_bytes(memory.getvalue())
    return ""


@lru_cache(maxsize=1)
def _poser(weights: Path, long_edge: int, layout: str, batch_size: int):
    import cv2
    import torch

    from dataset_tools.vision.poser import Poser

    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    return Poser(weights, long_edge=long_edge, layout=layout, batch_size=batch_size)


def write_overlay(layout: Layout, clip_id: str, out: Path) -> int:
    """Write the clip, sound included, with its tracked dancers drawn over it as `out` (.mp4); returns its frames.

    Raises UserError where there is no such clip, or the stage has not posed it.
    """
    from dataset_tools.vision.clip_reader import read_clip
    from dataset_tools.vision.overlay import overlay_frames
    from dataset_tools.vision.video_io import read_sound, rgb_frames, write_clip

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
    pose = read_npy(layout.stage("pose") / f"{clip_id}.npy")
    video = layout.stage("clips") / f"{clip_id}.mp4"
    if not video.is_file():
        raise UserError(f"{video}: file not found; run the stage clips again")
    sound, rate = read_sound(video) or (None, 0)
    with write_aside(out) as aside:
        frames = rgb_frames(overlay_frames(read_clip(video, len(pose)), pose))
        return write_clip(aside, frames, sound, rate, audio_codec="aac")


def main(argv: list[str] | None = None) -> int:
    """The command line; the exit status."""
    parser = cli.stage_parser("dataset_tools.pose", __doc__)
    parser.add_argument("--overlay", metavar="CLIP", help="only draw this posed clip's dancers over its picture")
    parser.add_argument("--out", type=Path, metavar="FILE.mp4", help="where to write that video")
    args = parser.parse_args(argv)
    if (args.overlay is None) != (args.out is None):
        raise UserError("--overlay CLIP and --out FILE.mp4 go together")
    layout = cli.layout_of(args)
    if args.overlay:
        frames = write_overlay(layout, args.overlay, args.out)
        cli.say("pose", f"{args.out}: {frames} frames of {args.overlay}")
        return 0
    params = load_params(layout.params, "pose", Params)
    rows = pose_clips(layout, params)
    summary = demand(rows, stage="pose", min_ok=params.min_ok, table=layout.stage("pose") / "rows.csv")
    cli.say("pose", f"{summary}, {sum(row.people for row in rows)} dancers")
    return 0


if __name__ == "__main__":
    cli.run(main)
