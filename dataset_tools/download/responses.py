"""HTTP requests whose responses are limited in time and size."""

from collections.abc import Callable

from yt_dlp.networking import Response
from yt_dlp.networking.exceptions import HTTPError

from dataset_tools.download import dash
from dataset_tools.download.errors import Refused, TooSlow
from dataset_tools.lib.core.call_timeouts import call_with_timeout, with_read_timeout
from dataset_tools.lib.core.limits import ANSWER_BYTES, MANIFEST_FRAGMENTS, PAGE_BYTES

BLOCK_BYTES = 1 << 20  # bytes of a page that are read at once


def request_bounded(ask: Callable[[], Response], seconds: float, on_refusal: Callable[[Refused], None]) -> Response:
    """The response of the request `ask`. Raises TooSlow if its headers, or later a read of it, take longer than `seconds`. The
    response of an HTTPError, which yt-dlp reads too, is limited in the same way.

    `read()` without a size refuses more than `ANSWER_BYTES`, and a manifest with more than `MANIFEST_FRAGMENTS` fragments, because
    yt-dlp would list them all. If yt-dlp has read a part of the response before (as of the address itself), Refused is raised.
    Otherwise (as of one manifest among other formats) the refusal is passed to `on_refusal`, and yt-dlp gets empty bytes.
    """
    try:
        return _bound_reads(call_with_timeout(seconds, ask), seconds, on_refusal)
    except TimeoutError as err:
        raise TooSlow("transient", f"{err}; run again later") from None
    except HTTPError as err:
        _bound_reads(err.response, seconds, on_refusal)
        raise


def _bound_reads(answer: Response, seconds: float, on_refusal: Callable[[Refused], None]) -> Response:
    read, head = with_read_timeout(answer.read, seconds, answer.fp), bytearray()

    def read_some(amt: int) -> bytes:
        try:
            return read(amt)
        except TimeoutError as err:
            raise TooSlow("transient", f"{err}; run again to go on") from None

    def read_bounded(amt: int | None = None) -> bytes:
        if amt is not None:
            part = read_some(amt)
            head.extend(
                part if len(head) < PAGE_BYTES else b""
            )  # yt-dlp reads the first bytes of a page before the rest
            return part
        data = bytearray()
        while len(data) <= ANSWER_BYTES and (block := read_some(BLOCK_BYTES)):
            data += block
        refusal = None
        if len(data) > ANSWER_BYTES:
            refusal = f"a page, playlist or manifest of over {ANSWER_BYTES >> 20} MiB came instead of a video, or an endless one"
        elif (count := dash.count_fragments(bytes(head + data))) > MANIFEST_FRAGMENTS:
            refusal = f"its manifest declares {count:.0f} fragments, but at most {MANIFEST_FRAGMENTS} are allowed"
        if not refusal:
            return bytes(data)
        if head:
            raise Refused("permanent", refusal)
        on_refusal(Refused("permanent", refusal))
        return b""

    answer.read = read_bounded
    return answer
