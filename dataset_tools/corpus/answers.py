"""What a site answers, with an end: however slowly it comes, however long it is, whatever it names."""

from urllib3 import HTTPResponse
from yt_dlp.networking import Response

from dataset_tools.base.limits import ANSWER_BYTES, MANIFEST_PIECES, PAGE_BYTES
from dataset_tools.base.patience import with_patience
from dataset_tools.corpus import dash
from dataset_tools.corpus.no_film import Refused


def with_an_end(answer: Response, patience: float) -> Response:
    """The answer, each read of which ends after `patience` seconds (but where a browser is pretended, which has a limit of its
    own). Its `read()` of all there is raises Refused for more than `ANSWER_BYTES`, and for a manifest that names more than
    `MANIFEST_PIECES`: yt-dlp would list them before anybody could ask."""
    if isinstance(answer.fp, HTTPResponse):
        with_patience(answer.fp, patience)
    read, head = answer.read, bytearray()

    def whole(amt: int | None = None) -> bytes:
        if amt is not None:
            data = read(amt)
            head.extend(data if len(head) < PAGE_BYTES else b"")  # yt-dlp looks at the first bytes of a page before it reads the rest
            return data
        data = read(ANSWER_BYTES + 1)
        if len(data) > ANSWER_BYTES:
            raise Refused("permanent", f"a page of over {ANSWER_BYTES >> 20} MiB came in place of a video, or one without end")
        page = bytes(head) + data
        if b"<MPD" in page[:PAGE_BYTES] and (count := dash.pieces(page)) > MANIFEST_PIECES:
            raise Refused("permanent", f"its manifest names {count:.0f} pieces, at most {MANIFEST_PIECES} are taken")
        return data

    answer.read = whole
    return answer
