"""Measures the whole time of music for a video of one's own: 60 s of a rendered dance, from the command line to the finished file.

    python -m benchmarks.own_video_60s [--root .] [--corpus demo] [--height 720] [--level high] [--times 3] [--video X.mp4]

Runs `python -m d2m_model.generate --video ... --out ...` with a trained corpus in --root, and writes benchmarks/results/own_video_60s.json:
seconds of each run, with start and loading, and the parts of one further run. The dance is of a song that no corpus has.
"""

import json
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import cv2

from dataset_tools.demo.render.compilation import CompilationClip, CompilationVideo, render_clip
from dataset_tools.lib.core.atomic import write_text
from dataset_tools.lib.core.cli import command_parser
from dataset_tools.lib.core.schema import Song
from dataset_tools.lib.video.video_io import rgb_frames, write_clip

SECONDS, SEED, WIDTH = 60.0, 20261130, 600
RESULT = Path(__file__).parent / "results" / "own_video_60s.json"


def render(path: Path, height: int, seconds: float = SECONDS) -> None:
    """Write a rendered dance at 30 fps without audio, scaled to `height` px."""
    video = CompilationVideo(video_id="own", url="", panel_width=WIDTH, panels="stripes")
    clip = CompilationClip(
        clip_id="own", video_id="own", song_id="own", start=0.0, end=seconds, dancers=1, song_start=0.0
    )
    song = Song(song_id="own", genre="house", tempo=121.0)
    left = (640 - WIDTH) // 2  # of the dance, beside still panels
    frames = (image[:, left : left + WIDTH] for image, _ in render_clip(video, clip, song, seed=SEED))
    size = (round(height * WIDTH / 360) // 2 * 2, height)
    write_clip(path, rgb_frames(cv2.resize(f, size, interpolation=cv2.INTER_CUBIC) for f in frames), None)


def timed(command: list[str]) -> dict[str, float]:
    """Wall and processor seconds of a command that must succeed."""
    before, begun = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {"wall_s": round(time.perf_counter() - begun, 1), "cpu_s": round(cpu, 1)}


def main() -> None:
    parser = command_parser("benchmarks.own_video_60s", __doc__)
    parser.add_argument("--root", type=Path, default=Path())
    parser.add_argument("--corpus", default="demo")
    parser.add_argument("--height", type=int, default=720, help="of the rendered video in px")
    parser.add_argument("--level", choices=("high", "low"), default="high")
    parser.add_argument("--times", type=int, default=3)
    parser.add_argument("--video", type=Path, help="a video of one's own instead of the rendered one")
    parser.add_argument("--out", type=Path, default=RESULT)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        video = args.video.resolve() if args.video else Path(scratch) / "dance.mp4"
        if not args.video:
            render(video, args.height)
        options = ["--root", str(args.root), "--corpus", args.corpus, "--video", str(video)]
        beats, out = Path(scratch) / "beats.json", Path(scratch) / "out.mp4"
        whole = [sys.executable, "-m", "d2m_model.generate", *options, "--level", args.level, "--out", str(out)]
        rhythm = [sys.executable, "-m", "d2m_model.rhythm", *options, "--out", str(beats)]
        runs = [timed(whole) for _ in range(args.times)]
        found = {"rhythm_alone": timed(rhythm)}
        found["generate_with_these_beats"] = timed([*whole, "--beats", str(beats)])
    walls = sorted(run["wall_s"] for run in runs)
    result = {
        "video": args.video.name if args.video else f"rendered, 60 s, {args.height}p", "level": args.level, "runs": runs,
        "wall_s": {"median": walls[len(walls) // 2], "low": walls[0], "high": walls[-1]}, **found,
        "cores": os.cpu_count(), "device": platform.machine(), "load_average": round(os.getloadavg()[0], 1),
    }  # fmt: skip
    write_text(args.out, json.dumps(result, indent=2) + "\n")
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
