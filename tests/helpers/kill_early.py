"""Kill stages in their first milliseconds: `kill_early.py KILLS SEED SECONDS`.

Prints JSON: how many were killed, by the way in which their workers start, and whatever lived SECONDS after its stage was
killed. A stage is a fork of this process in a session of its own, so that all its processes can be found.
"""

import json
import os
import random
import signal
import sys
import tempfile
import time
from collections import Counter, deque
from pathlib import Path

import psutil

from dataset_tools.lib.parallel import worker_process, workers

LONG = 20  # s: what a stage's work takes, and the import of a main module with much to import
AT_ONCE = 3
if __name__ == "__mp_main__" and "MUCH_TO_IMPORT" in os.environ:
    time.sleep(LONG)


def serve(item: str) -> None:
    """Say that a worker serves, by a file."""
    Path(item).touch()
    time.sleep(LONG)


def by_fork(files: list[str]) -> None:
    worker_process.START_METHOD = "fork"
    workers.run_all(serve, files, len(files), "kill", failed=lambda item, reason: reason)


def by_fork_where_no_signal_tells(files: list[str]) -> None:
    sys.platform = "darwin"
    by_fork(files)


def by_spawn(files: list[str]) -> None:
    workers.run_all(serve, files, len(files), "kill", failed=lambda item, reason: reason)


def by_spawn_with_much_to_import(files: list[str]) -> None:
    os.environ["MUCH_TO_IMPORT"] = "1"
    by_spawn(files)


WAYS = by_fork, by_fork_where_no_signal_tells, by_spawn, by_spawn_with_much_to_import


def start(way, folder: str, name: str) -> tuple[int, list[Path]]:
    """Process and session id of a stage, and the files by which its two workers say that they serve."""
    files = [Path(folder, f"{name} {n}") for n in range(2)]
    pid = os.fork()
    if pid == 0:
        os.setsid()
        way([str(file) for file in files])
        os._exit(0)
    return pid, files


def kill(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)


def living(session: int) -> list[psutil.Process]:
    found = []
    for pid in psutil.pids():
        try:
            if os.getsid(pid) == session and (process := psutil.Process(pid)).status() != psutil.STATUS_ZOMBIE:
                found.append(process)
        except (ProcessLookupError, psutil.NoSuchProcess):
            pass
    return found


def seconds_to_serve(way, folder: str) -> float:
    begun = time.monotonic()
    pid, files = start(way, folder, f"{way.__name__} whole")
    while not all(file.exists() for file in files):
        assert time.monotonic() < begun + LONG, way.__name__
        time.sleep(0.001)
    kill(pid)
    return time.monotonic() - begun


def main() -> None:
    kills, seed, seconds = int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])
    rng, killed, survivors, started = random.Random(seed), Counter(), [], 0
    with tempfile.TemporaryDirectory() as folder:
        serving = {way: seconds_to_serve(way, folder) for way in WAYS if way is not by_spawn_with_much_to_import}
        serving[by_spawn_with_much_to_import] = serving[by_spawn]
        due, watched = {}, deque()
        while started < kills or due or watched:
            while started < kills and len(due) < AT_ONCE:
                way = WAYS[started % len(WAYS)]
                pid, _ = start(way, folder, str(started))
                due[pid] = time.monotonic() + rng.uniform(0, serving[way]), way.__name__
                started += 1
            for pid, (at, name) in list(due.items()):
                if time.monotonic() >= at:
                    kill(pid)
                    killed[name] += 1
                    watched.append((time.monotonic() + seconds, pid, name))
                    del due[pid]
            while watched and time.monotonic() >= watched[0][0]:
                _, session, name = watched.popleft()
                for process in living(session):
                    survivors.append(f"{name}: {process}")
                    process.kill()
            time.sleep(0.0005)
    print(
        json.dumps(
            {"killed": killed, "seconds": {way.__name__: s for way, s in serving.items()}, "survivors": survivors}
        )
    )


if __name__ == "__main__":
    main()
