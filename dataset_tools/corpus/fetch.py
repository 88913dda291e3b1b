"""Fetch one video with yt-dlp, resuming what is there.

yt-dlp as a library retries nothing and drops missing fragments unless told otherwise; everything that a data set relies
on is set here. Only http and https are spoken, and file: for a path of the user's own; a redirect can't change that.
"""

import atexit
import json
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Protocol

from yt_dlp import YoutubeDL
from yt_dlp.networking import HEADRequest
from yt_dlp.networking.exceptions import RequestError
from yt_dlp.utils import UnsupportedError, YoutubeDLError

from dataset_tools.base.atomic import write_text
from dataset_tools.base.errors import UserError
from dataset_tools.base.orphans import with_this_process
from dataset_tools.corpus.classify import PAGE_BYTES, NotAVideo, causes, in_place_of_a_video
from dataset_tools.vision.video_io import open_media, probe

MAGIC = re.compile(
    rb"....(?:ftyp|moov|mdat|free|skip|wide|styp)|\x1aE\xdf\xa3|RIFF....AVI |FLV|OggS|\x00\x00\x01\xba|\x30\x26\xb2\x75|\x47.{187}\x47",
    re.DOTALL,
)
"""First bytes of MP4/MOV, Matroska/WebM, AVI, FLV, Ogg, MPEG-PS, ASF and MPEG-TS. Playlists (HLS, ffconcat) are not
among them: opened as a video they could name any file of this machine."""


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


@dataclass(frozen=True, kw_only=True)
class Fetched:
    """A whole, readable video file."""

    path: Path
    title: str
    """As the site gives it."""
    seconds: float
    """Duration that the file claims."""


class Incomplete(Exception):
    """What came ends before the video does."""


class _Silent:
    """yt-dlp's messages go nowhere: its exceptions say it all, and the progress bar stays whole."""

    def debug(self, message: str) -> None: ...

    info = warning = error = debug


class _Fetcher(YoutubeDL):
    """yt-dlp that keeps the exception behind a failed connection and forgets the parts of another version of a file."""

    folder: Path
    refused: RequestError | None = None
    """Why the last connection failed; yt-dlp passes on only its text where a download gives up."""

    def urlopen(self, req):
        try:
            answer = super().urlopen(req)
        except RequestError as err:
            self.refused = err
            raise
        self.refused = None
        return answer

    def page(self, url: str) -> bytes:
        """What a site answers; nothing where it does not."""
        try:
            with self.urlopen(url) as answer:
                return answer.read(PAGE_BYTES)
        except RequestError:
            return b""

    def process_info(self, info_dict):
        """Called once the format is chosen, before anything is written."""
        note = self.folder / "remote.json"
        now = json.dumps([self._remote(f) for f in info_dict.get("requested_formats") or [info_dict]], indent=1)
        if note.is_file() and note.read_text(encoding="utf-8") != now:
            for part in self.folder.glob("video.*"):
                part.unlink()
        write_text(note, now)
        super().process_info(info_dict)

    def _remote(self, chosen: dict) -> dict:
        """What tells one version of a remote file from another, as far as its server says."""
        headers = {}
        if chosen.get("protocol") in ("http", "https"):
            try:
                with self.urlopen(HEADRequest(chosen["url"], headers=chosen.get("http_headers") or {})) as answer:
                    headers = answer.headers
            except RequestError:
                self.refused = None  # the download itself will tell
        return {"format": chosen.get("format_id"), "size": chosen.get("filesize")} | {
            name: headers.get(name) for name in ("ETag", "Last-Modified", "Content-Length")
        }


@cache
def _ffmpeg(_process: int) -> str:
    """FFmpeg for yt-dlp to start, which ends with this process: it may be recording a stream for minutes."""
    import imageio_ffmpeg

    folder = tempfile.mkdtemp()
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return with_this_process(imageio_ffmpeg.get_ffmpeg_exe(), Path(folder))


def options(settings: Settings, folder: Path, *, local: bool) -> dict:
    """yt-dlp's options for a download into `folder`."""
    h, wait = settings.max_height, settings.retry_wait
    browser = settings.cookies_from_browser
    return {
        "format": settings.format or f"bv*[height<={h}]+ba/b[height<={h}]/bv*+ba/b",
        "format_sort": ["res", "fps", "vcodec:h264", "acodec:aac"],
        "merge_output_format": "mp4/mkv",
        "ffmpeg_location": _ffmpeg(os.getpid()),
        "outtmpl": {"default": str(folder / "video.%(ext)s")},
        "enable_file_urls": local,
        "noplaylist": True,
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
        "logger": _Silent(),
    }


