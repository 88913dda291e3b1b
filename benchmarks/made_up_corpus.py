"""A made-up corpus of any size, for benchmarks/growth.py: real tables, one tiny film under many names, and in the caches of the stages an
outcome for each clip, as if earlier runs had computed it. Five clips are of one video, ten of one song."""

import json
import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from unittest import mock

import av
import numpy as np
from scipy.io import wavfile

from dataset_tools.lib.clip_arrays import ClipJob
from dataset_tools.lib.core.array_file import write_npy
from dataset_tools.lib.core.layout import Layout
from dataset_tools.lib.core.params import load_params
from dataset_tools.lib.core.schema import Clip, Song, Video, write_records
from dataset_tools.lib.core.timebase import FPS, SAMPLE_RATE, frames_to_samples
from dataset_tools.lib.core.work_cache import file_sha256, item_key
from dataset_tools.lib.video.video_io import write_clip

CORPUS = "made_up"
CLIPS_OF_VIDEO, CLIPS_OF_SONG = 5, 10
FRAMES, SIDE = 6, 16
MOST_LINKS = 50_000
"""Names of one file: ext4 allows 65 000."""
PARAMS = """corpus: made_up
sources: {}
download: {}
clips: {crop: true}
pose: {weights: pose_demo}
i3d: {weights: i3d_demo, frame_size: 64, crop: 0, flow: dis, batch: 4}
audio: {}
split: {strategy: random, same_recording: ignore}
shards: {max_clips: 64}
tables: {}
"""


