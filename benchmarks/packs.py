"""How many files packs leave of a stage's folder, and what they cost.

    python -m benchmarks.packs [--clips 100000] [--kilobytes 20] [--pack 1000] [--reads 1000]

Makes as many files of made-up bytes as a stage has clips, publishes them by themselves and in packs, opens some of each, and adds a
clip, to see how much of the packs changes.
"""

import random
import tempfile
import time
from pathlib import Path

from dataset_tools.lib.core import packs
from dataset_tools.lib.core.cli import command_parser
from dataset_tools.lib.core.file_memo import FileMemo
from dataset_tools.lib.core.pack_files import keep_files, publish_packs
from dataset_tools.lib.core.packs import local_file


def timed(function, *args) -> float:
    """Seconds that a call takes."""
    begun = time.perf_counter()
    function(*args)
    return time.perf_counter() - begun


def read(paths: list[Path]) -> None:
    for path in paths:
        with local_file(path) as file:
            file.read_bytes()


def main() -> None:
    parser = command_parser("benchmarks.packs", __doc__)
    parser.add_argument("--clips", type=int, default=100_000)
    parser.add_argument("--kilobytes", type=int, default=20, help="of a clip's file")
    parser.add_argument("--pack", type=int, default=1000)
    parser.add_argument("--reads", type=int, default=1000, help="files that are opened")
    args = parser.parse_args()
    draw = random.Random(0)
    with tempfile.TemporaryDirectory() as scratch:
        cache, loose, packed = (Path(scratch, name) for name in ("cache", "loose", "packed"))
        for folder in (cache, loose, packed):
            folder.mkdir()
        files = {f"clip_{number:06d}.npy": cache / f"{number}.npy" for number in range(0, 2 * args.clips, 2)}
        for path in files.values():
            path.write_bytes(draw.randbytes(args.kilobytes << 10))
        memo = FileMemo(cache / "known.json")

        def publish_loose() -> None:
            for name, path in files.items():
                memo.publish(path, loose / name)
            keep_files(loose, files.keys(), ".npy")

        copied = timed(publish_loose)
        made = timed(publish_packs, packed, files, ".npy", args.pack, memo)
        before = {path.name: path.read_bytes() for path in packed.glob("*.tar")}
        some = draw.sample(sorted(files), min(args.reads, len(files)))
        packs._read_index.cache_clear()
        index = timed(packs.find_part, packed / some[0])
        opened = [timed(read, [folder / name for name in some]) / len(some) for folder in (loose, packed)]
        files["clip_000777.npy"] = cache / "0.npy"
        publish_packs(packed, files, ".npy", args.pack, memo)
        known = set(before.values())
        changed = [data for path in packed.glob("*.tar") if (data := path.read_bytes()) not in known]
        print(f"{len(files) - 1} files by themselves: {copied:.1f} s to publish, {1000 * opened[0]:.2f} ms to read one")
        print(
            f"packs: {len(before) + 1} files, {made:.1f} s to publish, {1000 * opened[1]:.2f} ms to read one, "
            f"{1000 * index:.0f} ms to read the index of {(packed / packs.INDEX).stat().st_size / 1e6:.1f} MB"
        )
        share = sum(map(len, changed)) / sum(map(len, known))
        print(f"one clip more changes {len(changed)} of {len(before)} packs, {share:.2%} of the bytes")


if __name__ == "__main__":
    main()
