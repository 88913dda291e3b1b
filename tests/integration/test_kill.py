"""kill -9 at random instants: what a stage publishes after it was resumed is what an undisturbed run publishes."""

import json
import os
import sys
from pathlib import Path

import numpy as np
import pytest
from scipy.io import wavfile

from dataset_tools.audio.rows import AudioRow
from dataset_tools.download.rows import DownloadRow
from dataset_tools.i3d.rows import FeatureRow
from dataset_tools.lib.core import schema
from dataset_tools.lib.core.layout import Layout
from dataset_tools.lib.core.manifest import Manifest, save_manifest
from dataset_tools.lib.video.video_io import rgb_frames, write_clip
from dataset_tools.pose.rows import PoseRow
from dataset_tools.split.rows import SplitRow
from tests.helpers.builders import build_clip, cut_row
from tests.helpers.footage import coded, numbered_video, tone
from tests.helpers.within import run_within

TESTS = Path(__file__).parents[1]
KILLS = 20
LIMIT = 600  # s for a whole test


@pytest.fixture
def layout(tmp_path):
    (tmp_path / "manifests" / "c").mkdir(parents=True)
    return Layout(root=tmp_path, corpus="c")


def for_clips(layout):
    """One video with three clips, and one that is broken."""
    numbered_video(layout.stage("download") / "v.mp4", 30, 2.5, tone(2.5))
    (layout.stage("download") / "w.mp4").write_bytes(b"no video")
    cuts = [schema.Clip(clip_id=f"a{n}", video_id="v", song_id="s", start=n / 2, end=n / 2 + 1) for n in range(3)]
    cuts.append(schema.Clip(clip_id="b", video_id="w", song_id="s", start=0.0, end=1.0))
    videos = tuple(schema.Video(video_id=v, url="x") for v in "vw")
    songs = (schema.Song(song_id="s"),)
    save_manifest(Manifest(folder=layout.root, videos=videos, clips=tuple(cuts), songs=songs), layout.stage("sources"))
    rows = [DownloadRow(id=v, status="ok", sha256=v) for v in "vw"]
    schema.write_records(layout.stage("download") / "rows.csv", rows, DownloadRow)
    return "clips: {workers: 2, min_ok: 0.5}"


def for_clips_packed(layout):
    return for_clips(layout).replace("{", "{pack: 2, ")


def cut_clips(layout, frames, *sound):
    """Three small clips. sound: samples (C, N) int16 and rate, else none."""
    folder = layout.stage("clips")
    folder.mkdir(parents=True)
    for n in range(3):
        write_clip(folder / f"a{n}.mp4", rgb_frames(coded(n + j) for j in range(frames)), *(sound or (None,)))
    rows = [cut_row(f"a{n}", frames=frames, width=64, height=48) for n in range(3)]
    schema.write_records(folder / "rows.csv", rows)


def for_pose(layout):
    cut_clips(layout, 6)
    return "pose: {weights: pose_demo, long_edge: 129, min_coverage: 0, workers: 2}"


def for_i3d(layout):
    cut_clips(layout, 60)
    return "i3d: {weights: i3d_demo, frame_size: 32, flow: dis, workers: 2}"


def for_audio(layout):
    cut_clips(layout, 6, (9000 * np.sin(np.arange(6 * 1470) / 20)).astype(np.int16)[None], 44100)
    return "audio: {workers: 2}"


def for_shards(layout):
    cuts = [build_clip(n, seconds=2, split="train" if n else "test") for n in range(5)]
    for word in ("clips", "pose", "i3d", "audio", "split"):
        layout.stage(word).mkdir(parents=True)
    for cut in cuts:
        np.save(layout.stage("pose") / f"{cut.clip_id}.npy", cut.pose)
        np.save(layout.stage("i3d") / f"{cut.clip_id}.npy", cut.i3d)
        wavfile.write(layout.stage("audio") / f"{cut.clip_id}.wav", 22050, cut.audio)
    ids = [cut.clip_id for cut in cuts]
    table = [cut_row(c, song_id=c, genre="pop", frames=60, width=64, height=48) for c in ids]
    schema.write_records(layout.stage("clips") / "rows.csv", table)
    for word, row in (("pose", PoseRow), ("i3d", FeatureRow), ("audio", AudioRow)):
        schema.write_records(layout.stage(word) / "rows.csv", [row(id=c, status="ok") for c in ids])
    parts = [SplitRow(clip_id=cut.clip_id, song_id=cut.song, split=cut.split) for cut in cuts]
    schema.write_records(layout.stage("split") / "split.csv", parts)
    return "shards: {max_clips: 2}"


@pytest.mark.parametrize("prepare", [for_clips, for_clips_packed, for_pose, for_i3d, for_audio, for_shards])
def test_a_killed_stage_resumes_to_the_same_bytes(layout, prepare):
    (layout.root / "params.yaml").write_text(prepare(layout))
    stage = prepare.__name__.split("_")[1]
    paths = os.pathsep.join([str(TESTS.parent), str(TESTS)])
    done = run_within(
        LIMIT, [sys.executable, TESTS / "helpers" / "kill_loop.py", stage, layout.root, str(KILLS), "1"],
        env=os.environ | {"PYTHONPATH": paths, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["kills"] == KILLS and found["finished"] >= 4 and found["files"] >= 3
    assert found["wrong"] == []


CRASHING = """
import os, signal
import av
whole = av.open
def crashing(file, *args, **kwargs):
    if os.path.basename(str(file)) == os.environ["CRASH"]:
        os.kill(os.getpid(), signal.SIGSEGV)
    return whole(file, *args, **kwargs)
av.open = crashing
"""
"""A decoder that dies of one file, in every process that Python starts."""


def test_a_video_that_crashes_the_decoder_costs_its_row(layout, tmp_path):
    (layout.root / "params.yaml").write_text(for_clips(layout))
    (tmp_path / "sitecustomize.py").write_text(CRASHING)
    done = run_within(
        LIMIT, [sys.executable, "-m", "dataset_tools.clips", "--corpus", "c", "--root", layout.root], cwd=TESTS.parent,
        env=os.environ | {"PYTHONPATH": str(tmp_path), "CRASH": "w.mp4", "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert done.returncode == 0 and "Traceback" not in done.stderr, done.stderr[-3000:]
    rows = {row.id: row for row in schema.read_records(layout.stage("clips") / "rows.csv", schema.Row)}
    assert {name: row.status for name, row in rows.items()} == {"a0": "ok", "a1": "ok", "a2": "ok", "b": "failed"}
    assert rows["b"].reason == "the process that worked on it was killed by SIGSEGV"
