"""Waits that come to an end: a byte now and then keeps a connection, and whoever waits for it, for ever."""

import math
import queue
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import TypeVar

from urllib3 import HTTPResponse

PIECES, SHARE = (1 << 14, 1 << 18), 8
"""Bytes that are read at once: one part in `SHARE` of what has come, in these bounds. A broken connection loses no more."""
LULL = 1.0  # seconds after which a read gives what it has
Outcome = TypeVar("Outcome")


def in_time(seconds: float, function: Callable[..., Outcome], *args) -> Outcome:
    """function(*args), from a thread of its own: raises TimeoutError where it takes over `seconds`. The thread is left behind
    then, for nothing ends a wait for a server from outside; it ends with the connection, or with this process."""
    done: queue.SimpleQueue = queue.SimpleQueue()

    def work() -> None:
        try:
            done.put((function(*args), None))
        except BaseException as err:  # noqa: BLE001 - it is raised below, in the thread that asked
            done.put((None, err))

    threading.Thread(target=work, daemon=True).start()
    try:
        value, error = done.get(timeout=seconds)
    except queue.Empty:
        raise TimeoutError(f"timed out: not there after {seconds:g} s") from None
    if error is not None:
        raise error
    return value


def patient(read: Callable[[int], bytes], seconds: float, answer: object = None) -> Callable[[int | None], bytes]:
    """`read` of an answer, which raises TimeoutError where a piece of what it is asked for has not come after `seconds`, however
    many bytes have: sockets know only the time between two of them. It gives fewer bytes where they come slowly: after `LULL`
    seconds what is there, at least a piece. Before any error it gives what came, and raises it at the next read. None or less
    than 0 bytes: all there are. `answer` is the one that is read from: urllib3's
    own is shut where it was waited for in vain, for to close it would wait for the thread that reads."""
    failed: Exception | None = None
    came = 0

    def reading(amt: int | None = None) -> bytes:
        nonlocal failed
        if failed is not None:
            raise failed
        parts: list[bytes] = []
        until = time.monotonic() + LULL

        def gather() -> None:
            nonlocal came
            left = math.inf if amt is None or amt < 0 else amt
            while (
                left > 0
                and failed is None
                and (part := read(int(min(max(PIECES[0], min(came // SHARE, PIECES[1])), left))))
            ):
                parts.append(part)
                came += len(part)
                left -= len(part)
                if left < math.inf and time.monotonic() > until:
                    break

        try:
            in_time(seconds, gather)
        except Exception as err:
            failed = err
            if isinstance(err, TimeoutError) and isinstance(answer, HTTPResponse):
                with suppress(OSError, ValueError, RuntimeError):  # closed by now
                    answer.shutdown()
            if not parts:
                raise
        return b"".join(parts)

    return reading
