"""download: fetch every video of the sources with yt-dlp; each one has a row, whatever became of it.

Status is ok, permanent (gone, private, not a video: trying again will not help), auth (needs an account's cookies) or
transient (network, server, rate limit: run again). A broken download resumes where it stopped, also in the next run,
and what is finished is kept outside DVC's reach, by URL and format, and not fetched twice. Every file is named
<video_id>.mp4, whatever its container: readers go by the content.
"""

import json
import re
import shutil
import tempfile
import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from dataset_tools.base.accounting import demand
from dataset_tools.base.atomic import publish, write_text
from dataset_tools.base.cli import layout_of, run, say, stage_parser
from dataset_tools.base.errors import UserError
from dataset_tools.base.layout import Layout
from dataset_tools.base.manifest import ANNOTATIONS
from dataset_tools.base.params import load_params, require
from dataset_tools.base.schema import Row, Video, read_records, write_records
from dataset_tools.base.work_cache import file_sha256, item_key
from dataset_tools.base.workers import progress
from dataset_tools.vision.video_io import probe

STAGE = "download"
VERSION = 1
PERMANENT = ("unsupported url", "drm", "private video", "removed", "terminated", "not available in your country",
             "video unavailable", "no longer available", "does not exist", "copyright", "no such file")  # fmt: skip
AUTH = ("sign in", "log in", "login", "cookies", "members-only", "age-restricted", "10216", "10222")
TRANSIENT = ("captcha", "not a bot", "try again later", "rate-limit", "rate limit", "10204",
             "all player responses are invalid")  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Params:
    """Section `download` of params.yaml."""

    max_height: int = 720
    """Best format not higher than this, in px; where there is none, the best."""
    retries: int = 10
    """Of one connection; yt-dlp as a library would not retry at all."""
    attempts: int = 3
    """Times that a video is tried anew after a transient failure."""
    attempt_wait: float = 5.0
    """Seconds before the second attempt; doubled each time."""
    socket_timeout: float = 30.0
    sleep_requests: float = 0.5
    """Seconds between a site's pages, to be polite."""
    sleep_min: float = 2.0
    """Seconds before a download from the web, at least …"""
    sleep_max: float = 6.0
    """… and at most."""
    cookies_file: str = ""
    """Netscape cookie file, relative to the working folder, for videos that need an account."""
    min_ok: float = 0.9
    """Fraction of the videos that must be ok."""

    def __post_init__(self):
        require(self.max_height >= 2, f"max_height must be at least 2 px, found {self.max_height}")
        require(self.retries >= 0, f"retries must be at least 0, found {self.retries}")
        require(self.attempts >= 1, f"attempts must be at least 1, found {self.attempts}")
        require(0 <= self.sleep_min <= self.sleep_max, "0 <= sleep_min <= sleep_max must hold")
        require(0 <= self.min_ok <= 1, f"min_ok must be 0 to 1, found {self.min_ok}")


@dataclass(frozen=True, kw_only=True)
class DownloadRow(Row):
    """One row of download/rows.csv."""

    bytes: int = 0
    sha256: str = ""
    seconds: float = 0.0
    """Duration that the file claims."""
    title: str = ""
    """As the site gives it."""


class _Silent:
    """yt-dlp's messages go nowhere: its exceptions say it all, and the progress bar stays whole."""

    def debug(self, message: str) -> None: ...

    info = warning = error = debug


def options(params: Params, folder: Path, *, local: bool) -> dict:
    """yt-dlp's options for a download into `folder`. Everything that a data set relies on is set explicitly."""
    import imageio_ffmpeg

    h = params.max_height
    return {
        "format": f"bv*[height<={h}]+ba/b[height<={h}]/bv*+ba/b",
        "format_sort": ["res", "fps", "vcodec:h264", "acodec:aac"],
        "merge_output_format": "mp4/mkv",
        "ffmpeg_location": imageio_ffmpeg.get_ffmpeg_exe(),
        "outtmpl": {"default": str(folder / "video.%(ext)s")},
        "enable_file_urls": local,
        "noplaylist": True,
        "ignoreerrors": False,
        "retries": params.retries,
        "fragment_retries": params.retries,
        "extractor_retries": min(3, params.retries),
        "file_access_retries": 3,
        "retry_sleep_functions": {kind: lambda n: min(30, 0.5 * 2**n) for kind in ("http", "fragment", "extractor")},
        "skip_unavailable_fragments": False,
        "continuedl": True,
        "overwrites": False,
        "updatetime": False,
        "socket_timeout": params.socket_timeout,
        "sleep_interval_requests": 0 if local else params.sleep_requests,
        "sleep_interval": 0 if local else params.sleep_min,
        "max_sleep_interval": 0 if local else params.sleep_max,
        "cachedir": False,
        "quiet": True,
        "no_warnings": True,
        "noprogress": True,
        "color": "no_color",
        "logger": _Silent(),
    }


def fetch(url: str, folder: Path, params: Params, *, local: bool, cookies: Path | None = None) -> tuple[Path, str]:
    """Download `url` into `folder`, resuming what is there. Returns the file and the site's title; raises yt-dlp's errors."""
    from yt_dlp import YoutubeDL

    with _cookies_copy(cookies) as jar, YoutubeDL(options(params, folder, local=local) | jar) as ydl:
        info = ydl.extract_info(url, download=True)
        if info.get("_type", "video") != "video" or not info.get("requested_downloads"):
            raise ValueError("unsupported URL: not a single video")
        return Path(info["requested_downloads"][0]["filepath"]), info.get("title") or ""


