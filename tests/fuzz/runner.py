"""Runs families in processes of their own, ends those that hang, keeps what was a fault, counts."""

import importlib
import multiprocessing
import os
import shutil
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from dataset_tools.lib.parallel.orphans import start_process
from tests.fuzz.case import READER
from tests.fuzz.child import DEEP, MEMORY, explore

SEEDS = Path(__file__).parent / "seeds"
FAULTS = {
    "traceback": "an exception that is no UserError", "wrong": "taken, and not what is promised", "hang": "over 20 s of a processor",
    "memory": "over 1 GiB", "outside": "a file written outside of the output folder", "message": "a refusal that nobody can read",
    "crash": "the process died",
}  # fmt: skip
"""Kind of fault -> what it is."""
PROCESSOR_SECONDS, WALL_SECONDS = 20.0, 90.0
"""Of one try; the second is for who waits for something that never comes, on a machine that is busy."""
TICK = os.sysconf("SC_CLK_TCK")


@dataclass
class Tally:
    """What came of a family's tries."""

    family: str
    counts: Counter = field(default_factory=Counter)
    """'taken', 'refused' and faults."""
    faults: list[tuple[str, str, str, Path]] = field(default_factory=list)
    """(kind, reader, detail, folder of the saved case)."""
    seconds: float = 0.0

    @property
    def inputs(self) -> int:
        return self.counts.total()


def run_family(family: str, inputs: int, seconds: float, seed: int, kept: Path, scratch: Path) -> Tally:
    """Try the saved cases of a family, then up to `inputs` new ones for up to `seconds`; faults are kept in `kept`."""
    importlib.import_module(f"tests.fuzz.{family}")  # once, for all processes that are forked
    tally, begun = Tally(family), time.monotonic()
    saved = sorted(path.parent for path in (SEEDS / family).glob(f"*/{READER}"))
    ended = False
    while not ended and tally.inputs < inputs + len(saved) and time.monotonic() - begun < seconds:
        at = tally.inputs
        ended = _run_child(
            tally, saved[at:], inputs - max(0, at - len(saved)), seed + at, begun + seconds, kept, scratch
        )
    tally.seconds = time.monotonic() - begun
    return tally


def _run_child(
    tally: Tally, saved: list[Path], inputs: int, seed: int, deadline: float, kept: Path, scratch: Path
) -> bool:
    """Hear one process out, or end it after a hang. True where it has tried all, or the time is over."""
    pipe, theirs = multiprocessing.Pipe()
    process = start_process("fork", explore, os.getpid(), theirs, tally.family, saved, inputs, seed, scratch)
    theirs.close()
    reader, since, spent, held = "", 0.0, 0.0, 0
    try:
        while True:
            if not pipe.poll(0.25):
                if reader and (came := _trouble(process.pid, since, spent, held)):
                    _keep(tally, *came, reader, kept, scratch)
                    return False
                continue
            try:
                came, detail = pipe.recv()
            except EOFError:
                process.join()
                if not reader:
                    raise RuntimeError(
                        f"the process of {tally.family} died between two tries, exit status {process.exitcode}"
                    ) from None
                _keep(tally, "crash", f"exit status {process.exitcode}", reader, kept, scratch)
                return False
            if came == "begins":
                reader, since = detail, time.monotonic()
                spent, held = _processor_seconds(process.pid), _own_memory(process.pid)
            elif came == "ended":
                return True
            elif came == "mistaken":
                raise RuntimeError(detail)
            else:
                tally.counts[came] += came in ("taken", "refused")
                if came in FAULTS:
                    _keep(tally, came, detail, reader, kept, scratch)
                    pipe.send(None)
                reader = ""
                if time.monotonic() > deadline:
                    return True
    finally:
        process.kill()
        process.join()
        pipe.close()
        shutil.rmtree(scratch, ignore_errors=True)


def _trouble(pid: int, since: float, spent: float, held: int) -> tuple[str, str] | None:
    """Whether the try at hand takes too long or too much memory."""
    wall, own = time.monotonic() - since, _processor_seconds(pid) - spent
    if own > PROCESSOR_SECONDS or wall > WALL_SECONDS:
        return "hang", f"{own:.0f} s of a processor in {wall:.0f} s"
    grown = _own_memory(pid) - held
    return ("memory", f"{grown >> 20} MiB") if grown > 2 * MEMORY else None


def _own_memory(pid: int) -> int:
    """Bytes of memory that are no file's."""
    with open(f"/proc/{pid}/statm") as file:
        resident, shared = (int(n) * os.sysconf("SC_PAGE_SIZE") for n in file.read().split()[1:3])
    return resident - shared


def _processor_seconds(pid: int) -> float:
    with open(f"/proc/{pid}/stat") as file:
        user, system = file.read().rpartition(")")[2].split()[11:13]
    return (int(user) + int(system)) / TICK


def _keep(tally: Tally, kind: str, detail: str, reader: str, kept: Path, scratch: Path) -> None:
    """Save the input at hand as a case."""
    tally.counts[kind] += 1
    folder = kept / tally.family / f"{kind}-{len(tally.faults):04d}"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    if (scratch / DEEP / "in").is_dir():
        shutil.copytree(scratch / DEEP / "in", folder, symlinks=True, dirs_exist_ok=True)
    (folder / READER).write_text(reader + "\n")
    tally.faults.append((kind, reader, detail, folder))
