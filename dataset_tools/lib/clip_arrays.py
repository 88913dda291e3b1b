"""Runs a stage that computes arrays for each clip: in several processes, with a cache, and with one row of rows.csv per clip.

The stage gives the function that computes the arrays, the cache key (`ClipJob.cache`), and the columns of the row. What earlier runs
finished is known by a `FileMemo`, so that nothing is read again.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from dataset_tools.lib.core.array_file import write_npy
from dataset_tools.lib.core.atomic import prepare_folder, remove_partial_files
from dataset_tools.lib.core.errors import UserError
from dataset_tools.lib.core.file_memo import FileMemo, stamps
from dataset_tools.lib.core.layout import Layout
from dataset_tools.lib.core.pack_files import keep_files, publish_packs
from dataset_tools.lib.core.schema import Row, write_records
from dataset_tools.lib.core.work_cache import is_complete_array
from dataset_tools.lib.parallel.carrier import ItemFiles
from dataset_tools.lib.parallel.workers import run_all

C = TypeVar("C", bound=Row)
J = TypeVar("J", bound="ClipJob")
R = TypeVar("R", bound=Row)


@dataclass(frozen=True, kw_only=True)
class ClipJob:
    """One clip, with everything that a worker process needs."""

    clip: Row
    """Its row of clips/rows.csv."""
    video: Path
    cache: Path
    """Path of the array in the cache: a .npy file, named by the `item_key` of everything that the array depends on."""

    @property
    def files(self) -> dict[str, Path]:
        """Name of a file in the stage's folder -> its path in the cache."""
        return {f"{self.clip.id}.npy": self.cache}

    @property
    def complete(self) -> bool:
        """Whether all files are in the cache and can be read. Damaged ones are removed, so that they are computed again."""
        return all([is_complete_array(path) for path in self.files.values()])

    @property
    def inputs(self) -> tuple[Path, ...]:
        """Files that are read."""
        return (self.video,)

    @property
    def outputs(self) -> tuple[Path, ...]:
        """Files that are written."""
        return tuple(self.files.values())

    def keep(self, *arrays: np.ndarray) -> None:
        """Write the arrays to the cache, in the order of `files`. Each file is complete or absent."""
        for path, values in zip(self.files.values(), arrays, strict=True):
            write_npy(path, values)


def files_of(job: ClipJob) -> ItemFiles:
    """The files of a job, for machines that share no folder."""
    return ItemFiles(inputs=job.inputs, outputs=job.outputs)


def cut_videos(layout: Layout, clips: Iterable[C], label: str) -> list[tuple[C, Path, str]]:
    """Each clip that is ok, with its video and the video's sha256. Only videos that have changed since they were last hashed, by any stage,
    are read; label: of the progress bar meanwhile. Raises UserError for a missing video."""
    folder, memo = layout.stage("clips"), FileMemo(layout.memo("hashes"))
    cut = [clip for clip in clips if clip.status == "ok"]
    videos = [folder / f"{clip.id}.mp4" for clip in cut]
    try:
        hashes = memo.hash_all(videos, f"{label}: hashing")
    except FileNotFoundError as err:
        raise UserError(
            f"{err.filename}: file not found, though clips/rows.csv says ok; run the stage clips again"
        ) from None
    memo.save()
    return list(zip(cut, videos, hashes, strict=True))


def compute_clips(
    layout: Layout, stage: str, clips: Sequence[Row], jobs: Sequence[J], record: type[R], *,
    begin: Callable[[J], Any], work: Callable[[J, Any], None], measure: Callable[[J], dict], facts: dict[str, str],
    workers: int, timeout: float, pack: int = 0, row_columns: Callable[[J, dict], dict] = lambda job, measured: measured,
    suffix: str = ".npy", gpus: float = 0.0,
) -> list[R]:  # fmt: skip
    """Compute the arrays that are not in the cache, publish the arrays of the rows that are ok, and write rows.csv. It has one
    `record` for each of `clips`; these records are returned.

    begin, work: `work(job, begin(job))` writes the job's arrays. Meanwhile a thread calls `begin` for the next job. If one of
    them raises an exception, the job's row is 'failed'. measure: what the stage says about arrays, as JSON; it is remembered and depends
    on the arrays alone. row_columns: gives columns of the row of a clip with arrays, from what was measured. The row is 'ok' unless they
    include another `status`. facts: columns with the same value for all jobs. workers, timeout (seconds per clip), gpus: as in
    `run_all`. pack: files of a pack, as in `publish_packs`; 0: no packs. suffix: of the stage's files.
    """
    folder, cache = layout.stage(stage), layout.cache(stage)
    remove_partial_files(cache)
    memo = FileMemo(layout.memo(stage))
    measured = {job.clip.id: memo.recall(job.cache.name, job.files.values()) for job in jobs}
    todo = [job for job in jobs if measured[job.clip.id] is None and not job.complete]
    reasons = run_all(
        partial(_work, work=work), todo, workers, stage, prepare=partial(_begin, begin=begin),
        failed=lambda job, reason: reason, timeout=timeout, gpus=gpus, files=files_of,
    )  # fmt: skip
    reason_of = dict(zip((job.clip.id for job in todo), reasons, strict=True))

    prepare_folder(folder, "rows.csv")
    rows, files = [], {}
    for job in jobs:
        if reason := reason_of.get(job.clip.id):
            rows.append(record(id=job.clip.id, status="failed", reason=reason, **facts))
            continue
        found = measured[job.clip.id]
        if found is None:
            before = stamps(job.files.values())
            memo.keep(job.cache.name, found := measure(job), before, own=True)
        rows.append(row := record(id=job.clip.id, **facts | {"status": "ok"} | row_columns(job, found)))
        if row.status == "ok":
            files |= job.files
    if pack:
        publish_packs(folder, files, suffix, pack, memo)
    else:
        for name, path in files.items():
            if not memo.is_copy(path, f"{folder}/{name}"):
                memo.publish(path, folder / name, own=True)
        memo.sync_copies()
        keep_files(folder, files.keys(), suffix)
    done = {row.id for row in rows}
    rows += [record(id=c.id, status=c.status, reason=c.reason or "not ok in clips") for c in clips if c.id not in done]
    write_records(folder / "rows.csv", rows, record)
    memo.save()
    return rows


def _begin(job: J, begin: Callable[[J], Any]) -> tuple | None:
    """(begin(job),); None if the job is done already, by a machine that was lost before it could say so."""
    return None if job.complete else (begin(job),)


def _work(job: J, begun: tuple | None, work: Callable[[J, Any], None]) -> None:
    if begun:
        work(job, *begun)
