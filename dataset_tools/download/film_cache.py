"""Films that were fetched, outside DVC's reach: a folder for each address and format, with the film and done.json, or with
lost.json, which says why there never will be one."""

import json
import math
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

from yt_dlp.version import __version__ as YT_DLP

from dataset_tools.download.apart import look
from dataset_tools.download.no_film import Incomplete, Refused, TooLarge
from dataset_tools.download.whole_file import whole
from dataset_tools.lib.core.atomic import write_text
from dataset_tools.lib.core.errors import UserError
from dataset_tools.lib.core.work_cache import file_sha256
from dataset_tools.lib.video.media import NoMemory

OLD = 60  # days after which a yt-dlp is likely to have lost touch with some site
DONE = ("file", "bytes", "sha256", "seconds", "title", "yt_dlp")


@dataclass(frozen=True, kw_only=True)
class Fetching:
    """How films are fetched, beside their addresses."""

    settings: Any
    """`download.fetch.Settings`, with `attempts` and `attempt_wait`."""
    cookies: Path | None
    account: str
    """Which cookies are in use: others may open what was closed."""
    again: bool = False
    """Also ask for what was given up."""
    progress: Callable[[dict], None] = lambda _: None
    stopped: threading.Event = field(default_factory=threading.Event)
    """Set once the whole run is to end."""


def finished(folder: Path) -> dict | None:
    """What done.json says (`DONE` and `was`, an earlier sha256), where the file beside it still has that hash; what has not is
    removed."""
    done = read_note(folder / "done.json", DONE)
    if not done:
        return None
    path = folder / done["file"]
    if path.is_file() and file_sha256(path) == done["sha256"]:
        return {"was": ""} | done
    path.unlink(missing_ok=True)
    return None


def given_up(folder: Path, fetching: Fetching) -> dict | None:
    """The status and reason of an earlier run, where asking again is no use."""
    lost = read_note(folder / "lost.json", ("status", "reason", "account"))
    if not lost:
        return None
    same = lost["status"] == "permanent" or lost["account"] == fetching.account
    raised = lost.get("max_gb", math.inf) < fetching.settings.max_gb
    return {"yt_dlp": ""} | lost if same and not raised and not fetching.again else None


def read_note(path: Path, keys: tuple[str, ...]) -> dict | None:
    """A note with all of `keys`; None where there is none, or where a broken disk has left something else."""
    try:
        note = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return None
    return note if isinstance(note, dict) and set(keys) <= note.keys() else None


def fetched(url: str, folder: Path, fetching: Fetching, before: str) -> dict:
    """Download into `folder` and note what came in done.json, or in lost.json why nothing ever will. `before` is the sha256 of
    an earlier download. What failed has `status`, `reason` and `advice` (see `classify.hits_all`)."""
    from dataset_tools.download.classify import classify, hits_all
    from dataset_tools.download.fetch import fetch

    def progress(state: dict) -> None:
        if fetching.stopped.is_set():
            raise KeyboardInterrupt
        fetching.progress(state)

    settings, refusals = fetching.settings, 0
    for attempt in range(settings.attempts):
        if attempt and fetching.stopped.wait(settings.attempt_wait * 2 ** (attempt - 1)):
            raise KeyboardInterrupt
        try:
            got = fetch(url, folder, settings, cookies=fetching.cookies, progress=progress)
            break
        except Exception as err:  # noqa: BLE001 - whatever a site's page makes yt-dlp raise, the other videos are not lost with it
            status, reason = classify(err)
            refusals += "HTTP Error 403" in reason
            # A refused address (403) may have run out: a fresh one once, more would be pestering.
            if status != "transient" or attempt + 1 == settings.attempts or refusals == 2 or isinstance(err, Refused):
                lost = {"status": status, "reason": reason, "account": fetching.account, "yt_dlp": YT_DLP}
                lost |= {"max_gb": settings.max_gb} if isinstance(err, TooLarge) else {}
                if status in ("permanent", "auth"):
                    write_text(folder / "lost.json", json.dumps(lost, indent=1))
                return lost | {"advice": hits_all(err)}
    return _noted(folder, got.path, got.seconds, before, title=got.title, yt_dlp=YT_DLP)


def local(path: Path, folder: Path, before: str) -> dict:
    """The same for a file of this machine, which stays where it is: it is looked at, but neither copied nor followed."""
    if done := read_note(folder / "done.json", DONE):
        return {"was": ""} | done
    try:
        return _noted(folder, path, look(whole, path), before)
    except (Refused, NoMemory) as err:
        return {"status": "failed", "reason": str(err)}
    except UserError as err:
        return {"status": "permanent", "reason": str(err)}
    except Incomplete as err:
        return {"status": "failed", "reason": str(err)}


def _noted(folder: Path, path: Path, seconds: float, before: str, *, title: str = "", yt_dlp: str = "") -> dict:
    """done.json of a file that is whole."""
    sha256 = file_sha256(path)
    was = (read_note(folder / "done.json", DONE) or {}).get("sha256") or before
    done = {"file": path.name, "bytes": path.stat().st_size, "sha256": sha256, "seconds": seconds, "title": title,
            "yt_dlp": yt_dlp, "was": was if was != sha256 else ""}  # fmt: skip
    write_text(folder / "done.json", json.dumps(done, indent=1))
    (folder / "lost.json").unlink(missing_ok=True)
    return done


def age(version: str, today: date | None = None) -> int:
    """Days since a yt-dlp came out: its version is a date."""
    try:
        return ((today or date.today()) - date(*map(int, version.split(".")[:3]))).days
    except (TypeError, ValueError):
        return 0
