"""Measures the synchronisation of audio and picture in clips.

    python -m benchmarks.sync [--root DIR] [--videos N]

Takes the compilations of the finished demo corpus in DIR, adds a white flash about every 0.9 s, replaces the audio by a click at
each flash, encodes them like downloads (H.264 with B-frames, AAC), and runs `clips` and `audio`. Then measures for each clip the
delay of the clicks in audio/<clip>.wav after the flashes in clips/<clip>.mp4.
"""

import shutil
import tempfile
from pathlib import Path

import numpy as np
from scipy.io import wavfile

from dataset_tools.audio.params import Params as AudioParams
from dataset_tools.audio.stage import audio
from dataset_tools.clips.params import Params as ClipsParams
from dataset_tools.clips.stage import clips
from dataset_tools.download.rows import DownloadRow
from dataset_tools.lib.core.cli import command_parser
from dataset_tools.lib.core.layout import Layout
from dataset_tools.lib.core.manifest import load_manifest, save_manifest
from dataset_tools.lib.core.schema import Row, read_records, write_records
from dataset_tools.lib.core.timebase import FPS, SAMPLE_RATE, SAMPLES_PER_FRAME
from dataset_tools.lib.video.video_io import read_rgb, rgb_frames, write_clip

EVERY = 27  # frames between flashes: 0.9 s
RATE = 44100
DOWNLOADED = {"preset": "veryfast", "crf": "23", "g": "250", "bf": "3", "x264-params": "threads=1"}
REACH = SAMPLE_RATE // 5  # largest lag of the correlation in samples
LIMIT = 0.010  # seconds


def flashing(source: Path, out: Path, frames: int) -> None:
    """Write the video with flashes in its picture and clicks as its audio."""
    pictures = (np.full_like(p, 255) if k % EVERY == 0 else p // 2 for k, p in enumerate(read_rgb(source)))
    clicks = np.zeros((2, frames * RATE // FPS), np.int16)
    click = 20000 * np.sin(2 * np.pi * 2000 * np.arange(1, 221) / RATE)
    for k in range(0, frames, EVERY):
        clicks[:, k * RATE // FPS :][:, : len(click)] = click
    write_clip(out, rgb_frames(pictures), clicks, RATE, audio_codec="aac", options=DOWNLOADED)


def offset(clip: Path, wav: Path) -> float:
    """Delay of the clicks after the flashes in seconds, where the correlation of their onsets is largest."""
    light = np.array([picture.mean() for picture in read_rgb(clip)])
    flashes = np.flatnonzero((light > 200) & (np.r_[0, light[:-1]] < 200)) * SAMPLES_PER_FRAME
    _, wave = wavfile.read(wav)
    loud = np.flatnonzero(np.abs(wave) > 0.25 * np.abs(wave).max())
    clicks = loud[np.r_[True, np.diff(loud) > SAMPLE_RATE // 10]]
    lags = np.bincount([c - f + REACH for f in flashes for c in clicks if abs(c - f) < REACH], minlength=2 * REACH)
    near = np.convolve(lags, np.ones(45), "same")  # 2 ms
    return float(np.mean(np.flatnonzero(near == near.max())) - REACH) / SAMPLE_RATE


def main() -> None:
    parser = command_parser("benchmarks.sync", __doc__)
    parser.add_argument("--root", type=Path, default=Path("."))
    parser.add_argument("--videos", type=int, default=1000, help="of the corpus's compilations, the first so many")
    args = parser.parse_args()
    real = Layout(root=args.root, corpus="demo")
    manifest = load_manifest(real.stage("sources"))
    with tempfile.TemporaryDirectory() as folder:
        made = Layout(root=Path(folder), corpus="demo")
        videos = manifest.videos[: args.videos]
        cuts = tuple(c for c in manifest.clips if c.video_id in {v.video_id for v in videos})
        save_manifest(
            type(manifest)(folder=made.root, videos=videos, clips=cuts, songs=manifest.songs), made.stage("sources")
        )
        made.stage("download").mkdir(parents=True)
        for video in videos:
            path = real.stage("download") / f"{video.video_id}.mp4"
            flashing(path, made.stage("download") / path.name, sum(1 for _ in read_rgb(path)))
        write_records(made.stage("download") / "rows.csv", [DownloadRow(id=v.video_id, status="ok") for v in videos])
        clips(made, ClipsParams())
        audio(made, AudioParams())
        ok = [row.id for row in read_records(made.stage("audio") / "rows.csv", Row) if row.status == "ok"]
        assert ok, (made.stage("audio") / "rows.csv").read_text()
        found = [1000 * offset(made.stage("clips") / f"{i}.mp4", made.stage("audio") / f"{i}.wav") for i in ok]
        shutil.rmtree(made.root / "data")
    print(
        f"{len(found)} of {len(cuts)} clips: the audio follows the picture by {np.mean(found):+.2f} ms on average, ",
        end="",
    )
    print(f"{min(found):+.2f} to {max(found):+.2f} ms; the limit is {1000 * LIMIT:g} ms either way")
    raise SystemExit(0 if max(map(abs, found)) <= 1000 * LIMIT and len(found) == len(cuts) else 1)


if __name__ == "__main__":
    main()
