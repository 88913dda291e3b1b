"""Time limits for calls and reads. A socket's own timeout is not enough: one byte now and then keeps a connection alive for ever."""

import math
import queue
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import TypeVar

from urllib3 import HTTPResponse

CHUNK_BYTES, CHUNK_FRACTION = (1 << 14, 1 << 18), 8
"""Size of one read: the bytes received so far divided by `CHUNK_FRACTION`, within these bounds. A broken connection loses at most this."""
SLOW_SECONDS = 1.0  # a read returns what it has after this time
Outcome = TypeVar("Outcome")


def call_with_timeout(seconds: float, function: Callable[..., Outcome], *args) -> Outcome:
    """function(*args), called in a thread of its own. Raises TimeoutError if it takes longer than `seconds`.

    The thread is then left behind, because a wait for a server cannot be interrupted from outside. It ends with the
    connection or with this process.
    """
    answers: queue.SimpleQueue = queue.SimpleQueue()

    def call() -> None:
        try:
            answers.put((function(*args), None))
        except BaseException as err:  # noqa: BLE001 - raised again in the calling thread
            answers.put((None, err))

    threading.Thread(target=call, daemon=True).start()
    try:
        value, error = answers.get(timeout=seconds)
    except queue.Empty:
        raise TimeoutError(f"timed out: no answer after {seconds:g} s") from None
    if error is not None:
        raise error
    return value


def with_read_timeout(
    read: Callable[[int], bytes], seconds: float, answer: object = None
) -> Callable[[int | None], bytes]:
    """A function read(amt) that calls `read` and raises TimeoutError if a chunk has not arrived after `seconds`, even if single
    bytes keep coming.

    amt: bytes to read; None or a negative number reads to the end. On a slow connection it returns fewer bytes: what has
    arrived after `SLOW_SECONDS`, at least one chunk. If an error follows some bytes, it returns the bytes and raises the error
    at the next call.
    answer: the object that `read` belongs to. An HTTPResponse is shut down after a timeout, because closing it would wait for
    the thread that still reads.
    """
    failure: Exception | None = None
    received = 0

    def read_patiently(amt: int | None = None) -> bytes:
        nonlocal failure
        if failure is not None:
            raise failure
        parts: list[bytes] = []
        until = time.monotonic() + SLOW_SECONDS

        def gather() -> None:
            nonlocal received
            left = math.inf if amt is None or amt < 0 else amt
            while (
                left > 0
                and failure is None
                and (part := read(int(min(max(CHUNK_BYTES[0], min(received // CHUNK_FRACTION, CHUNK_BYTES[1])), left))))
            ):
                parts.append(part)
                received += len(part)
                left -= len(part)
                if left < math.inf and time.monotonic() > until:
                    break

        try:
            call_with_timeout(seconds, gather)
        except Exception as err:
            failure = err
            if isinstance(err, TimeoutError) and isinstance(answer, HTTPResponse):
                with suppress(OSError, ValueError, RuntimeError):  # closed by now
                    answer.shutdown()
            if not parts:
                raise
        return b"".join(parts)

    return read_patiently
