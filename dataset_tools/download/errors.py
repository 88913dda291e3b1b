"""What an address can lead to in place of one whole film, as exceptions."""

import html
import re

from dataset_tools.lib.core.errors import UserError

MAX_MESSAGE = 400  # letters: a longer text is a whole site, with "log in" and "cookies" on every page


class NotAVideo(UserError):
    """What came is a page, a playlist or a broken file in place of a video; `text` is its text, if it is one."""

    def __init__(self, message: str, text: str = ""):
        super().__init__(message)
        self.text = text

    def __reduce__(self):
        return type(self), (str(self), self.text)


class Incomplete(Exception):
    """What came ends before the video does."""


class Refused(UserError):
    """What an address offers is known, and is not one film with its own sound: a list, a live stream, sound that belongs to
    something else. `status` is the row's."""

    def __init__(self, status: str, message: str):
        super().__init__(message)
        self.status = status

    def __reduce__(self):
        return type(self), (self.status, str(self))


class TooSlow(Refused):
    """It comes so slowly that it is not waited for any longer in this run; what came of it stays."""


class TooLarge(Refused):
    """It is larger than `download.max_gb` allows, which may be raised."""


def describe_non_video(head: bytes) -> NotAVideo:
    """The error for bytes that are no video: quotes a page's title, else how they begin."""
    text = head.decode("utf-8", errors="replace")
    title = re.search(r"<title[^>]*>(.*?)</title", text, re.DOTALL | re.IGNORECASE)
    visible = re.sub(r"<(script|style)\b.*?</\1\s*>|<[^>]*>", " ", text, flags=re.DOTALL | re.IGNORECASE)
    if "\0" in text or text.count("\ufffd") > len(text) / 10:
        visible = ""
    quoted = _one_line(title[1] if title else visible) or _one_line(head[:40].decode("latin-1"))
    what = "a page or a message came in its place" if visible.strip() else "it starts with"
    text = (title[1] if title else "") + (visible if len(visible) < MAX_MESSAGE else "")
    if not quoted:
        return NotAVideo(
            f"not a video: it starts with the bytes {head[:8].hex(' ')}" if head else "not a video: it is empty", text
        )
    return NotAVideo(f"not a video: {what}: '{quoted[:80]}'", text)


def _one_line(text: str) -> str:
    return re.sub(r"[^ -~]+", " ", " ".join(html.unescape(text).split())).strip()
