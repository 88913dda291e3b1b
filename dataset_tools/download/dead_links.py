"""List videos that are gone or need an account, with links for a person who looks for copies."""

import re
from dataclasses import dataclass
from urllib.parse import parse_qs, quote_plus, urlsplit

from dataset_tools.lib.core.schema import Video

ADVICE = {
    "permanent": "find a copy (archive, search), put it beside the manifest and give its path as url",
    "auth": "set download.cookies_file to the cookies of an account that may see the video, then run again",
}


@dataclass(frozen=True, kw_only=True)
class DeadLink:
    """One row of download/dead_links.csv."""

    id: str
    status: str
    clips: int
    """Number of clips of the corpus that come from this video."""
    title: str
    """Title in the manifest, if any."""
    url: str
    archive: str
    """Address of the Internet Archive's list of copies of the page."""
    search: str
    """Address of a web search for the video's id or title."""
    advice: str
    reason: str


def make_dead_link(video: Video, status: str, reason: str, clips: int) -> DeadLink:
    """The row of a video with a web address. `status` is permanent or auth."""
    key = parse_qs(video.url.partition("?")[2].partition("#")[0]).get("v", [""])[0] or video.title or video.url
    return DeadLink(
        id=video.video_id, status=status, clips=clips, title=_text(video.title), url=_text(video.url),
        archive=f"https://web.archive.org/web/*/{video.url}", search="https://www.google.com/search?q=" + quote_plus(f'"{key}"'),
        advice=ADVICE[status], reason=_text(reason),
    )  # fmt: skip


def host_of(url: str) -> str:
    """Host of a web address; '' if it has none."""
    try:
        return urlsplit(url).hostname or ""
    except ValueError:
        return ""


def _text(value: str) -> str:
    """The text, quoted if a spreadsheet program would take it for a formula."""
    return f"'{value}" if re.match(r"[=+\-@\t\r]", value) else value
