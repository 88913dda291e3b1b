"""Options for yt-dlp. By default, as a library it does not retry and drops missing fragments."""

import atexit
import io
import os
import re
import shutil
import tempfile
from functools import cache
from pathlib import Path
from typing import Protocol

from yt_dlp import YoutubeDL
from yt_dlp.utils import YoutubeDLError

from dataset_tools.download.formats import FORMAT, sort_keys
from dataset_tools.lib.core.errors import UserError
from dataset_tools.lib.parallel.orphans import write_guarded_program

NETSCAPE = re.compile(r"#( Netscape)? HTTP Cookie File")
"""In the first line of a cookie file."""
COOKIE_COLUMNS = 7


class Settings(Protocol):
    """The parameters of `download` that fetching depends on."""

    max_height: int
    format: str
    retries: int
    retry_wait: float
    socket_timeout: float
    sleep_requests: float
    sleep_min: float
    sleep_max: float
    cookies_from_browser: str
    max_gb: float


class _SilentLogger:
    """Logger that drops yt-dlp's messages: its exceptions are enough, and messages would break up the progress bar."""

    def debug(self, message: str) -> None: ...

    info = warning = error = debug


@cache
def _ffmpeg(_process: int) -> str:
    """Path of an FFmpeg program for yt-dlp that ends together with this process; otherwise it might record a stream for minutes."""
    import imageio_ffmpeg

    folder = tempfile.mkdtemp()
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return write_guarded_program(imageio_ffmpeg.get_ffmpeg_exe(), Path(folder))


def ydl_options(settings: Settings, folder: Path, *, local: bool) -> dict:
    """Options of yt-dlp for a download into `folder`. local: nothing is requested from the web."""
    wait, browser = settings.retry_wait, settings.cookies_from_browser
    return {
        "format": settings.format or FORMAT,
        "format_sort": sort_keys(settings.max_height),
        "merge_output_format": "mp4/mkv",
        "ffmpeg_location": _ffmpeg(os.getpid()),
        "outtmpl": {"default": str(folder / "video.%(ext)s")},
        "noplaylist": True,
        "hls_prefer_native": True,
        "compat_opts": {"no-direct-merge"},
        "ignoreerrors": False,
        "retries": settings.retries,
        "fragment_retries": settings.retries,
        "extractor_retries": min(3, settings.retries),
        "file_access_retries": 3,
        "retry_sleep_functions": {kind: lambda n: min(30, wait * 2**n) for kind in ("http", "fragment", "extractor")},
        "skip_unavailable_fragments": False,
        "continuedl": True,
        "overwrites": False,
        "updatetime": False,
        "buffersize": 1 << 21,  # on a slow connection a read returns less (`lib.core.call_timeouts`)
        "noresizebuffer": True,
        "socket_timeout": settings.socket_timeout,
        "sleep_interval_requests": 0 if local else settings.sleep_requests,
        "sleep_interval": 0 if local else settings.sleep_min,
        "max_sleep_interval": 0 if local else settings.sleep_max,
        "cookiesfrombrowser": (browser,) if browser and not local else None,
        "cachedir": False,
        "quiet": True,
        "no_warnings": True,
        "noprogress": True,
        "color": "no_color",
        "logger": _SilentLogger(),
    }


def check_settings(settings: Settings, cookies: Path | None, *, local: bool) -> None:
    """Raise UserError for a setting that would make every video fail: an invalid format expression, unreadable cookies."""
    with tempfile.TemporaryDirectory() as folder:
        try:
            with YoutubeDL(ydl_options(settings, Path(folder), local=local) | read_cookies(cookies)) as ydl:
                ydl.cookiejar  # noqa: B018 - this property reads the cookies
        except SyntaxError as err:
            raise UserError(f"download.format: {str(err.msg).splitlines()[0]}, found '{settings.format}'") from None
        except YoutubeDLError as err:
            reason = str(err).removeprefix("ERROR: ")
            if cookies:
                raise UserError(f"download.cookies_file: {reason}") from None
            raise UserError(f"download.cookies_from_browser: {reason}") from None


class _CookieText(io.StringIO):
    """The text of a cookie file, in place of the file."""

    def __init__(self, path: Path):
        text = path.read_text(encoding="utf-8", errors="replace")
        _check_cookies(text, path.name)
        super().__init__(text)
        self._name = path.name

    def __repr__(self) -> str:  # yt-dlp's messages have it
        return repr(self._name)


def _check_cookies(text: str, name: str) -> None:
    """Raise UserError for a file of another kind, and for a line that yt-dlp would skip: its warning would show the cookie."""
    lines = text.split("\n")
    if not NETSCAPE.search(lines[0]):
        raise UserError(f"download.cookies_file: '{name}' does not look like a Netscape format cookies file")
    for number, line in enumerate(lines, start=1):
        line = line.removeprefix("#HttpOnly_")
        columns = line.split("\t")
        good = len(columns) == COOKIE_COLUMNS and re.fullmatch(r"([0-9]+(\.[0-9]+)?)?", columns[4])
        if line.strip() and not line.startswith("#") and not good:
            raise UserError(
                f"download.cookies_file: {name}, line {number}: must be {COOKIE_COLUMNS} columns with tabs between them, the fifth a number, "
                f"found {len(columns)} column{'s' * (len(columns) != 1)}"
            )


def read_cookies(cookies: Path | None) -> dict:
    """Options for one YoutubeDL with the text of the cookie file: yt-dlp would write to the user's file, and a killed process would leave a
    copy behind."""
    return {"cookiefile": _CookieText(cookies)} if cookies else {}
