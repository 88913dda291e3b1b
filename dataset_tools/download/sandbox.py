"""Read untrusted media files in a process with limited time and memory, because FFmpeg may exhaust both on a hostile file."""

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from dataset_tools.download.errors import Refused
from dataset_tools.lib.core.limits import SCAN_BYTES_PER_SECOND, SCAN_MEMORY, SCAN_SECONDS
from dataset_tools.lib.parallel.worker_process import ProcessLost
from dataset_tools.lib.parallel.workers import call_in_process

Outcome = TypeVar("Outcome")


def run_sandboxed(function: Callable[..., Outcome], *args, extra_seconds: float = 0.0) -> Outcome:
    """function(*args), called in a process with `SCAN_MEMORY` bytes of memory and a time limit that depends on the size of the files
    among `args` (paths and lists of paths), plus `extra_seconds`.

    Raises whatever the function raises, and Refused if the process exceeds a limit or dies.
    """
    paths = [
        path for arg in args for path in (arg if isinstance(arg, (list, tuple)) else [arg]) if isinstance(path, Path)
    ]
    size = sum(path.stat().st_size for path in paths if path.is_file())
    try:
        return call_in_process(
            function,
            *args,
            timeout=round(SCAN_SECONDS + size / SCAN_BYTES_PER_SECOND + extra_seconds),
            memory=SCAN_MEMORY,
        )
    except ProcessLost as err:
        raise Refused("failed", f"can't be read to its end: {err}") from None
    except MemoryError:
        raise Refused("failed", f"can't be read in {SCAN_MEMORY >> 30} GiB of memory") from None
