"""Two ways of doing the same work, timed in turns, so that what else the machine does meets both."""

import time
from collections.abc import Callable


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


def report(stage: str, rows: list[tuple[str, int, float, float]]) -> None:
    """Print a table of (clip, frames, seconds of the bare model, seconds of the stage), and its totals."""
    print(f"| clip | frames | bare model frames/s | {stage} frames/s | {stage} clips/s | share |")
    print("|:-|-:|-:|-:|-:|-:|")
    total = ("all", *(sum(column) for column in list(zip(*rows, strict=True))[1:]))
    for clip, frames, bare, whole in (*rows, total):
        clips = len(rows) if clip == "all" else 1
        print(f"| {clip} | {frames} | {frames / bare:.1f} | {frames / whole:.1f} | {clips / whole:.2f} | {bare / whole:.0%} |")
