"""Read untrusted media files in a process with limited time and memory, because FFmpeg may exhaust both on a hostile file."""

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from dataset_tools.download.errors import Refused
from dataset_tools.lib.core.limits import SCAN_BYTES_PER_SECOND, SCAN_MEMORY, SCAN_SECONDS
from dataset_tools.lib.parallel.workers import ProcessLost, call_in_process

Outcome = TypeVar("Outcome")


def look(function: Callable[..., Outcome], *args, more: float = 0.0) -> Outcome:
    """function(*args) in a process that may take `LOOK_BYTES` of memory and as long as the files among `args` (paths, lists of
    them) are large, and `more` seconds. Raises what it raises, Refused where the process takes longer, needs more memory or dies."""
    paths = [
        path for arg in args for path in (arg if isinstance(arg, (list, tuple)) else [arg]) if isinstance(path, Path)
    ]
    size = sum(path.stat().st_size for path in paths if path.is_file())
    try:
        return apart(function, *args, timeout=round(LOOK_SECONDS + size / LOOK_PACE + more), memory=LOOK_BYTES)
    except ProcessLost as err:
        raise Refused("failed", f"can't be read to its end: {err}") from None
    except MemoryError:
        raise Refused("failed", f"can't be read in {SCAN_MEMORY >> 30} GiB of memory") from None
