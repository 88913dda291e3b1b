"""What a site answers, with an end: however slowly it comes, however long it is, whatever it names."""

from collections.abc import Callable

from yt_dlp.networking import Response
from yt_dlp.networking.exceptions import HTTPError

from dataset_tools.download import dash
from dataset_tools.download.errors import Refused, TooSlow
from dataset_tools.lib.core.limits import ANSWER_BYTES, MANIFEST_FRAGMENTS, PAGE_BYTES
from dataset_tools.lib.core.timeouts import call_with_timeout, with_read_timeout

BLOCK_BYTES = 1 << 20  # bytes of a page that are read at a time


def request_bounded(ask: Callable[[], Response], seconds: float, on_refusal: Callable[[Refused], None]) -> Response:
    """The answer that `ask` gets, whose head and each read of which come within `seconds` seconds: else TooSlow is raised. An
    HTTPError's answer, which yt-dlp reads too, is bounded likewise.

    `read()` of all there is refuses more than `ANSWER_BYTES`, and a manifest that names more than `MANIFEST_FRAGMENTS`: yt-dlp would
    list them before anybody could ask. Where it has begun to read, as of the address itself, Refused is raised; else, as of one
    manifest among other formats, `on_refusal` is told and yt-dlp gets nothing of it.
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
            data = read_some(amt)
            head.extend(
                data if len(head) < PAGE_BYTES else b""
            )  # yt-dlp looks at the first bytes of a page before it reads the rest
            return data
        data = bytearray()
        while len(data) <= ANSWER_BYTES and (block := read_some(BLOCK_BYTES)):
            data += block
        refusal = None
        if len(data) > ANSWER_BYTES:
            refusal = f"a page, playlist or manifest of over {ANSWER_BYTES >> 20} MiB came in place of a video, or one without end"
        elif (count := dash.count_fragments(bytes(head + data))) > MANIFEST_FRAGMENTS:
            refusal = f"its manifest names {count:.0f} pieces, at most {MANIFEST_FRAGMENTS} are taken"
        if not refusal:
            return bytes(data)
        if head:
            raise Refused("permanent", refusal)
        on_refusal(Refused("permanent", refusal))
        return b""

    answer.read = read_bounded
    return answer
