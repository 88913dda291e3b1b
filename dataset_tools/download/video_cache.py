"""Cache of fetched videos, outside DVC: a folder for each address and format, with the video and done.json, or with lost.json, the
reason why there is no video."""

import json
import math
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

from yt_dlp.version import __version__ as YT_DLP

from dataset_tools.download.complete_file import check_complete
from dataset_tools.download.errors import Incomplete, Refused, TooLarge
from dataset_tools.download.sandbox import run_sandboxed
from dataset_tools.lib.core.atomic import write_text
from dataset_tools.lib.core.errors import UserError
from dataset_tools.lib.core.file_memo import FileMemo
from dataset_tools.lib.core.work_cache import file_sha256
from dataset_tools.lib.parallel.threads import pause, report_bytes
from dataset_tools.lib.video.media import NotEnoughMemory

STALE_DAYS = 60  # an older yt-dlp probably fails for some sites
DONE_KEYS = ("file", "bytes", "sha256", "seconds", "title", "yt_dlp")


@dataclass(frozen=True, kw_only=True)
class FetchOptions:
    """Options for fetching that are the same for all videos."""

    settings: Any
    """`download.ydl_options.Settings`, with `attempts` and `attempt_wait`."""
    cookies: Path | None
    account: str
    """Identifies the cookies in use: with others, a video that needed an account may be available."""
    again: bool = False
    """Also request videos that an earlier run gave up."""


def read_finished(folder: Path, memo: FileMemo) -> dict | None:
    """Content of done.json (`DONE_KEYS` and `was`, an earlier sha256) if the file beside it still has its hash. A file with another
    hash is removed. memo: knows the hashes of files that have not changed."""
    done = read_note(folder / "done.json", DONE_KEYS)
    if not done:
        return None
    path = folder / done["file"]
    if path.is_file() and memo.sha256(path) == done["sha256"]:
        return {"was": ""} | done
    path.unlink(missing_ok=True)
    return None


def read_given_up(folder: Path, fetching: FetchOptions) -> dict | None:
    """Content of lost.json if trying again will not help, else None."""
    lost = read_note(folder / "lost.json", ("status", "reason", "account"))
    if not lost:
        return None
    same = lost["status"] == "permanent" or lost["account"] == fetching.account
    raised = lost.get("max_gb", math.inf) < fetching.settings.max_gb
    return {"yt_dlp": ""} | lost if same and not raised and not fetching.again else None


def read_note(path: Path, keys: tuple[str, ...]) -> dict | None:
    """A JSON object with all of `keys`; None if the file is missing or damaged."""
    try:
        note = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return None
    return note if isinstance(note, dict) and set(keys) <= note.keys() else None


def fetch_video(url: str, folder: Path, fetching: FetchOptions, before: str) -> dict:
    """Download `url` into `folder` and write done.json, or lost.json if trying again will not help. Returns its content; for a failure
    {"status", "reason", "advice", ...} (see `classify.advice_for_site`).

    before: sha256 of an earlier download.
    """
    from dataset_tools.download.classify import advice_for_site, classify
    from dataset_tools.download.fetch import fetch

    received: dict[str, int] = {}  # bytes, for each file

    def progress(state: dict) -> None:
        name, size = state.get("filename", ""), state.get("downloaded_bytes") or 0
        report_bytes(size - received.get(name, 0))
        received[name] = size

    settings, refusals = fetching.settings, 0
    for attempt in range(settings.attempts):
        if attempt:
            pause(settings.attempt_wait * 2 ** (attempt - 1))
        try:
            got = fetch(url, folder, settings, cookies=fetching.cookies, progress=progress)
            break
        except Exception as err:  # noqa: BLE001 - yt-dlp may raise anything on a strange page; the other videos go on
            status, reason = classify(err)
            refusals += "HTTP Error 403" in reason
            # An address that is refused (403) may have expired. One fresh address is tried; more would pester the site.
            if status != "transient" or attempt + 1 == settings.attempts or refusals == 2 or isinstance(err, Refused):
                lost = {"status": status, "reason": reason, "account": fetching.account, "yt_dlp": YT_DLP}
                lost |= {"max_gb": settings.max_gb} if isinstance(err, TooLarge) else {}
                if status in ("permanent", "auth"):
                    write_text(folder / "lost.json", json.dumps(lost, indent=1))
                return lost | {"advice": advice_for_site(err)}
    return _write_done(folder, got.path, got.seconds, before, title=got.title, yt_dlp=YT_DLP)


def check_local_video(path: Path, folder: Path, before: str) -> dict:
    """As `fetch_video`, for a local file. It is checked, but not copied."""
    if done := read_note(folder / "done.json", DONE_KEYS):
        return {"was": ""} | done
    try:
        return _write_done(folder, path, run_sandboxed(check_complete, path), before)
    except (Refused, NotEnoughMemory) as err:
        return {"status": "failed", "reason": str(err)}
    except UserError as err:
        return {"status": "permanent", "reason": str(err)}
    except Incomplete as err:
        return {"status": "failed", "reason": str(err)}


def _write_done(folder: Path, path: Path, seconds: float, before: str, *, title: str = "", yt_dlp: str = "") -> dict:
    """Write done.json for a complete file and return its content."""
    sha256 = file_sha256(path)
    was = (read_note(folder / "done.json", DONE_KEYS) or {}).get("sha256") or before
    done = {"file": path.name, "bytes": path.stat().st_size, "sha256": sha256, "seconds": seconds, "title": title,
            "yt_dlp": yt_dlp, "was": was if was != sha256 else ""}  # fmt: skip
    write_text(folder / "done.json", json.dumps(done, indent=1))
    (folder / "lost.json").unlink(missing_ok=True)
    return done


def version_age_days(version: str, today: date | None = None) -> int:
    """Age of a version of yt-dlp in days (its version is a date); 0 if it can't be read."""
    try:
        return ((today or date.today()) - date(*map(int, version.split(".")[:3]))).days
    except (TypeError, ValueError):
        return 0
