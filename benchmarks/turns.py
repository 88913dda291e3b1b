"""A stage's worker and its bare model over the same clips, timed in turns, so that what else the machine does meets both."""

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from dataset_tools.base.layout import Layout
from dataset_tools.base.workers import run_all


def arguments(description: str) -> tuple[argparse.Namespace, Layout]:
    """What all these benchmarks ask for."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", type=Path, default=Path("."), help="working folder after the stage clips")
    parser.add_argument("--corpus", default="demo")
    parser.add_argument("--clips", type=int, default=4)
    parser.add_argument("--repeats", type=int, default=3)
    args = parser.parse_args()
    return args, Layout(root=args.root, corpus=args.corpus)


def worker(stage, jobs: Callable[[Path], list]) -> Callable[[], None]:
    """What one worker process of `stage` (a module with `work` and `begin`) does with `jobs(folder)`, in this process."""

    def run() -> None:
        with tempfile.TemporaryDirectory() as folder:
            reasons = run_all(stage.work, jobs(Path(folder)), 1, stage.__name__, prepare=stage.begin)
        assert not any(reasons), reasons

    return run


def in_turns(bare: Callable[[], None], stage: Callable[[], None], repeats: int) -> tuple[float, float]:
    """Seconds of `bare` and of `stage`, the least of `repeats` turns each, after one turn that is not counted."""
    seconds: tuple[list, list] = ([], [])
    for turn in range(repeats + 1):
        for work, taken in zip((bare, stage), seconds):
            begin = time.perf_counter()
            work()
            if turn:
                taken.append(time.perf_counter() - begin)
    return min(seconds[0]), min(seconds[1])


def report(stage: str, clips: int, frames: int, bare: float, whole: float) -> None:
    """Print the line of `clips` clips with `frames` frames in all, and the seconds of the bare model and of the stage."""
    print("| stage | clips | frames | stage clips/s | stage frames/s | bare model clips/s | share |")
    print("|:-|-:|-:|-:|-:|-:|-:|")
    print(f"| {stage} | {clips} | {frames} | {clips / whole:.2f} | {frames / whole:.0f} | {clips / bare:.2f} | {bare / whole:.0%} |")
