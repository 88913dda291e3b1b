"""Every data stage in local processes and on a Ray cluster of the same cores, in turns: do they write the same bytes, and what does Ray cost?

    python -m benchmarks.ray_stages                                              # the demo corpus: every stage once
    python -m benchmarks.ray_stages --root . --stages clips pose i3d --repeats 5   # these, where `dvc repro i3d` has run

Ray is started once, on as many cores as `workers` says. A stage's time is that of its whole command, with the start of its processes. Its
processor time is that of all processes, Ray's own among them, so other work on the machine hardly changes it. Writes --out, by
default benchmarks/results/ray_stages.json. Exits 1 if a byte differs.
"""

import hashlib
import importlib
import json
import logging
import os
import shutil
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

from benchmarks.ray_overhead import processor
from dataset_tools.lib.core.cli import command_parser
from dataset_tools.lib.core.layout import DATA_STAGES, Layout
from dataset_tools.lib.parallel.ray_connection import OBJECT_STORE

SAMPLE = 0.2  # s between two looks at the processes
PLACES = {"local": "local", "ray": "auto"}


class ProcessorTime:
    """Processor time of this process and all that it starts, but for `without` and what those start."""

    def __init__(self, without: list[psutil.Process]):
        self._without = without
        self._seen: dict[tuple[int, float], float] = {}
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def _watch(self) -> None:
        while not self._stop.wait(SAMPLE):
            self.look()

    def look(self) -> float:
        """Seconds until now."""
        own = psutil.Process()
        others = {p.pid for root in self._without for p in (root, *root.children(recursive=True))}
        for process in [own, *own.children(recursive=True)]:
            if process.pid in others:
                continue
            try:
                times = process.cpu_times()
                self._seen[process.pid, process.create_time()] = times.user + times.system
            except psutil.Error:
                continue
        return sum(self._seen.values())

    def stop(self) -> None:
        self._stop.set()
        self._thread.join()


@contextmanager
def ray_on(cores: int) -> Iterator[list[psutil.Process]]:
    """Ray on so many cores, in processes as nice as others, until the block ends. Yields those that it starts itself."""
    os.environ |= {"RAY_worker_niceness": "0", "RAY_USAGE_STATS_ENABLED": "0", "RAY_TQDM_PATCH_PRINT": "0"}
    import ray

    ray.init(
        "local", num_cpus=cores, include_dashboard=False, object_store_memory=OBJECT_STORE, logging_level=logging.ERROR
    )
    try:
        yield psutil.Process().children()
    finally:
        ray.shutdown()


def run_stage(
    layout: Layout, stage: str, place: str, ray: list[psutil.Process]
) -> tuple[dict[str, float], dict[str, str]]:
    """Run a stage from nothing. Returns (its seconds, the sha256 of each file that it wrote)."""
    out = layout.stage(stage)
    for folder in (out, layout.cache(stage)):
        shutil.rmtree(folder, ignore_errors=True)
    command = importlib.import_module(f"dataset_tools.{stage}.__main__")
    spent = ProcessorTime(ray if place == "local" else [])
    before, begun = spent.look(), time.perf_counter()
    code = command.main(["--corpus", layout.corpus, "--root", str(layout.root), "--cluster", PLACES[place]])
    wall, after = time.perf_counter() - begun, spent.look()
    spent.stop()
    assert code == 0, f"{stage} on {place} ended with {code}"
    files = {str(path.relative_to(out)): path for path in sorted(out.rglob("*")) if path.is_file()}
    return (
        {"wall": round(wall, 2), "processor": round(after - before, 2)},
        {name: hashlib.sha256(path.read_bytes()).hexdigest() for name, path in files.items()},
    )


def compare(layout: Layout, stage: str, repeats: int, ray: list[psutil.Process]) -> dict:
    """Run a stage `repeats` times at both places, in turns. Returns its times, and whether all wrote the same bytes."""
    found: dict[str, list] = {place: [] for place in PLACES}
    written = []
    for turn in range(repeats):
        for place in list(PLACES)[:: 1 if turn % 2 else -1]:
            seconds, files = run_stage(layout, stage, place, ray)
            found[place].append(seconds)
            written.append(files)
            print(f"{stage} {place}: {seconds}", file=sys.stderr, flush=True)
    result: dict = {"files": len(written[0]), "same_bytes": all(files == written[0] for files in written)}
    for kind in ("wall", "processor"):
        here, there = (statistics.median(seconds[kind] for seconds in found[place]) for place in PLACES)
        result[kind] = {"local": here, "ray": there, "ray_costs_percent": round(100 * (there / here - 1), 1)}
    return result


def main() -> int:
    parser = command_parser("benchmarks.ray_stages", __doc__)
    parser.add_argument(
        "--root", type=Path, help="working folder with the results of the stages before; it is only read"
    )
    parser.add_argument("--preset", type=Path, default=Path("presets/demo.yaml"))
    parser.add_argument("--corpus", default="demo")
    parser.add_argument("--stages", nargs="+", default=DATA_STAGES, choices=DATA_STAGES, metavar="STAGE")
    parser.add_argument("--repeats", type=int, default=1)
    parser.add_argument("--cores", type=int, default=2, help="of the Ray cluster; as `workers` in the preset")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/ray_stages.json"))
    args = parser.parse_args()
    load = round(os.getloadavg()[0], 1)
    with tempfile.TemporaryDirectory() as folder, ray_on(args.cores) as ray:
        layout = Layout(root=Path(folder), corpus=args.corpus)
        shutil.copytree(Path("manifests"), layout.root / "manifests")
        shutil.copy(args.preset, layout.params)
        for stage in DATA_STAGES[: DATA_STAGES.index(args.stages[0])] if args.root else ():
            given = Layout(root=args.root, corpus=args.corpus).stage(stage)
            if given.is_dir():
                shutil.copytree(given, layout.stage(stage))
        stages = {stage: compare(layout, stage, args.repeats, ray) for stage in args.stages}
    found = {
        "processor": processor(), "cores": args.cores, "load_before": load, "preset": args.preset.stem, "repeats": args.repeats,
        "stages": stages,
    }  # fmt: skip
    args.out.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(found, indent=1))
    return 0 if all(stage["same_bytes"] for stage in stages.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