def write_manifest(layout: Layout, count: int) -> None:
    """params.yaml and the manifest of a corpus of `count` clips of web videos."""
    (layout.root / "manifests" / CORPUS).mkdir(parents=True)
    layout.params.write_text(PARAMS)
    songs, videos = range(-(-count // CLIPS_OF_SONG)), range(-(-count // CLIPS_OF_VIDEO))
    name = lambda number: f"v{number // CLIPS_OF_VIDEO:06d}"
    at = lambda number: 15.0 * (number % CLIPS_OF_VIDEO)
    clips = [
        Clip(clip_id=f"{name(n)}_{n % 5}", video_id=name(n), song_id=f"s{n // CLIPS_OF_SONG:06d}", start=at(n), end=at(n) + 10)
        for n in range(count)
    ]  # fmt: skip
    write_records(layout.manifest / "clips.csv", clips)
    write_records(layout.manifest / "songs.csv", [Song(song_id=f"s{n:06d}", genre="house") for n in songs])
    write_records(
        layout.manifest / "videos.csv",
        [Video(video_id=f"v{n:06d}", url=f"https://films.invalid/{n}", title=f"Film {n}") for n in videos],
    )


class Links:
    """Gives one small file many names."""

    def __init__(self, content: Path):
        self.content, self.source, self.links = content.read_bytes(), content, 0

    def __call__(self, path: Path) -> None:
        if self.links >= MOST_LINKS:
            self.source = path
            path.write_bytes(self.content)
            self.links = 0
            return
        os.link(self.source, path)
        self.links += 1


def _film(path: Path) -> Path:
    picture = np.full((SIDE, SIDE, 3), 90, np.uint8)
    frames = [av.VideoFrame.from_ndarray(picture).reformat(format="yuv420p") for _ in range(FRAMES)]
    write_clip(path, frames, np.ones((1, FRAMES * 1470), np.int16), 44100)
    return path


def _skipped(number: int) -> bytes:
    """A box of MP4 that players skip, so that no two films have the same bytes."""
    return (16).to_bytes(4, "big") + b"free" + number.to_bytes(8, "big")


def fill_download(layout: Layout, count: int) -> None:
    """Videos in the cache of `download`."""
    from dataset_tools.download import stage
    from dataset_tools.download.params import Params
    from dataset_tools.download.video_cache import YT_DLP

    params, cache = load_params(layout.params, "download", Params), layout.cache("download")
    film = _film(layout.root / "film.mp4").read_bytes()
    for number in range(-(-count // CLIPS_OF_VIDEO)):
        folder = cache / item_key(stage.VERSION, f"https://films.invalid/{number}", params.format or params.max_height)
        folder.mkdir(parents=True)
        file = folder / "film.mp4"
        file.write_bytes(film + _skipped(number))
        done = {
            "file": file.name,
            "bytes": file.stat().st_size,
            "sha256": file_sha256(file),
            "seconds": 75.0,
            "yt_dlp": YT_DLP,
        }
        (folder / "done.json").write_text(json.dumps(done | {"title": f"Film {number}"}))


def fill_clips(layout: Layout, count: int) -> None:
    """Cut clips in the cache of `clips`."""
    from dataset_tools.clips.params import Params
    from dataset_tools.clips.stage import make_jobs

    film = (layout.root / "film.mp4").read_bytes()
    facts = {
        "frames": FRAMES, "width": SIDE, "height": SIDE, "source_width": SIDE, "source_height": SIDE, "source_fps": 30.0,
        "audio_peak": 0.5, "sound_drift": 0.0, "cuts": [], "sound_lost": 0.0, "damaged": 0,
        "crop_x": 0, "crop_y": 0, "crop_w": SIDE, "crop_h": SIDE,
    }  # fmt: skip
    jobs = make_jobs(layout, load_params(layout.params, "clips", Params))
    layout.cache("clips").mkdir(parents=True, exist_ok=True)
    for number, job in enumerate(jobs):
        job.cached_clip.write_bytes(film + _skipped(number))
        job.cached_facts_file.write_text(json.dumps(facts))


def _fill_arrays(
    layout: Layout, run: Callable[[Layout, object], object], params: object, example: Path, more: Links | None
) -> None:
    """Link `example` to the cached file of every job that a stage would compute."""
    jobs: list[ClipJob] = []
    with mock.patch(
        f"{run.__module__}.compute_clips", lambda layout, stage, clips, found, *args, **settings: jobs.extend(found)
    ):
        run(layout, params)
    link = Links(example)
    jobs[0].cache.parent.mkdir(parents=True)
    for job in jobs:
        link(job.cache)
        if more:
            more(job.cache.with_suffix(".json"))
    for memo in (layout.root / "data" / ".cache" / "known").glob("*.hashes.json"):
        memo.unlink()  # so that the stage hashes the clips itself


def _fill_stage(layout: Layout, count: int, word: str) -> None:
    from importlib import import_module

    stage, params = (import_module(f"dataset_tools.{word}.{name}") for name in ("stage", "params"))
    run = {"pose": "pose_clips", "i3d": "extract", "audio": "audio"}[word]
    example, more = layout.root / f"example.{'wav' if word == 'audio' else 'npy'}", None
    if word == "pose":
        write_npy(example, np.ones((FRAMES, 1, 17, 3), np.float32))
    elif word == "i3d":
        write_npy(example, np.zeros((1, 2048), np.float32))
    else:
        samples = frames_to_samples(FRAMES)
        wavfile.write(example, SAMPLE_RATE, np.full(samples, 0.1, np.float32))
        facts = layout.root / "facts.json"
        facts.write_text(json.dumps({"samples": samples, "peak": 0.1, "rms": 0.1, "channel": ""}))
        more = Links(facts)
    _fill_arrays(layout, getattr(stage, run), load_params(layout.params, word, params.Params), example, more)
    example.unlink()


def fill_tables(layout: Layout, count: int) -> None:
    """The result of an evaluation of 40 systems. It has the same size for any number of clips."""
    bounds = lambda name, value: {name: value, f"{name}_low": value - 1, f"{name}_high": value + 1}
    p1 = bounds("coverage_micro", 90.0) | bounds("hit_micro", 80.0) | {"undefined": 0, "clips": count}
    p4 = {"own": 0.5, "other": 0.4, **bounds("difference", 0.1)}
    scores = {"kind": "model", "P1": p1, "P4": {"onsets_70ms": p4 | {"undefined": 0, "clips": count}, "clips": count}}
    systems = {f"system-{n}": scores | {"genre": {"accuracy": 40.0}} for n in range(40)}
    metrics = {
        "clips": count, "split": "test", "systems": systems | {"ground truth": scores | {"kind": "control"}},
        "embedding": {"name": "demo", "label": "demo weights", "database": "train split"},
        "genre": {"database_segments": count, "chance": 20.0, "majority": 25.0},
    }  # fmt: skip
    layout.stage("evaluate").mkdir(parents=True)
    (layout.stage("evaluate") / "metrics.json").write_text(json.dumps(metrics))


FILL: dict[str, Callable[[Layout, int], None]] = {
    "sources": write_manifest, "download": fill_download, "clips": fill_clips, "tables": fill_tables,
    **{word: partial(_fill_stage, word=word) for word in ("pose", "i3d", "audio")},
}  # fmt: skip
"""Step of benchmarks/growth.py -> what must be there before it."""
assert FPS * 10 > FRAMES  # the tables say 10 s, the films are shorter: nothing decodes them
