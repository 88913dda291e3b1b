"""Answers of servers that come to an end: a byte now and then keeps a connection, and whoever reads from it, for ever."""

import time

from urllib3 import HTTPResponse
from urllib3.exceptions import ProtocolError


def with_patience(answer: HTTPResponse, seconds: float) -> None:
    """Make `answer.read(amt)` raise urllib3's ProtocolError where what it is asked for has not come after `seconds`, however
    many bytes have: sockets know only the time between two of them."""

    def read(amt: int | None = None, decode_content: bool | None = None, cache_content: bool = False) -> bytes:
        until, parts, left = time.monotonic() + seconds, [], amt
        while left is None or left > 0:
            part = answer.read1(left, decode_content)
            if not part:
                break
            parts.append(part)
            left = None if left is None else left - len(part)
            if left != 0 and time.monotonic() > until:
                raise ProtocolError(f"timed out: {sum(map(len, parts))} bytes in {seconds:g} s")
        return b"".join(parts)

    answer.read = read
