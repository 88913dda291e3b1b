"""Start processes that end together with their parent, even if the parent is killed by SIGKILL at any instant.

A closed pipe is no reliable sign that the parent is gone, because its other children may hold the other end. The parent's
process id is reliable on every Unix: a child knows it before it starts, and once the parent is gone `os.getppid()` differs.

As a script, which `write_guarded_program` calls, this file runs a command: `orphans.py PARENT COMMAND [ARGUMENT ...]`.
"""

import ctypes
import io
import multiprocessing
import os
import pickle
import shlex
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from multiprocessing import reduction, spawn
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

PR_SET_PDEATHSIG = 1  # prctl(2): the signal that a process gets when its parent dies
POLL = 0.25  # s

_importing = False  # whether this process was started by `start_process` and is importing the main module
_hide_lock = threading.Lock()


def end_with_parent(parent: int) -> None:
    """Kill this process as soon as its parent process `parent` is gone; at once if it is gone already.

    A thread polls the parent's id. Linux also sends the signal by itself, even while other code holds Python's global lock.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    threading.Thread(
        target=_wait_for_parent_end, args=(parent, partial(os.kill, os.getpid(), signal.SIGKILL)), daemon=True
    ).start()


def end_loader_worker_with_parent(_worker: int) -> None:
    """`worker_init_fn` for a torch DataLoader, whose workers otherwise check for their parent only every 5 s."""
    parent = multiprocessing.parent_process()
    assert parent is not None and parent.pid is not None
    end_with_parent(parent.pid)


def start_process(method: str, target: Callable, *args) -> BaseProcess:
    """Start a process that calls target(*args) and ends together with this one.

    method: "spawn", "fork" or "forkserver". With the last, processes end with multiprocessing's server, which ends with this
    process.

    A spawned process of multiprocessing imports the main module, with all its imports, before it calls anything. Here the
    process calls `end_with_parent` before that. Raises RuntimeError for a main module that starts processes when imported.
    """
    refuse_while_importing()
    context: Any = multiprocessing.get_context(method)
    if method == "fork":
        process = context.Process(target=_run, args=(os.getpid(), (target, args)), daemon=True)
        process.start()
        return process
    with _hide_main_module() as main:
        parent = 0 if method == "forkserver" else os.getpid()
        process = context.Process(target=_run_spawned, args=(parent, main, _PickledCall((target, args))), daemon=False)
        process.start()
    return process


def main_module_data() -> dict:
    """What `import_main_module` needs to import this process's main module in another process."""
    return {key: value for key, value in spawn.get_preparation_data("").items() if key.startswith("init_main")}


def import_main_module(data: dict) -> None:
    """Import another process's main module as this one's, as multiprocessing does. It may not start processes meanwhile."""
    global _importing
    _importing = True
    spawn.prepare(data)
    _importing = False


def refuse_while_importing() -> None:
    """Raise RuntimeError if the main module is being imported in a process that was started for its functions."""
    if _importing:
        raise RuntimeError(
            'the main module starts processes when it is imported: put that under `if __name__ == "__main__":`'
        )


def write_guarded_program(program: str, folder: Path) -> str:
    """Write a script into `folder` that runs `program` and ends together with this process, and return its path. It is for libraries
    that start a program by its path.

    Returns `program` itself if files in `folder` may not be executed (noexec). POSIX only.
    """
    path = folder / Path(program).name
    words = (sys.executable, "-I", "-S", __file__, str(os.getpid()), program)
    path.write_text(f'#!/bin/sh\nexec {shlex.join(words)} "$@"\n', encoding="utf-8")
    path.chmod(0o700)
    return str(path) if os.access(path, os.X_OK) else program


def _wait_for_parent_end(parent: int, end: Callable[[], None]) -> None:
    while os.getppid() == parent:
        time.sleep(POLL)
    end()


def _run(parent: int, call: tuple[Callable, tuple]) -> None:
    end_with_parent(parent)
    target, args = call
    target(*args)


def _run_spawned(parent: int, main: dict, packed: bytes) -> None:
    end_with_parent(parent or os.getppid())
    import_main_module(main)
    target, args = pickle.loads(packed)
    target(*args)


class _PickledCall:
    """A call that arrives in a spawned process as bytes. It may refer to the main module, which is not imported there yet."""

    def __init__(self, parts: tuple):
        self._parts = parts

    def __reduce__(self):
        buffer = io.BytesIO()
        reduction.dump(self._parts, buffer)
        return bytes, (buffer.getvalue(),)


@contextmanager
def _hide_main_module() -> Iterator[dict]:
    """Hide the name and file of the main module, so that a spawned process does not import it by itself. Yields the data that
    `spawn.prepare` needs to import it later."""
    with _hide_lock:
        data = main_module_data()
        names = vars(sys.modules["__main__"])
        hidden: dict[str, Any] = {name: names[name] for name in ("__spec__", "__file__") if name in names}
        names.update(dict.fromkeys(hidden))
        try:
            yield data
        finally:
            names.update(hidden)


if __name__ == "__main__":
    child = subprocess.Popen(sys.argv[2:])
    threading.Thread(target=_wait_for_parent_end, args=(int(sys.argv[1]), child.kill), daemon=True).start()
    sys.exit(child.wait())
