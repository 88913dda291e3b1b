"""Times a stage's worker and its bare model over the same clips in turns, so that other load on the machine affects both."""

import argparse
import math
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from tabulate import tabulate

from dataset_tools.lib.core.cli import command_parser
from dataset_tools.lib.core.layout import Layout
from dataset_tools.lib.parallel.workers import run_all


def parse_arguments(word: str, description: str) -> tuple[argparse.Namespace, Layout]:
    """The common options of these benchmarks. word: the module's name; description: text of its help."""
    parser = command_parser(f"benchmarks.{word}", description)
    parser.add_argument("--root", type=Path, default=Path("."), help="working folder after the stage clips")
    parser.add_argument("--corpus", default="demo")
    parser.add_argument("--clips", type=int, default=4)
    parser.add_argument("--repeats", type=int, default=3)
    args = parser.parse_args()
    return args, Layout(root=args.root, corpus=args.corpus)


def worker(stage, jobs: Callable[[Path], list]) -> Callable[[], None]:
    """A function that processes `jobs(folder)` in this process like a worker of `stage`, a module with `work` and `begin`."""

    def run() -> None:
        with tempfile.TemporaryDirectory() as folder:
            reasons = run_all(stage.work, jobs(Path(folder)), 1, stage.__name__, prepare=stage.begin)
        assert not any(reasons), reasons

    return run


def in_turns(repeats: int, *works: Callable[[], None]) -> list[float]:
    """Seconds of each of `works`: the least of `repeats` turns, after a warm-up turn."""
    least = [math.inf] * len(works)
    for turn in range(repeats + 1):
        for number, work in enumerate(works):
            begin = time.perf_counter()
            work()
            if turn:
                least[number] = min(least[number], time.perf_counter() - begin)
    return least


def report(stage: str, clips: int, frames: int, whole: float, **bare: float) -> None:
    """Print a row for the stage, which took `whole` seconds for `clips` clips with `frames` frames in total, and a row for each way
    of running its bare model."""
    rows = [(stage, clips / whole, frames / whole, "")]
    rows += [(f"bare, {k.replace('_', ' ')}", clips / s, frames / s, f"{s / whole:.0%}") for k, s in bare.items()]
    print(tabulate(rows, [f"{clips} clips", "clips/s", "frames/s", "reached"], floatfmt=("", ".2f", ".0f", "")))
