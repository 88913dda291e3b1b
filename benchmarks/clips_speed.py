"""Are clips and audio bound by the encoder? `python benchmarks/clips_speed.py [--root DIR] [--clips N]`

Cuts the first N clips of the finished demo corpus of DIR by one process as the stage does, writes their sound, and encodes
the same frames, already decoded and cropped, with the bare encoder. All of it is run three times; the best counts.
"""

import argparse
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tabulate import tabulate

from dataset_tools.audio import CutRow, extract
from dataset_tools.base.layout import Layout
from dataset_tools.base.manifest import load_manifest
from dataset_tools.vision.normalise import normalise_video
from dataset_tools.vision.video_io import read_sound, timed_frames, write_clip


def best(function, times: int = 3) -> float:
    """Seconds of the quickest of some runs."""
    taken = []
    for _ in range(times):
        begun = time.perf_counter()
        function()
        taken.append(time.perf_counter() - begun)
    return min(taken)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", type=Path, default=Path("."))
    parser.add_argument("--clips", type=int, default=6)
    args = parser.parse_args()
    layout = Layout(root=args.root, corpus="demo")
    cuts = load_manifest(layout.stage("sources")).clips[: args.clips]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)

        def cut() -> list:
            return [
                normalise_video(
                    layout.stage("download") / f"{c.video_id}.mp4", folder / f"{c.clip_id}.mp4", start=c.start, end=c.end
                )
                for c in cuts
            ]  # fmt: skip

        made = cut()
        rows = [CutRow(id=c.clip_id, status="ok", frames=m.frames) for c, m in zip(cuts, made, strict=True)]
        decoded = [[f for _, f in timed_frames(folder / f"{c.clip_id}.mp4")] for c in cuts]
        sounds = [read_sound(folder / f"{c.clip_id}.mp4") for c in cuts]

        def encode() -> None:
            for frames, (sound, rate) in zip(decoded, sounds, strict=True):
                write_clip(folder / "bare.mp4", frames, sound, rate)

        def write_sound() -> None:
            for row in rows:
                extract((folder, folder, row))

        seconds = {"clips": best(cut), "bare encoder, same frames": best(encode), "audio": best(write_sound)}
    frames = sum(row.frames for row in rows)
    table = [(k, len(cuts) / s, frames / s, seconds["bare encoder, same frames"] / s) for k, s in seconds.items()]
    print(tabulate(table, ["one process", "clips/s", "frames/s", "of the bare encoder"], floatfmt=("", ".2f", ".0f", ".2f")))


if __name__ == "__main__":
    main()
