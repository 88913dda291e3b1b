"""What a failed download means: from the types of yt-dlp's exceptions and HTTP's status, from words only where a site answers
"200 OK" to say no."""

import html
import re
import shutil
from collections.abc import Iterator

from yt_dlp.networking.exceptions import HTTPError, TransportError, UnsupportedRequest
from yt_dlp.utils import ContentTooShortError, GeoRestrictedError, PostProcessingError, UnsupportedError, UserNotLive

from dataset_tools.base.errors import UserError, disk_trouble

BY_TYPE = {
    UserNotLive: "transient", ContentTooShortError: "transient", GeoRestrictedError: "permanent", UnsupportedError: "permanent",
    PostProcessingError: "failed",
}  # fmt: skip
BY_HTTP_STATUS = {401: "auth", 402: "auth", 407: "auth", 404: "permanent", 410: "permanent", 451: "permanent"}
# Sites that answer 200 and say in words what is wrong; the words are yt-dlp's own or the site's.
TRANSIENT = ("captcha", "not a bot", "not a robot", "are human", "try again", "rate-limit", "rate limit", "too many requests",
             "unusual traffic", "maintenance", "temporarily", "10204", "all player responses are invalid",
             "requested format is not available")  # fmt: skip
AUTH = ("sign in", "log in", "login", "cookies", "members-only", "age-restricted", "10216", "10222")
PERMANENT = ("unsupported url", "drm", "private video", "removed", "terminated", "not available in your country",
             "video unavailable", "no longer available", "does not exist", "copyright")  # fmt: skip
GONE = ("not found", "404", "gone", "deleted", "unavailable")  # of a page that came in place of a video
PAGE_BYTES = 65536  # of a page in place of a video: enough for what it says
MESSAGE = 400  # letters: a longer text is a whole site, with "log in" and "cookies" on every page


class NotAVideo(UserError):
    """What came is a page, a playlist or a broken file in place of a video; `says` is its text, if it is one."""

    def __init__(self, message: str, says: str = ""):
        super().__init__(message)
        self.says = says


def in_place_of_a_video(head: bytes) -> NotAVideo:
    """The error for bytes that are no video: quotes a page's title, else how they begin."""
    text = head.decode("utf-8", errors="replace")
    title = re.search(r"<title[^>]*>(.*?)</title", text, re.DOTALL | re.IGNORECASE)
    visible = re.sub(r"<(script|style)\b.*?</\1\s*>|<[^>]*>", " ", text, flags=re.DOTALL | re.IGNORECASE)
    if "\0" in text or text.count("\ufffd") > len(text) / 10:
        visible = ""
    quoted = _one_line(title[1] if title else visible) or _one_line(head[:40].decode("latin-1"))
    what = "a page or a message came in its place" if visible.strip() else "it starts with"
    says = (title[1] if title else "") + (visible if len(visible) < MESSAGE else "")
    return NotAVideo(f"not a video: {what}: '{quoted[:80]}'" if quoted else "not a video: it is empty", says)


def _one_line(text: str) -> str:
    return re.sub(r"[^ -~]+", " ", " ".join(html.unescape(text).split())).strip()


def classify(error: BaseException) -> tuple[str, str]:
    """(status, one-line reason) of what `fetch` raised: by the type of what caused it, by words only where a site
    answers "200 OK" to say no.

    permanent: asking again is no use. auth: an account is needed. failed: this machine (disk, rights). transient: all
    else, the unknown too: trying again costs little, giving up a video for good does.
    """
    reason = re.sub(r"^(ERROR: )?(\[[\w:+-]+\] )?", "", " ".join(str(error).split()))
    reason = re.sub(r"; please report this issue on .*| \(caused by .*\)$", "", reason)
    if isinstance(error, NotAVideo):
        for status, said in (("transient", TRANSIENT), ("permanent", (*PERMANENT, *GONE)), ("auth", AUTH)):
            if any(word in error.says.lower() for word in said):
                return status, reason
        return "permanent", reason
    chain = list(causes(error))
    for cause in chain:
        if isinstance(cause, HTTPError):
            if cause.redirect_loop:
                return "permanent", f"{reason}: it redirects in circles"
            if cause.status == 403:
                reason += "; refused: wait, or try download.cookies_file"
            return BY_HTTP_STATUS.get(cause.status, "transient"), reason
        if isinstance(cause, TransportError):
            return "transient", reason
    if any(isinstance(cause, UnsupportedRequest) or "InvalidSchema" in type(cause).__name__ for cause in chain):
        return "permanent", f"{reason}: only http and https are followed"
    for cause in chain:
        if trouble := disk_trouble(cause, full_path=False):
            return "failed", trouble
    for cause in chain:
        if status := next((status for kind, status in BY_TYPE.items() if isinstance(cause, kind)), None):
            return status, reason
    words = reason.lower()
    if "requested format" in words and not shutil.which("deno"):
        reason += "; YouTube needs a JavaScript runtime: install deno"
    for status, said in (("transient", TRANSIENT), ("auth", AUTH), ("permanent", PERMANENT)):
        if any(word in words for word in said):
            return status, reason
    return "transient", reason


def causes(error: BaseException) -> Iterator[BaseException]:
    """The error and all that led to it, as yt-dlp nests them."""
    seen, queue = set(), [error]
    while queue:
        item = queue.pop(0)
        if item is None or id(item) in seen or not isinstance(item, BaseException):
            continue
        seen.add(id(item))
        yield item
        nested = getattr(item, "exc_info", None)
        queue += [item.__cause__, item.__context__, getattr(item, "cause", None), nested[1] if nested else None]
