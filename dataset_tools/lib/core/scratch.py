"""Folders for files that are needed only for a moment. Those of killed processes are removed by the next process that needs one."""

import os
import re
import shutil
import socket
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path


@contextmanager
def scratch_folder() -> Iterator[Path]:
    """Yield a new empty folder among the system's temporary files ($TMPDIR), which is removed afterwards with all that it holds."""
    start = f"d2m-{socket.gethostname()}-"
    _remove_left_over(start)
    with tempfile.TemporaryDirectory(prefix=f"{start}{os.getpid()}-", ignore_cleanup_errors=True) as folder:
        yield Path(folder)


@cache
def _remove_left_over(start: str) -> None:
    of_this_machine = re.compile(rf"{re.escape(start)}(\d+)-[^-]+", re.ASCII)  # and not of one called <this machine>-2
    for folder in Path(tempfile.gettempdir()).glob(f"{start}*-*"):
        match = of_this_machine.fullmatch(folder.name)
        if match and not is_alive(int(match[1])):
            shutil.rmtree(folder, ignore_errors=True)


def is_alive(pid: int) -> bool:
    """Whether a process of this machine has the number `pid`."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # a process of another user
        return True
    return True
