"""Classify failed downloads by the types of yt-dlp's exceptions and by HTTP status, and by words only if a site refuses with
"200 OK"."""

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

from dataset_tools.download.errors import Incomplete, NotAVideo, Refused
from dataset_tools.lib.core.errors import UserError, describe_disk_error
from dataset_tools.lib.video.media import NotEnoughMemory

BY_TYPE = {
    UserNotLive: "transient", ContentTooShortError: "transient", GeoRestrictedError: "permanent", UnsupportedError: "permanent",
    PostProcessingError: "failed",
}  # fmt: skip
BY_HTTP_STATUS = {401: "auth", 402: "auth", 407: "auth", 404: "permanent", 410: "permanent", 451: "permanent"}
# For sites that answer 200 and describe the error in words. The words are those of yt-dlp or of the site.
ROBOT = ("captcha", "not a bot", "not a robot", "are human", "rate-limit", "rate limit", "too many requests", "unusual traffic",
         "10204")  # fmt: skip
TRANSIENT = (*ROBOT, "try again", "maintenance", "temporarily", "all player responses are invalid",
             "requested format is not available")  # fmt: skip
AUTH = ("sign in", "log in", "login", "cookies", "members-only", "age-restricted", "10216", "10222")
PERMANENT = ("unsupported url", "drm", "private video", "removed", "terminated", "not available in your country",
             "video unavailable", "no longer available", "does not exist", "copyright")  # fmt: skip
RUNTIME = "YouTube needs a JavaScript runtime, and yt-dlp finds none: make install installs deno (or pip install 'yt-dlp[deno]')"
NETWORK = "check the network and the proxy"
GONE = ("not found", "404", "gone", "deleted", "unavailable")  # in a page that was sent instead of a video


def classify(error: BaseException) -> tuple[str, str]:
    """(status, one-line reason) of an exception of `fetch`.

    permanent: trying again will not help. auth: needs an account. failed: this machine (disk, rights). transient: anything else,
    also unknown errors, because trying again costs little and giving up a video costs the video.
    """
    reason = re.sub(r"^(ERROR: )?(\[[\w:+-]+\] )?", "", " ".join(str(error).split()))
    reason = re.sub(r"; please report this issue on .*| \(caused by .*\)$", "", reason)
    if isinstance(error, Refused):
        return error.status, reason
    if isinstance(error, (MemoryError, NotEnoughMemory)):
        return "failed", reason or "there is not enough memory"
    if isinstance(error, NotAVideo):
        for status, said in (("transient", TRANSIENT), ("permanent", (*PERMANENT, *GONE)), ("auth", AUTH)):
            if _contains_any(error.text.lower(), said):
                return status, reason
        return "permanent", reason
    chain = list(iterate_causes(error))
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
        if trouble := describe_disk_error(cause, full_path=False):
            return "failed", trouble
    for cause in chain:
        if found := next((status for kind, status in BY_TYPE.items() if isinstance(cause, kind)), None):
            return found, reason
    words = reason.lower()
    if "requested format" in words and not has_runtime():
        reason += f"; {RUNTIME}"
    phrases: dict[str, Sequence[str]] = {"transient": TRANSIENT, "auth": AUTH, "permanent": PERMANENT}
    for status, listed in phrases.items():
        if _contains_any(words, listed):
            return status, reason
    if not isinstance(error, (YoutubeDLError, UserError, Incomplete, OSError)):
        reason = f"yt-dlp can't read the site's answer ({type(error).__name__}: {reason[:200]}); a newer yt-dlp may: make update-yt-dlp"
    return "transient", reason


def advice_for_site(error: BaseException) -> str:
    """Advice about a failure that would hit other videos of the site too (no network, no JavaScript runtime, protection against
    robots); '' for a failure of this video only."""
    chain = list(iterate_causes(error))
    words = f"{error} {getattr(error, 'text', '')}".lower()
    if any(isinstance(cause, HTTPError) and cause.status == 429 for cause in chain) or _contains_any(words, ROBOT):
        return "the site takes this machine for a robot: set download.cookies_from_browser (or cookies_file), or wait an hour"
    if "impersonat" in words:
        return "the site lets only browsers in: make install installs what makes yt-dlp look like one (or pip install 'yt-dlp[curl-cffi]')"
    if "requested format" in words and not has_runtime():
        return RUNTIME
    if any(isinstance(cause, TransportError) and not isinstance(cause, IncompleteRead) for cause in chain):
        return NETWORK
    return ""


def _contains_any(text: str, words: Iterable[str]) -> bool:
    """Whether one of `words` is in the text. A number must stand alone, because ids of videos contain any digits."""
    return any(re.search(rf"(?<!\d){word}(?!\d)", text) if word.isdigit() else word in text for word in words)


@cache
def has_runtime() -> bool:
    """Whether yt-dlp finds a JavaScript runtime, in this environment's folder of programs or on PATH."""
    info = supported_js_runtimes.value["deno"]().info
    return bool(info and info.supported)


def lacks_runtime(urls: Iterable[str]) -> bool:
    """Whether one of the addresses is YouTube's and there is no JavaScript runtime, which yt-dlp needs for it."""

    def youtube(url: str) -> bool:
        try:
            return YoutubeIE.suitable(url)
        except ValueError:  # a malformed address
            return False

    return any(map(youtube, urls)) and not has_runtime()


def iterate_causes(error: BaseException) -> Iterator[BaseException]:
    """Yield the error and all its causes, in the ways in which yt-dlp nests them."""
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
