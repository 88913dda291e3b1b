"""What a failed download means: from the types of yt-dlp's exceptions and HTTP's status, from words only where a site answers
"200 OK" to say no."""

import re
from collections.abc import Iterable, Iterator, Sequence
from functools import cache

from yt_dlp.extractor import YoutubeIE
from yt_dlp.globals import supported_js_runtimes
from yt_dlp.networking.exceptions import HTTPError, IncompleteRead, TransportError, UnsupportedRequest
from yt_dlp.utils import (
    ContentTooShortError,
    GeoRestrictedError,
    PostProcessingError,
    UnsupportedError,
    UserNotLive,
    YoutubeDLError,
)

from dataset_tools.download.no_film import Incomplete, NotAVideo, Refused
from dataset_tools.lib.core.errors import UserError, disk_trouble
from dataset_tools.lib.video.media import NoMemory

BY_TYPE = {
    UserNotLive: "transient", ContentTooShortError: "transient", GeoRestrictedError: "permanent", UnsupportedError: "permanent",
    PostProcessingError: "failed",
}  # fmt: skip
BY_HTTP_STATUS = {401: "auth", 402: "auth", 407: "auth", 404: "permanent", 410: "permanent", 451: "permanent"}
# Sites that answer 200 and say in words what is wrong; the words are yt-dlp's own or the site's.
ROBOT = ("captcha", "not a bot", "not a robot", "are human", "rate-limit", "rate limit", "too many requests", "unusual traffic",
         "10204")  # fmt: skip
TRANSIENT = (*ROBOT, "try again", "maintenance", "temporarily", "all player responses are invalid",
             "requested format is not available")  # fmt: skip
AUTH = ("sign in", "log in", "login", "cookies", "members-only", "age-restricted", "10216", "10222")
PERMANENT = ("unsupported url", "drm", "private video", "removed", "terminated", "not available in your country",
             "video unavailable", "no longer available", "does not exist", "copyright")  # fmt: skip
RUNTIME = "YouTube needs a JavaScript runtime, and yt-dlp finds none: make install brings deno (or pip install 'yt-dlp[deno]')"
NETWORK = "check the network and the proxy"
GONE = ("not found", "404", "gone", "deleted", "unavailable")  # of a page that came in place of a video


def classify(error: BaseException) -> tuple[str, str]:
    """(status, one-line reason) of what `fetch` raised: by the type of what caused it, by words only where a site
    answers "200 OK" to say no.

    permanent: asking again is no use. auth: an account is needed. failed: this machine (disk, rights). transient: all
    else, the unknown too: trying again costs little, giving up a video for good does.
    """
    reason = re.sub(r"^(ERROR: )?(\[[\w:+-]+\] )?", "", " ".join(str(error).split()))
    reason = re.sub(r"; please report this issue on .*| \(caused by .*\)$", "", reason)
    if isinstance(error, Refused):
        return error.status, reason
    if isinstance(error, (MemoryError, NoMemory)):
        return "failed", reason or "there is not enough memory"
    if isinstance(error, NotAVideo):
        for status, said in (("transient", TRANSIENT), ("permanent", (*PERMANENT, *GONE)), ("auth", AUTH)):
            if _holds(error.says.lower(), said):
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
        if found := next((status for kind, status in BY_TYPE.items() if isinstance(cause, kind)), None):
            return found, reason
    words = reason.lower()
    if "requested format" in words and not has_runtime():
        reason += f"; {RUNTIME}"
    lists: dict[str, Sequence[str]] = {"transient": TRANSIENT, "auth": AUTH, "permanent": PERMANENT}
    for status, listed in lists.items():
        if _holds(words, listed):
            return status, reason
    if not isinstance(error, (YoutubeDLError, UserError, Incomplete, OSError)):
        reason = f"yt-dlp can't read what the site answers ({type(error).__name__}: {reason[:200]}); a newer one may: make update-yt-dlp"
    return "transient", reason


def hits_all(error: BaseException) -> str:
    """What to do about a failure that others of the same site would meet too (no network, no runtime, the site's guard against
    robots); empty where it is this video's own."""
    chain = list(causes(error))
    words = f"{error} {getattr(error, 'says', '')}".lower()
    if any(isinstance(cause, HTTPError) and cause.status == 429 for cause in chain) or _holds(words, ROBOT):
        return "the site takes this machine for a robot: set download.cookies_from_browser (or cookies_file), or wait an hour"
    if "impersonat" in words:
        return "the site lets browsers in alone: make install brings what looks like one (or pip install 'yt-dlp[curl-cffi]')"
    if "requested format" in words and not has_runtime():
        return RUNTIME
    if any(isinstance(cause, TransportError) and not isinstance(cause, IncompleteRead) for cause in chain):
        return NETWORK
    return ""


def _holds(text: str, words: Iterable[str]) -> bool:
    """Whether one of `words` is in the text; a number only as a whole, for ids of videos hold any."""
    return any(re.search(rf"(?<!\d){word}(?!\d)", text) if word.isdigit() else word in text for word in words)


@cache
def has_runtime() -> bool:
    """Whether yt-dlp finds a JavaScript runtime: it looks in the folder of this environment's programs first, then on PATH."""
    info = supported_js_runtimes.value["deno"]().info
    return bool(info and info.supported)


def lacks_runtime(urls: Iterable[str]) -> bool:
    """Whether one of the addresses is YouTube's, which yt-dlp can't read well without a JavaScript runtime, and there is none."""

    def youtube(url: str) -> bool:
        try:
            return YoutubeIE.suitable(url)
        except ValueError:  # no address at all
            return False

    return any(map(youtube, urls)) and not has_runtime()


def causes(error: BaseException) -> Iterator[BaseException]:
    """The error and all that led to it, as yt-dlp nests them."""
    seen = set()
    queue: list[BaseException | None] = [error]
    while queue:
        item = queue.pop(0)
        if item is None or id(item) in seen or not isinstance(item, BaseException):
            continue
        seen.add(id(item))
        yield item
        nested = getattr(item, "exc_info", None)
        queue += [item.__cause__, item.__context__, getattr(item, "cause", None), nested[1] if nested else None]
