"""A stage that computes arrays for clips: what was finished is neither computed, read nor copied again."""

import os
import time

import numpy as np
import pytest

from dataset_tools.lib.clip_arrays import ClipJob, compute_clips, cut_videos
from dataset_tools.lib.core import file_memo
from dataset_tools.lib.core.errors import UserError
from dataset_tools.lib.core.layout import Layout
from dataset_tools.lib.core.schema import Row
from dataset_tools.lib.core.work_cache import file_sha256, item_key

CLIPS = [
    *(Row(id=f"c{number}", status="ok") for number in range(4)),
    Row(id="gone", status="failed", reason="no video"),
]
done = []


def begin(job):
    return len(job.video.read_bytes())


def work(job, size):
    done.append(("work", job.clip.id))
    if size == 3:
        raise UserError("too short")
    job.keep(np.full(size, 1, np.float32))


def measure(job):
    done.append(("measure", job.clip.id))
    return {"size": len(np.load(job.cache))}


def row_columns(job, measured):
    return {} if measured["size"] > 1 else {"status": "dropped", "reason": "one number"}


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Run the stage; returns the calls it needed."""
    monkeypatch.setattr(file_memo, "SETTLED", 0.0)
    hashed = lambda path: done.append(("hash", path.stem)) or file_sha256(path)
    monkeypatch.setattr(file_memo, "file_sha256", hashed)
    layout = Layout(root=tmp_path, corpus="c")
    layout.stage("clips").mkdir(parents=True)
    for number in range(4):
        (layout.stage("clips") / f"c{number}.mp4").write_bytes(b"x" * (number + 5 if number else 1))

    def compute():
        time.sleep(0.02)  # longer than a tick of the file system's clock
        done.clear()
        jobs = [
            ClipJob(clip=clip, video=video, cache=layout.cache("i3d") / f"{item_key(1, content)}.npy")
            for clip, video, content in cut_videos(layout, CLIPS, "test")
        ]
        rows = compute_clips(
            layout, "i3d", CLIPS, jobs, Row, begin=begin, work=work, measure=measure, row_columns=row_columns, facts={},
            workers=1, timeout=60.0,
        )  # fmt: skip
        return {row.id: row.status for row in rows}, sorted(done)

    # In this process, so that the calls are counted.
    monkeypatch.setattr(
        "dataset_tools.lib.clip_arrays.run_all",
        lambda function, items, *args, failed, prepare, **more: [_outcome(function, prepare, i, failed) for i in items],
    )
    return layout, compute


def _outcome(function, prepare, item, failed):
    try:
        return function(item, prepare(item))
    except UserError as err:
        return failed(item, str(err))


STATUSES = {"c0": "dropped", "c1": "ok", "c2": "ok", "c3": "ok", "gone": "failed"}


def published(layout):
    return {path.name: os.stat(path).st_mtime_ns for path in layout.stage("i3d").glob("*.npy")}


def test_a_run_with_nothing_to_do_reads_and_copies_nothing(run):
    layout, compute = run
    statuses, calls = compute()
    assert statuses == STATUSES and {kind for kind, _ in calls} == {"hash", "work", "measure"} and len(calls) == 12
    before = published(layout)
    assert sorted(before) == ["c1.npy", "c2.npy", "c3.npy"]
    assert compute() == (STATUSES, []) and published(layout) == before


def test_only_what_changed_is_done_again(run):
    layout, compute = run
    compute()
    (layout.stage("clips") / "c1.mp4").write_bytes(b"y" * 9)
    assert compute()[1] == [("hash", "c1"), ("measure", "c1"), ("work", "c1")]
    assert len(np.load(layout.stage("i3d") / "c1.npy")) == 9

    (layout.stage("i3d") / "c2.npy").write_bytes(b"damaged")
    assert compute()[1] == [] and len(np.load(layout.stage("i3d") / "c2.npy")) == 7

    (layout.stage("i3d") / "c3.npy").unlink()
    assert compute()[1] == [] and len(np.load(layout.stage("i3d") / "c3.npy")) == 8


def test_a_damaged_file_of_the_cache_is_computed_again(run):
    layout, compute = run
    compute()
    cached = next(path for path in layout.cache("i3d").glob("*.npy") if len(np.load(path)) == 7)
    cached.write_bytes(b"damaged")
    assert compute()[1] == [("measure", "c2"), ("work", "c2")]
    assert len(np.load(layout.stage("i3d") / "c2.npy")) == 7


def test_a_failed_clip_is_tried_again_and_a_missing_video_ends_the_run(run):
    layout, compute = run
    video = layout.stage("clips") / "c1.mp4"
    video.write_bytes(b"xxx")
    assert compute()[0]["c1"] == "failed" and ("work", "c1") in compute()[1]
    video.unlink()
    with pytest.raises(UserError, match=r"c1.mp4: file not found, though clips/rows.csv says ok"):
        compute()
