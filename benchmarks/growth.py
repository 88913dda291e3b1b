"""How time and memory of every stage's bookkeeping grow with a corpus: python -m benchmarks.growth --clips 1000 3000 10000 30000 100000

For each number of clips it makes up a corpus (benchmarks/made_up_corpus.py) in a new folder under --work and runs the commands of the
pipeline on it, each in a process of its own. Everything that costs time for each second of video is in the caches already: downloads,
cut clips, poses, features, audio. What is left is reading tables, looking things up, copying small files, and writing tables.

A step `again` is the same command two runs later: it has nothing to do, and all files are older than 2 s, so they are known. Times are from the start of the process to its end, with Python's
imports. Processor time is that of the process and its workers; other work on the machine changes it little. Memory is the largest of the
process or one of its workers. The slope is that of log time over log clips, from --from clips on: 1 is linear. --out gets the result as
JSON (default benchmarks/results/growth.json), and --table prints the table of docs/scale.md from it.
"""

import json
import os
import platform
import re
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from importlib import import_module
from pathlib import Path

import numpy as np

from dataset_tools.lib.core.cli import command_parser
from dataset_tools.lib.core.file_memo import SETTLED
from dataset_tools.lib.core.layout import Layout

CORPUS = "made_up"
KINDS = {"seconds": "s", "processor_seconds": "s of processors", "mb": "MB"}
"""What is measured of a step, and its unit."""
STAGES = ("download", "clips", "pose", "i3d", "audio", "split", "shards")


def _command(module: str, *options: str) -> Callable[[Path], object]:
    def run(root: Path) -> object:
        return import_module(f"{module}.__main__").main(["--corpus", CORPUS, "--root", str(root), *options])

    return run


def _export(root: Path) -> None:
    out = root / "export"
    options = ["export", "--corpus", CORPUS, "--root", str(root), "--format", "webdataset", "--out", str(out)]
    import_module("dataset_tools.shards.__main__").main(options)
    shutil.rmtree(out)


def _windows(root: Path) -> None:
    """What a training does before its first step: the list of all windows of the training clips, and one batch."""
    from d2m_model.training.shard_data import WindowData

    data = WindowData(Layout(root=root, corpus=CORPUS).stage("shards"), "train", 0.2, memory=0)
    assert len(data.batch(0, 0, 16).clips) == 16


STEPS: dict[str, Callable[[Path], object]] = {
    "sources": _command("dataset_tools.sources"),
    **{
        f"{word}{again}": _command(f"dataset_tools.{word}")
        for word in STAGES
        for again in ("", " again")
        if (word, again) != ("split", " again")
    },
    "sources --check": _command("dataset_tools.sources", "--check"),
    "a training's start": _windows,
    "export webdataset": _export,
    "tables": _command("d2m_model.tables"),
}


def processor() -> str:
    """Name of the processor."""
    info = Path("/proc/cpuinfo")
    found = re.search(r"model name\s*:\s*(.+)", info.read_text()) if info.is_file() else None
    return found.group(1).strip() if found else platform.processor() or platform.machine()


def run_step(step: str, root: Path, count: int, *, fill: bool) -> None:
    """Run a step, or with `fill` make what it needs; print the peak memory in MB as the last line."""
    if fill:
        from benchmarks.made_up_corpus import FILL

        FILL[step](Layout(root=root, corpus=CORPUS), count)
        return
    STEPS[step](root)
    kinds = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    print(max(resource.getrusage(kind).ru_maxrss for kind in kinds) / 1024)


def measure(step: str, root: Path, count: int) -> dict:
    """{'seconds', 'processor_seconds', 'mb'} of a step in a new process."""
    from benchmarks.made_up_corpus import FILL

    command = [sys.executable, "-m", "benchmarks.growth", "--root", str(root), "--clips", str(count), "--step", step]
    if step in FILL:
        subprocess.run([*command, "--fill"], check=True, stdout=subprocess.DEVNULL)
    if step.endswith(" again"):
        time.sleep(SETTLED)  # what has just changed is not remembered (lib/core/file_memo.py): this run remembers it
        subprocess.run(command, check=True, capture_output=True)
    begun, before = time.perf_counter(), _processor_seconds()
    done = subprocess.run(command, capture_output=True, text=True)
    seconds, used = time.perf_counter() - begun, _processor_seconds() - before
    if done.returncode:
        raise SystemExit(f"{step} at {count} clips: exit {done.returncode}\n{done.stdout}{done.stderr}")
    return {
        "seconds": round(seconds, 2),
        "processor_seconds": round(used, 2),
        "mb": round(float(done.stdout.split()[-1])),
    }