def classify(error: BaseException) -> tuple[str, str]:
    """(status, one-line reason) of what yt-dlp raised: by the cause's type where it is known, else by its words.

    What is not known is transient: trying again costs little, giving up a video for good does.
    """
    from yt_dlp.networking.exceptions import HTTPError, TransportError
    from yt_dlp.utils import GeoRestrictedError, UnsupportedError

    reason = re.sub(r"^(ERROR: )?(\[[\w:+-]+\] )?", "", " ".join(str(error).split()))
    reason = re.sub(r"; please report this issue on .*", "", reason)
    chain = list(_causes(error))
    words = reason.lower()
    for cause in chain:
        if isinstance(cause, HTTPError):
            status = {401: "auth", 404: "permanent", 410: "permanent", 451: "permanent"}.get(cause.status, "transient")
            return status, reason
    if any(word in words for word in TRANSIENT) or any(isinstance(cause, TransportError) for cause in chain):
        return ("permanent" if "no such file" in words else "transient"), reason
    if any(word in words for word in AUTH):
        return "auth", reason
    if any(isinstance(c, (GeoRestrictedError, UnsupportedError)) for c in chain) or any(w in words for w in PERMANENT):
        return "permanent", reason
    code = re.search(r"http error (\d+)", words)
    return ("permanent" if code and code[1] in ("404", "410", "451") else "transient"), reason


def _causes(error: BaseException):
    """The error and all that led to it, as yt-dlp nests them."""
    seen, queue = set(), [error]
    while queue:
        item = queue.pop(0)
        if item is None or id(item) in seen:
            continue
        seen.add(id(item))
        yield item
        nested = getattr(item, "exc_info", None)
        queue += [item.__cause__, item.__context__, getattr(item, "cause", None), nested[1] if nested else None]


@contextmanager
def _cookies_copy(cookies: Path | None):
    """Options with a copy of the cookie file: yt-dlp writes back what it read, and the user's file is not ours to change."""
    if cookies is None:
        yield {}
        return
    with tempfile.TemporaryDirectory() as folder:
        yield {"cookiefile": shutil.copy(cookies, folder)}


def download_one(
    video: Video, sources: Path, target: Path, cache: Path, params: Params, cookies: Path | None
) -> DownloadRow:
    """Fetch one video to target/<video_id>.mp4, or say in the row why not."""
    from yt_dlp.utils import YoutubeDLError

    if not video.url:
        return DownloadRow(id=video.video_id, status="failed", reason=f"url is empty in the manifest; {ANNOTATIONS}")
    local = not video.url.startswith(("http://", "https://"))
    path = (sources / video.url).resolve()
    if local and not path.is_file():
        return DownloadRow(id=video.video_id, status="permanent", reason=f"no such file: {video.url}")
    content = file_sha256(path) if local else video.url
    folder = cache / item_key(VERSION, content, params.max_height)
    folder.mkdir(parents=True, exist_ok=True)
    found = _finished(folder)
    for attempt in range(params.attempts):
        if found:
            break
        if attempt:
            time.sleep(params.attempt_wait * 2 ** (attempt - 1))
        try:
            got, title = fetch(path.as_uri() if local else video.url, folder, params, local=local, cookies=cookies)
            seconds = probe(got).seconds
        except UserError as err:  # a page or a broken file in place of a video
            shutil.rmtree(folder)
            return DownloadRow(id=video.video_id, status="permanent", reason=str(err).replace(str(folder), ""))
        except (YoutubeDLError, ValueError, OSError) as err:
            status, reason = classify(err)
            if status != "transient" or attempt + 1 == params.attempts:
                shown = reason.replace(str(path), video.url).replace(str(folder), "")
                return DownloadRow(id=video.video_id, status=status, reason=shown)
            continue
        done = {"file": got.name, "bytes": got.stat().st_size, "sha256": file_sha256(got), "seconds": seconds,
                "title": "" if local else " ".join(title.split())}  # fmt: skip
        write_text(folder / "done.json", json.dumps(done, indent=1))
        found = done
    publish(folder / found["file"], target / f"{video.video_id}.mp4")
    return DownloadRow(id=video.video_id, status="ok", **{k: v for k, v in found.items() if k != "file"})


def _finished(folder: Path) -> dict | None:
    """What done.json says, where the file beside it still has that hash; what has not is removed."""
    note = folder / "done.json"
    if not note.is_file():
        return None
    done = json.loads(note.read_text(encoding="utf-8"))
    path = folder / done["file"]
    if path.is_file() and file_sha256(path) == done["sha256"]:
        return done
    path.unlink(missing_ok=True)
    note.unlink()
    return None


def download(layout: Layout, params: Params) -> list[DownloadRow]:
    """Write data/<corpus>/download; return one row per video of the sources, failed ones too."""
    sources, target = layout.stage("sources"), layout.stage(STAGE)
    videos = read_records(sources / "videos.csv", Video)
    cookies = layout.root / params.cookies_file if params.cookies_file else None
    if cookies and not cookies.is_file():
        raise UserError(f"{layout.params}: download.cookies_file: no such file: {params.cookies_file}")
    cache = layout.cache(STAGE).resolve()
    rows = [download_one(v, sources, target, cache, params, cookies) for v in progress(videos, STAGE)]
    assert len(rows) == len(videos)
    write_records(target / "rows.csv", rows, DownloadRow)
    return rows


def main(argv: list[str] | None = None) -> int:
    """Run the stage."""
    args = stage_parser("dataset_tools.download", __doc__).parse_args(argv)
    layout = layout_of(args)
    params = load_params(layout.params, STAGE, Params)
    rows = download(layout, params)
    say(STAGE, demand(rows, stage=STAGE, min_ok=params.min_ok, table=layout.stage(STAGE) / "rows.csv"))
    return 0


if __name__ == "__main__":
    run(main)
