"""Builders of small valid objects for the tests: shards with known contents, manifests, rows.

Synthetic clips are a click per beat and a stick figure that bounces once per beat, so audio and motion share their
beats, and everything follows from the clip's number and the seed.
"""

import csv
import shutil
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from dataset_tools.clips.rows import ClipRow
from dataset_tools.lib.core import schema
from dataset_tools.lib.core.layout import PROJECT
from dataset_tools.lib.core.timebase import FPS, SAMPLE_RATE, frames_to_samples, window_starts
from dataset_tools.lib.shard_io.shard_format import I3D_WIDTH, JOINTS, MOTION_WIDTH, ShardClip, write_shard
from dataset_tools.lib.shard_io.shard_set import ShardSet

GENRES = ("house", "hiphop")
WIDTH, HEIGHT = 204, 360

# A standing figure in the order of COCO's 17 joints: x from the body's middle and y from the ground, in body heights.
STANDING = np.array(
    [(0, 0.92), (0.03, 0.95), (-0.03, 0.95), (0.06, 0.93), (-0.06, 0.93), (0.12, 0.8), (-0.12, 0.8), (0.2, 0.62),
     (-0.2, 0.62), (0.22, 0.45), (-0.22, 0.45), (0.08, 0.5), (-0.08, 0.5), (0.09, 0.27), (-0.09, 0.27), (0.1, 0.04),
     (-0.1, 0.04)]
)  # fmt: skip


def cut_row(clip_id: str, status: str = "ok", **known) -> ClipRow:
    """A row of clips/rows.csv, of video 'v' and song 's' where `known` names no others."""
    return ClipRow(id=clip_id, status=status, **{"video_id": "v", "song_id": "s"} | known)


def tempo_of(number: int) -> float:
    """Beats per minute of synthetic song `number`."""
    return 90.0 + 15.0 * (number % 5)


def beats_of(number: int, seconds: float) -> np.ndarray:
    """Beat times in seconds of synthetic clip `number`: the first at 0.1 s, then even."""
    return np.arange(0.1, seconds, 60.0 / tempo_of(number))


def click_train(beats: np.ndarray, samples: int) -> np.ndarray:
    """(samples,) float32: a 30 ms decaying 1 kHz tone at each beat, peak 0.8."""
    audio = np.zeros(samples, np.float32)
    time = np.arange(int(0.03 * SAMPLE_RATE)) / SAMPLE_RATE
    click = (0.8 * np.sin(2 * np.pi * 1000 * time) * np.exp(-time / 0.008)).astype(np.float32)
    for beat in beats:
        at = round(beat * SAMPLE_RATE)
        audio[at : at + len(click)] += click[: max(0, samples - at)]
    return audio


def hum(number: int, samples: int) -> np.ndarray:
    """(samples,) float32: two steady tones of clip `number`, nowhere silent, so that a few steps teach a network to play them."""
    time = np.arange(samples) / SAMPLE_RATE
    return (0.4 * sum(np.sin(2 * np.pi * hertz * (number + 2) * time) for hertz in (110, 275))).astype(np.float32)


def bouncing_pose(beats: np.ndarray, frames: int, *, people: int = 1, layout: str = "coco17") -> np.ndarray:
    """(frames, people, J, 3) float32: slot 0 dips on each beat, the other slots are empty (all zero)."""
    pose = np.zeros((frames, people, JOINTS[layout], 3), np.float32)
    time = np.arange(frames) / FPS
    nearest = np.abs(time[:, None] - beats[None, :]).min(axis=1)
    height = 0.8 * HEIGHT
    dip = 0.06 * height * np.exp(-((nearest / 0.08) ** 2))
    figure = STANDING if layout == "coco17" else STANDING[np.arange(JOINTS[layout]) % len(STANDING)]
    pose[:, 0, :, 0] = WIDTH / 2 + height * figure[:, 0]
    pose[:, 0, :, 1] = 0.95 * HEIGHT - height * figure[:, 1] + dip[:, None]
    pose[:, 0, :, 2] = 0.9
    return pose


