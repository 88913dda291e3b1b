"""yt-dlp's options, all that a data set relies on: as a library it retries nothing and drops missing fragments unless told otherwise."""

import atexit
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Protocol

from yt_dlp import YoutubeDL
from yt_dlp.utils import YoutubeDLError

from dataset_tools.download.formats import FORMAT, sort_keys
from dataset_tools.lib.core.errors import UserError
from dataset_tools.lib.parallel.orphans import write_guarded_program

_copies: set[str] = set()
"""Folders with cookies in use."""


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
    """yt-dlp's messages go nowhere: its exceptions say it all, and the progress bar stays whole."""

    def debug(self, message: str) -> None: ...

    info = warning = error = debug


@cache
def _ffmpeg(_process: int) -> str:
    """FFmpeg for yt-dlp to start, which ends with this process: it may be recording a stream for minutes."""
    import imageio_ffmpeg

    folder = tempfile.mkdtemp()
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return write_guarded_program(imageio_ffmpeg.get_ffmpeg_exe(), Path(folder))


def ydl_options(settings: Settings, folder: Path, *, local: bool) -> dict:
    """yt-dlp's options for a download into `folder`; `local` where nothing of the web is wanted."""
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
        "buffersize": 1 << 21,  # at most: of what comes slowly a read gives what a second brings (`lib.core.timeouts`)
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
    """Raise UserError where yt-dlp can't take a setting: a slip in the format, cookies that it can't read. Every video
    would fail of it."""
    with tempfile.TemporaryDirectory() as folder, copy_cookies(cookies) as jar:
        try:
            with YoutubeDL(ydl_options(settings, Path(folder), local=local) | jar) as ydl:
                ydl.cookiejar  # noqa: B018 - read when it is first asked for
        except SyntaxError as err:
            raise UserError(f"download.format: {str(err.msg).splitlines()[0]}, found '{settings.format}'") from None
        except YoutubeDLError as err:
            reason = str(err).removeprefix("ERROR: ")
            if cookies:
                raise UserError(f"download.cookies_file: {reason.replace(jar['cookiefile'], cookies.name)}") from None
            raise UserError(f"download.cookies_from_browser: {reason}") from None


@contextmanager
def copy_cookies(cookies: Path | None) -> Iterator[dict]:
    """Options with a copy of the cookie file: yt-dlp writes back what it read, and the user's file is not ours to change."""
    if cookies is None:
        yield {}
        return
    with tempfile.TemporaryDirectory() as folder:
        _copies.add(folder)
        try:
            yield {"cookiefile": shutil.copy(cookies, folder)}
        finally:
            _copies.discard(folder)


def remove_cookie_copies() -> None:
    """For who ends the process where it stands: no cookies stay in the folder of temporary files."""
    for folder in tuple(_copies):
        shutil.rmtree(folder, ignore_errors=True)