def check_settings(settings: Settings, cookies: Path | None, *, local: bool) -> None:
    """Raise UserError where yt-dlp can't take a setting: a slip in the format, cookies that it can't read. Every video
    would fail of it."""
    with tempfile.TemporaryDirectory() as folder, _cookies_copy(cookies) as jar:
        try:
            with YoutubeDL(options(settings, Path(folder), local=local) | jar) as ydl:
                ydl.cookiejar  # noqa: B018 - read when it is first asked for
        except SyntaxError as err:
            raise UserError(f"download.format: {str(err.msg).splitlines()[0]}, found '{settings.format}'") from None
        except YoutubeDLError as err:
            reason = str(err).removeprefix("ERROR: ")
            if cookies:
                raise UserError(f"download.cookies_file: {reason.replace(jar['cookiefile'], cookies.name)}") from None
            raise UserError(f"download.cookies_from_browser: {reason}") from None


def fetch(
    url: str, folder: Path, settings: Settings, *, local: bool, cookies: Path | None = None,
    progress: Callable[[dict], None] | None = None,
) -> Fetched:  # fmt: skip
    """Download `url` into `folder`, going on with what is there. `progress` is called as a yt-dlp progress hook.

    Raises yt-dlp's errors (see `classify.classify`), NotAVideo or Incomplete for what came; nothing of it is left then.
    """
    with _cookies_copy(cookies) as jar:
        setup = options(settings, folder, local=local) | jar | {"progress_hooks": [progress] if progress else []}
        with _Fetcher(setup) as ydl:
            ydl.folder = folder
            try:
                info = ydl.extract_info(url, download=True)
            except YoutubeDLError as err:
                if not local and any(isinstance(cause, UnsupportedError) for cause in causes(err)):
                    raise in_place_of_a_video(ydl.page(url)) from err
                if ydl.refused and ydl.refused is not err and err.__cause__ is None:
                    raise err from ydl.refused
                raise
        if info.get("_type", "video") != "video" or not info.get("requested_downloads"):
            raise UnsupportedError(url)
    path = Path(info["requested_downloads"][0]["filepath"])
    try:
        seconds = whole(path)
    except (NotAVideo, Incomplete):
        for part in folder.glob("video.*"):
            part.unlink()
        raise
    return Fetched(path=path, title=" ".join((info.get("title") or "").split()), seconds=seconds)


def whole(path: Path) -> float:
    """Seconds that a video file claims, having looked at every packet of it.

    Raises NotAVideo where it is none, Incomplete where an MP4's boxes reach beyond the file's end, or where the packets
    end more than a second (and 2 %) before the claim.
    """
    with open(path, "rb") as handle:
        head = handle.read(PAGE_BYTES)
    if not MAGIC.match(head):
        raise in_place_of_a_video(head)
    if re.match(rb"....(ftyp|moov)", head, re.DOTALL) and (lacking := _lacking(path)):
        raise Incomplete(f"the file is cut short: {lacking} bytes are missing")
    try:
        seconds = probe(path).seconds
        with open_media(path) as container:
            ends = [(p.pts + (p.duration or 0)) * p.time_base for p in container.demux() if p.pts is not None]
            last = float(max(ends, default=0)) - max(0.0, (container.start_time or 0) / 1e6)
    except UserError as err:
        if "Invalid data" in str(err):
            raise Incomplete("the file is damaged or cut short") from None
        raise NotAVideo(str(err).split(": ", 1)[-1]) from None
    if seconds - last > max(1.0, 0.02 * seconds):
        raise Incomplete(f"the file ends at {last:.1f} s of {seconds:.1f} s")
    return seconds


def _lacking(path: Path) -> int:
    """Bytes by which the top-level boxes of an MP4 file (ISO/IEC 14496-12, 4.2) reach beyond its end."""
    size, at = path.stat().st_size, 0
    with open(path, "rb") as handle:
        while at + 8 <= size:
            handle.seek(at)
            length = int.from_bytes(handle.read(4), "big")
            if length == 1:  # the length is in the 8 bytes behind the type
                length = int.from_bytes(handle.read(12)[4:], "big")
            if length == 0:  # to the end of the file
                return 0
            at += max(8, length)
    return at - size


@contextmanager
def _cookies_copy(cookies: Path | None) -> Iterator[dict]:
    """Options with a copy of the cookie file: yt-dlp writes back what it read, and the user's file is not ours to change."""
    if cookies is None:
        yield {}
        return
    with tempfile.TemporaryDirectory() as folder:
        yield {"cookiefile": shutil.copy(cookies, folder)}
