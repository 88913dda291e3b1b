"""Processes that end with the one that started them, even where that is killed by SIGKILL, and at any instant.

Pipes do not tell: other children of the parent may hold their other ends. What tells on every Unix is the parent's process
id, which a child can know before it starts: once the parent is gone, `os.getppid()` is another. As a script, which
`with_this_process` calls, this file runs a command: `orphans.py PARENT COMMAND [ARGUMENT ...]`.
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

_importing = False  # whether this is a process of `start` that is importing the main module
_hiding = threading.Lock()


def end_with_parent(parent: int) -> None:
    """Kill this process as soon as the process `parent`, which started it, is gone: at once where it is gone already.

    A thread looks at the parent's id. Linux also sends the signal by itself, however long other code holds Python's lock.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    threading.Thread(target=_watch, args=(parent, partial(os.kill, os.getpid(), signal.SIGKILL)), daemon=True).start()


def end_loader_worker_with_parent(_worker: int) -> None:
    """`worker_init_fn` of a torch DataLoader, whose workers by themselves look at their parent every 5 s."""
    parent = multiprocessing.parent_process()
    assert parent is not None and parent.pid is not None
    end_with_parent(parent.pid)


def start(method: str, target: Callable, *args) -> BaseProcess:
    """Start a process that calls target(*args) and ends with this one; `method` is "spawn", "fork" or "forkserver", whose
    processes end with multiprocessing's server, and that with this one.

    multiprocessing lets a spawned process import the main module, with all that this imports, before it calls anything. Here
    the process guards itself first. Raises RuntimeError for a main module that starts processes when it is imported.
    """
    if _importing:
        raise RuntimeError(
            'the main module starts processes when it is imported: put that under `if __name__ == "__main__":`'
        )
    context: Any = multiprocessing.get_context(method)
    if method == "fork":
        process = context.Process(target=_run, args=(os.getpid(), (target, args)), daemon=True)
        process.start()
        return process
    with _main_hidden() as main:
        parent = 0 if method == "forkserver" else os.getpid()
        process = context.Process(target=_run_fresh, args=(parent, main, _Packed((target, args))), daemon=False)
        process.start()
    return process


def with_this_process(program: str, folder: Path) -> str:
    """Path of a program in `folder` that does what `program` does and ends with this process: for libraries that start
    what a path names. `program` itself where nothing in `folder` may be executed (noexec). POSIX only."""
    path = folder / Path(program).name
    words = (sys.executable, "-I", "-S", __file__, str(os.getpid()), program)
    path.write_text(f'#!/bin/sh\nexec {shlex.join(words)} "$@"\n', encoding="utf-8")
    path.chmod(0o700)
    return str(path) if os.access(path, os.X_OK) else program


def _watch(parent: int, end: Callable[[], None]) -> None:
    while os.getppid() == parent:
        time.sleep(POLL)
    end()


def _run(parent: int, call: tuple[Callable, tuple]) -> None:
    end_with_parent(parent)
    target, args = call
    target(*args)


def _run_fresh(parent: int, main: dict, packed: bytes) -> None:
    global _importing
    end_with_parent(parent or os.getppid())
    _importing = True
    spawn.prepare(main)
    _importing = False
    target, args = pickle.loads(packed)
    target(*args)


class _Packed:
    """What arrives in a spawned process as bytes: its parts may be of the main module, which is not there yet."""

    def __init__(self, parts: tuple):
        self._parts = parts

    def __reduce__(self):
        buffer = io.BytesIO()
        reduction.dump(self._parts, buffer)
        return bytes, (buffer.getvalue(),)


@contextmanager
def _main_hidden() -> Iterator[dict]:
    """The main module without a name or file, so that a spawned process does not import it by itself. Yields what
    `spawn.prepare` needs to import it."""
    with _hiding:
        data = spawn.get_preparation_data("")
        names = vars(sys.modules["__main__"])
        hidden: dict[str, Any] = {name: names[name] for name in ("__spec__", "__file__") if name in names}
        names.update(dict.fromkeys(hidden))
        try:
            yield {key: value for key, value in data.items() if key.startswith("init_main")}
        finally:
            names.update(hidden)


if __name__ == "__main__":
    child = subprocess.Popen(sys.argv[2:])
    threading.Thread(target=_watch, args=(int(sys.argv[1]), child.kill), daemon=True).start()
    sys.exit(child.wait())
