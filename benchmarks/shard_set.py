"""How long a set of many shards takes to open, with its index and without: python -m benchmarks.shard_set --shards 1000 --clips 64

Writes small shards, of clips of 0.2 s, into a new folder under --work, with their index. Each way to open the set is measured in a process
of its own, without Python's imports; then the first batch of 16 clips of 16 shards is read. --out gets
the result as JSON (default benchmarks/results/shard_set.json).
"""

import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from benchmarks.growth import processor
from dataset_tools.lib.core.cli import command_parser
from dataset_tools.lib.shard_io.shard_format import ShardClip, write_shard
from dataset_tools.lib.shard_io.shard_index import INDEX, describe_shard, write_index

FRAMES, BATCH = 6, 16
ATTRS = {"corpus": "made_up", "split": "train", "pose_layout": "coco17", "pose_weights": "p", "i3d_weights": "i"}


def write_shards(folder: Path, shards: int, clips: int) -> float:
    """Write `shards` shards of `clips` clips and their index; returns the seconds that the index took for each shard."""
    rng, spent, entries = np.random.default_rng(0), 0.0, {}
    pose = rng.random((FRAMES, 1, 17, 3), np.float32)
    audio = rng.random(FRAMES * 735, np.float32)
    i3d = rng.random((1, 2048), np.float32)
    for number in range(shards):
        path = folder / f"train-{number:05d}.h5"
        inside = (
            ShardClip(
                clip_id=f"c{number:05d}_{part:03d}", song=f"s{number}", genre="house", split="train", width=720, height=1280,
                pose=pose, audio=audio, i3d=i3d,
            )
            for part in range(clips)
        )  # fmt: skip
        write_shard(path, inside, ATTRS)
        begun = time.perf_counter()
        entries[path.name] = describe_shard(path)
        spent += time.perf_counter() - begun
    write_index(folder, entries)
    return spent / shards


def open_set(folder: Path) -> dict:
    """Seconds to open the set, seconds of the first batch, MB of the process."""
    from dataset_tools.lib.shard_io.shard_set import ShardSet

    begun = time.perf_counter()
    shards = ShardSet(folder, "train")
    opened = time.perf_counter()
    step = max(1, len(shards.clips) // BATCH)
    shards.read_batch([(clip.clip_id, 0) for clip in shards.clips[::step][:BATCH]], FRAMES)
    read = time.perf_counter()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {"open_s": round(opened - begun, 2), "first_batch_s": round(read - opened, 3), "mb": round(peak)}


def main() -> None:
    """Write the shards, open them, write the result."""
    parser = command_parser("benchmarks.shard_set", __doc__)
    parser.add_argument("--shards", type=int, default=1000)
    parser.add_argument("--clips", type=int, default=64, help="in each shard")
    parser.add_argument("--runs", type=int, default=3, help="with the index; without it one is enough")
    parser.add_argument("--work", type=Path, default=Path(tempfile.gettempdir()))
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/shard_set.json"))
    parser.add_argument("--folder", type=Path, help="used by this command for its own processes")
    args = parser.parse_args()
    if args.folder:
        print(json.dumps(open_set(args.folder)))
        return
    folder = Path(tempfile.mkdtemp(prefix="shard-set-", dir=args.work))
    command = [sys.executable, "-m", "benchmarks.shard_set", "--folder", str(folder)]
    try:
        each = write_shards(folder, args.shards, args.clips)
        found: dict = {"processor": processor(), "cores": os.cpu_count(), "shards": args.shards, "clips": args.clips}
        found |= {"index_mb": round((folder / INDEX).stat().st_size / 1e6, 1), "index_s_a_shard": round(each, 3)}
        for name in ("with index", "without"):
            if name == "without":
                (folder / INDEX).unlink()
            runs = [
                json.loads(subprocess.check_output(command)) for _ in range(args.runs if name == "with index" else 1)
            ]
            found[name] = {key: [run[key] for run in runs] for key in runs[0]}
        found["load"] = round(os.getloadavg()[1], 1)
    finally:
        shutil.rmtree(folder)
    args.out.write_text(json.dumps(found, indent=1) + "\n")
    print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
