"""What a site answers, with an end: however slowly it comes, however long it is, whatever it names."""

from collections.abc import Callable

from yt_dlp.networking import Response
from yt_dlp.networking.exceptions import HTTPError

from dataset_tools.download import dash
from dataset_tools.download.no_film import Refused, TooSlow
from dataset_tools.lib.core.limits import ANSWER_BYTES, MANIFEST_PIECES, PAGE_BYTES
from dataset_tools.lib.core.patience import in_time, patient

BLOCK = 1 << 20  # bytes of a page that are read at a time


def asked(ask: Callable[[], Response], patience: float, beside: Callable[[Refused], None]) -> Response:
    """The answer that `ask` gets, whose head and each read of which come within `patience` seconds: else TooSlow is raised. An
    HTTPError's answer, which yt-dlp reads too, is bounded likewise.

    `read()` of all there is refuses more than `ANSWER_BYTES`, and a manifest that names more than `MANIFEST_PIECES`: yt-dlp would
    list them before anybody could ask. Where it has begun to read, as of the address itself, Refused is raised; else, as of one
    manifest among other formats, `beside` is told and yt-dlp gets nothing of it.
    """
    try:
        return _with_an_end(in_time(patience, ask), patience, beside)
    except TimeoutError as err:
        raise TooSlow("transient", f"{err}; run again later") from None
    except HTTPError as err:
        _with_an_end(err.response, patience, beside)
        raise


def _with_an_end(answer: Response, patience: float, beside: Callable[[Refused], None]) -> Response:
    read, head = patient(answer.read, patience, answer.fp), bytearray()

    def some(amt: int) -> bytes:
        try:
            return read(amt)
        except TimeoutError as err:
            raise TooSlow("transient", f"{err}; run again to go on") from None

    def reading(amt: int | None = None) -> bytes:
        if amt is not None:
            part = some(amt)
            head.extend(
                part if len(head) < PAGE_BYTES else b""
            )  # yt-dlp looks at the first bytes of a page before it reads the rest
            return part
        data = bytearray()
        while len(data) <= ANSWER_BYTES and (block := some(BLOCK)):
            data += block
        refusal = None
        if len(data) > ANSWER_BYTES:
            refusal = f"a page, playlist or manifest of over {ANSWER_BYTES >> 20} MiB came in place of a video, or one without end"
        elif (count := dash.pieces(bytes(head + data))) > MANIFEST_PIECES:
            refusal = f"its manifest names {count:.0f} pieces, at most {MANIFEST_PIECES} are taken"
        if not refusal:
            return bytes(data)
        if head:
            raise Refused("permanent", refusal)
        beside(Refused("permanent", refusal))
        return b""

    answer.read = reading
    return answer