def nodding_motion(beats: np.ndarray, frames: int, rate: int) -> np.ndarray:
    """(frames, rate / 30, 219) float32: an upright SMPL body that dips and nods its head once per beat."""
    time = np.arange(frames * rate // FPS) / rate
    dip = np.exp(-((np.abs(time[:, None] - beats[None, :]).min(axis=1) / 0.08) ** 2))
    motion = np.zeros((len(time), MOTION_WIDTH), np.float32)
    motion[:, 3:] = np.tile(np.eye(3).ravel(), 24)
    motion[:, 1] = 1.2 - 0.06 * dip
    head = motion[:, 3 + 15 * 9 :][:, :9]
    head[:, 4] = head[:, 8] = np.cos(0.4 * dip)
    head[:, 5], head[:, 7] = -np.sin(0.4 * dip), np.sin(0.4 * dip)
    return motion.reshape(frames, -1, MOTION_WIDTH)


def build_clip(
    number: int, *, seconds: float = 4, split: str = "train", people: int = 2, layout: str = "coco17", seed: int = 0,
    motion_rate: int = 0, hums: bool = False,
) -> ShardClip:  # fmt: skip
    """Synthetic clip `number`, with its own song and one of two genres; its audio is clicks on the beats, or else `hum`."""
    frames = round(seconds * FPS)
    beats = beats_of(number, seconds)
    rng = np.random.default_rng((seed, number))
    return ShardClip(
        clip_id=f"clip_{number:03d}",
        song=f"song_{number:03d}",
        genre=GENRES[number % len(GENRES)],
        split=split,
        width=WIDTH,
        height=HEIGHT,
        pose=bouncing_pose(beats, frames, people=people, layout=layout),
        audio=hum(number, frames_to_samples(frames)) if hums else click_train(beats, frames_to_samples(frames)),
        i3d=rng.random((max(1, len(window_starts(frames))), I3D_WIDTH), dtype=np.float32),
        motion=nodding_motion(beats, frames, motion_rate) if motion_rate else None,
    )


def build_shards(
    folder: Path, clips: int = 4, seconds: float = 4, *, split: str = "train", first: int = 0, per_shard: int = 3,
    people: int = 2, layout: str = "coco17", corpus: str = "demo", seed: int = 0, motion_rate: int = 0,
    pose_weights: str = "none", hums: bool = False,
) -> ShardSet:  # fmt: skip
    """Write synthetic clips `first` to `first + clips - 1` as shards of one split and open them.

    Call it again with another `split` and `first` for a second split in the same folder.
    """
    attrs = {
        "corpus": corpus, "split": split, "pose_layout": layout, "pose_weights": pose_weights, "i3d_weights": "none",
    }  # fmt: skip
    numbers = list(range(first, first + clips))
    for index in range(0, clips, per_shard):
        made = (
            build_clip(
                n,
                seconds=seconds,
                split=split,
                people=people,
                layout=layout,
                seed=seed,
                motion_rate=motion_rate,
                hums=hums,
            )
            for n in numbers[index : index + per_shard]
        )
        write_shard(Path(folder) / f"{split}-{index // per_shard:05d}.h5", made, attrs, motion_rate)
    return ShardSet(folder, split)


def tiktok_as_published(folder: Path) -> Path:
    """Copy manifests/tiktok to `folder`, without what an annotation sheet has filled in, here or in anyone's clone."""
    shutil.copytree(PROJECT / "manifests" / "tiktok", folder)
    for name, columns in {"clips.csv": ("start", "end", "dancers"), "videos.csv": ("url", "title")}.items():
        with open(folder / name, newline="", encoding="utf-8") as handle:
            rows = list(csv.DictReader(handle))
        with open(folder / name, "w", newline="", encoding="utf-8") as handle:
            writer = csv.DictWriter(handle, rows[0])
            writer.writeheader()
            writer.writerows(row | dict.fromkeys(columns, "") for row in rows)
    return folder


def build_manifest(
    root: Path, corpus: str = "tiny", *, clips: Iterable[schema.Clip] | None = None,
    videos: Iterable[schema.Video] | None = None, songs: Iterable[schema.Song] | None = None,
) -> Path:  # fmt: skip
    """Write manifests/<corpus>/{videos,clips,songs}.csv under `root`; the default is 8 clips, 4 songs, 2 videos, with
    songs 0 to 2 as official train and song 3 as test. Returns the folder."""
    if clips is None:
        clips = [
            schema.Clip(
                clip_id=f"clip_{n:03d}", video_id=f"video_{n % 2}", song_id=f"song_{n % 4:03d}",
                start=4.0 * (n // 2), end=4.0 * (n // 2) + 4, dancers=1,
                official_split="test" if n % 4 == 3 else "train",
            )
            for n in range(8)
        ]  # fmt: skip
    clips = list(clips)
    if videos is None:
        videos = [schema.Video(video_id=v, url=f"media/{v}.mp4") for v in sorted({c.video_id for c in clips})]
    if songs is None:
        names = sorted({c.song_id for c in clips})
        songs = [schema.Song(song_id=s, genre=GENRES[i % 2], tempo=tempo_of(i)) for i, s in enumerate(names)]
    folder = Path(root) / "manifests" / corpus
    schema.write_records(folder / "clips.csv", clips, schema.Clip)
    schema.write_records(folder / "videos.csv", videos, schema.Video)
    schema.write_records(folder / "songs.csv", songs, schema.Song)
    return folder
