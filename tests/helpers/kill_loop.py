"""Run a stage, kill it at a random instant, run it again, and so on: `kill_loop.py STAGE ROOT KILLS SEED`.

Prints JSON: kills, how often the stage finished in between, and every way in which what it published then differed from
an undisturbed run. Imports and weights are loaded once: each run is a fork of this process, its workers forks of that.
"""

import hashlib
import importlib
import json
import os
import random
import shutil
import signal
import sys
import time
from pathlib import Path

from dataset_tools.lib import clip_arrays
from dataset_tools.lib.core.layout import Layout
from dataset_tools.lib.parallel import worker_process

stage, root, kills, seed = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
command, module = (importlib.import_module(f"dataset_tools.{stage}.{part}") for part in ("__main__", "stage"))
layout = Layout(root=root, corpus="c")
outs, cache = layout.stage(stage), layout.cache(stage)


def wipe() -> None:
    for folder in (outs, cache):
        shutil.rmtree(folder, ignore_errors=True)


def published() -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(outs.iterdir())}


def start() -> int:
    """Process id of a run of the stage."""
    pid = os.fork()
    if pid == 0:
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, 1)
        code = 1
        try:
            code = command.main(["--corpus", "c", "--root", str(root)])
        finally:
            os._exit(code)
    return pid


def finish(pid: int) -> None:
    _, status = os.waitpid(pid, 0)
    assert status == 0, status


def in_this_process(function, items, *args, prepare=None, **kwargs):
    return [function(item, prepare(item)) if prepare else function(item) for item in items]


worker_process.START_METHOD = "fork"
caller = module if hasattr(module, "run_all") else clip_arrays if hasattr(module, "compute_clips") else None
if caller:  # once in this process, so that its forks find the weights loaded
    run_all, caller.run_all = caller.run_all, in_this_process
    assert command.main(["--corpus", "c", "--root", str(root)]) == 0
    caller.run_all = run_all
    wipe()
begun = time.monotonic()
finish(start())
seconds = time.monotonic() - begun
expected = published()
wipe()

rng, killed, finished, wrong = random.Random(seed), 0, 0, []
while killed < kills:
    pid, delay = start(), rng.uniform(0, seconds)
    time.sleep(delay)
    os.kill(pid, signal.SIGKILL)
    _, status = os.waitpid(pid, 0)
    if os.WIFSIGNALED(status):
        killed += 1
        if rng.random() < 0.3:  # as DVC does before it runs a stage again
            shutil.rmtree(outs, ignore_errors=True)
        if killed % 5:
            continue
        finish(start())
    finished += 1
    if published() != expected:
        wrong.append({"after": killed, "found": sorted(published()), "expected": sorted(expected)})
    wipe()
print(json.dumps({"kills": killed, "finished": finished, "seconds": seconds, "wrong": wrong, "files": len(expected)}))
