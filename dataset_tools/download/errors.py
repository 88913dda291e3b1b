"""Exceptions for addresses that do not lead to one complete video."""

import html
import re

from dataset_tools.lib.core.errors import UserError

MAX_MESSAGE = 400  # letters; a longer text is an ordinary page, which may say "log in" and "cookies" anywhere


class NotAVideo(UserError):
    """A web page, a playlist or a broken file came instead of a video. `text` is the text of a page."""

    def __init__(self, message: str, text: str = ""):
        super().__init__(message)
        self.text = text

    def __reduce__(self):
        return type(self), (str(self), self.text)


class Incomplete(Exception):
    """The file ends before the video does."""


class Refused(UserError):
    """The address does not lead to one video with its own audio, but for example to a list, a live stream, or audio of something else.
    `status` is the status of the row."""

    def __init__(self, status: str, message: str):
        super().__init__(message)
        self.status = status

    def __reduce__(self):
        return type(self), (self.status, str(self))


class TooSlow(Refused):
    """The download is too slow to be finished in this run. The bytes received so far are kept."""


class TooLarge(Refused):
    """The video is larger than `download.max_gb`."""


def describe_non_video(head: bytes) -> NotAVideo:
    """The exception for bytes that are not a video. It quotes the title of a page, or the first bytes."""
    page = head.decode("utf-8", errors="replace")
    title = re.search(r"<title[^>]*>(.*?)</title", page, re.DOTALL | re.IGNORECASE)
    visible = re.sub(r"<(script|style)\b.*?</\1\s*>|<[^>]*>", " ", page, flags=re.DOTALL | re.IGNORECASE)
    if "\0" in page or page.count("\ufffd") > len(page) / 10:
        visible = ""
    quoted = _one_line(title[1] if title else visible) or _one_line(head[:40].decode("latin-1"))
    what = "a web page or a message came instead" if visible.strip() else "it starts with"
    text = (title[1] if title else "") + (visible if len(visible) < MAX_MESSAGE else "")
    if not quoted:
        return NotAVideo(
            f"not a video: it starts with the bytes {head[:8].hex(' ')}" if head else "not a video: it is empty", text
        )
    return NotAVideo(f"not a video: {what}: '{quoted[:80]}'", text)


def _one_line(text: str) -> str:
    return re.sub(r"[^ -~]+", " ", " ".join(html.unescape(text).split())).strip()