def _processor_seconds() -> float:
    """Processor time of all processes that this one has started and that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def slope(sizes: list[int], seconds: list[float]) -> float | None:
    """Slope of log seconds over log size; None for fewer than two sizes."""
    return round(float(np.polyfit(np.log(sizes), np.log(seconds), 1)[0]), 2) if len(sizes) > 1 else None


def measure_all(sizes: list[int], steps: list[str], work: Path, out: Path) -> dict:
    """Measure all steps at all sizes. The result is written after each size."""
    found: dict = {
        "processor": processor(), "cores": os.cpu_count(), "python": platform.python_version(), "load": [], "clips": [],
        "steps": {step: {name: [] for name in KINDS} for step in steps},
    }  # fmt: skip
    for count in sizes:
        root = Path(tempfile.mkdtemp(prefix=f"growth-{count}-", dir=work))
        try:
            for step in steps:
                one = measure(step, root, count)
                print(
                    f"{count:7d} clips  {step:20s}",
                    *(f"{one[name]:9.2f} {unit}" for name, unit in KINDS.items()),
                    flush=True,
                )
                for name, value in one.items():
                    found["steps"][step][name].append(value)
                out.write_text(json.dumps(found, indent=1) + "\n")
        finally:
            shutil.rmtree(root)
        found["clips"].append(count)
        found["load"].append(round(os.getloadavg()[2], 1))
    out.write_text(json.dumps(found, indent=1) + "\n")
    return found


def table(found: dict, least: int) -> str:
    """The result as a Markdown table: processor seconds at each size, and of the largest also the time that passed and the memory. least:
    clips from which slopes are fitted."""
    sizes = [f"{size:,}".replace(",", " ") for size in found["clips"]]
    head = ["step", *sizes, "slope", f"s that passed, {sizes[-1]}", f"MB, {sizes[-1]}"]
    lines = [f"| {' | '.join(head)} |", f"|:-{'|-:' * (len(head) - 1)}|"]
    for step, values in found["steps"].items():
        used = values["processor_seconds"]
        known = [(size, one) for size, one in zip(found["clips"], used) if size >= least]
        fitted = slope(*(list(column) for column in zip(*known))) if known else None
        last = [f"{values['seconds'][-1]:.0f}", str(values["mb"][-1])] if len(used) == len(sizes) else ["–", "–"]
        cells = [f"{one:.1f}" for one in used] + ["–"] * (len(sizes) - len(used))
        lines.append(f"| {' | '.join([step, *cells, '–' if fitted is None else f'{fitted:.2f}', *last])} |")
    return "\n".join(lines)


def main() -> None:
    """Measure, or print the table of an earlier result."""
    parser = command_parser("benchmarks.growth", __doc__)
    parser.add_argument("--clips", type=int, nargs="+", default=[1000, 3000, 10_000, 30_000, 100_000])
    parser.add_argument("--steps", nargs="+", choices=STEPS, default=list(STEPS), help="in the pipeline's order")
    parser.add_argument(
        "--work", type=Path, default=Path(tempfile.gettempdir()), help="folder with room for 150 kB a clip"
    )
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/growth.json"))
    parser.add_argument("--table", action="store_true", help="print the table of --out and measure nothing")
    parser.add_argument("--from", type=int, default=1000, dest="least", help="clips from which slopes are fitted")
    parser.add_argument("--step", choices=STEPS, help="used by this command for its own processes")
    parser.add_argument("--root", type=Path, help="the same")
    parser.add_argument("--fill", action="store_true", help="the same")
    args = parser.parse_args()
    if args.step:
        run_step(args.step, args.root, args.clips[0], fill=args.fill)
    elif args.table:
        print(table(json.loads(args.out.read_text()), args.least))
    else:
        print(table(measure_all(args.clips, args.steps, args.work, args.out), args.least))


if __name__ == "__main__":
    main()
