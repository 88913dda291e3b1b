"""download: fetch every video of the sources with yt-dlp; each one has a row, whatever became of it.

Status is ok, permanent (gone, private, not a video: trying again will not help), auth (needs an account's cookies),
transient (network, server, rate limit: run again) or failed (this machine: disk, rights; or no url yet, or no file where
a local one leads: mend it, run again). A broken download resumes where it stopped, also in the next run. What is
finished is kept outside DVC's reach, by URL and format, and not fetched twice; nor is asked again what was permanent, or
auth while the cookies are the same, unless --again.
Every file is named <video_id>.mp4, whatever its container: readers go by the content. `dead_links.csv` lists what a
person could still find elsewhere.
"""

import fcntl
import json
import threading
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tqdm import tqdm

from dataset_tools.base.accounting import demand
from dataset_tools.base.atomic import begin_folder, keep_only, publish, write_text
from dataset_tools.base.cli import layout_of, run, say, stage_parser
from dataset_tools.base.errors import UserError, disk_trouble
from dataset_tools.base.layout import Layout
from dataset_tools.base.manifest import ANNOTATIONS, is_web
from dataset_tools.base.params import load_params, require
from dataset_tools.base.schema import Clip, Row, Video, read_records, write_records
from dataset_tools.base.work_cache import file_sha256, item_key
from dataset_tools.corpus.dead_links import DeadLink, dead_link

STAGE = "download"
VERSION = 1


@dataclass(frozen=True, kw_only=True)
class Params:
    """Section `download` of params.yaml."""

    max_height: int = 720
    """Best format not higher than this, in px; where there is none, the best."""
    format: str = ""
    """A yt-dlp format expression in place of that choice."""
    workers: int = 2
    """Videos fetched at once; each sleeps on its own."""
    retries: int = 10
    """Of one connection; yt-dlp as a library would not retry at all."""
    retry_wait: float = 0.5
    """Seconds before the first of them; doubled each time, at most 30."""
    attempts: int = 3
    """Times that a video is tried anew after a transient failure."""
    attempt_wait: float = 5.0
    """Seconds before the second attempt; doubled each time."""
    socket_timeout: float = 30.0
    """Seconds without a byte after which a connection counts as lost."""
    sleep_requests: float = 0.5
    """Seconds between a site's pages, to be polite."""
    sleep_min: float = 2.0
    """Seconds before a download from the web, at least …"""
    sleep_max: float = 6.0
    """… and at most."""
    cookies_file: str = ""
    """Netscape cookie file, relative to the working folder, for videos that need an account."""
    cookies_from_browser: str = ""
    """Name of a browser (firefox, chrome, …) to take them from instead."""
    min_ok: float = 0.9
    """Fraction of the videos that must be ok."""

    def __post_init__(self):
        require(self.max_height >= 2, f"max_height must be at least 2 px, found {self.max_height}")
        require(self.workers >= 1, f"workers must be at least 1, found {self.workers}")
        require(self.retries >= 0, f"retries must be at least 0, found {self.retries}")
        require(self.attempts >= 1, f"attempts must be at least 1, found {self.attempts}")
        require(min(self.retry_wait, self.attempt_wait) >= 0, "retry_wait and attempt_wait must be at least 0 s")
        require(self.socket_timeout > 0, f"socket_timeout must be above 0 s, found {self.socket_timeout}")
        require(self.sleep_requests >= 0, f"sleep_requests must be at least 0 s, found {self.sleep_requests}")
        require(0 <= self.sleep_min <= self.sleep_max, "0 <= sleep_min <= sleep_max must hold")
        require(not (self.cookies_file and self.cookies_from_browser), "give cookies_file or cookies_from_browser, not both")
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
    warning: str = ""
    """The file is not the one that manifests/<corpus>/checksums.csv, or an earlier download, knows: both hashes."""


@dataclass(frozen=True, kw_only=True)
class Checksum:
    """One row of checksums.csv of a manifest, or of an earlier rows.csv: what the file was."""

    id: str
    sha256: str = ""


@dataclass(frozen=True, kw_only=True)
class Job:
    """All that fetching a video takes beside the video itself."""

    layout: Layout
    params: Params
    cookies: Path | None
    again: bool
    pinned: dict[str, str]
    """Video id -> sha256 that the manifest's checksums.csv demands."""
    earlier: dict[str, str]
    """Video id -> sha256 in the rows.csv of the run before."""
    bar: "Bar"

    @property
    def account(self) -> str:
        """Which cookies are in use: others may open what was closed."""
        return file_sha256(self.cookies) if self.cookies else self.params.cookies_from_browser


class Bar:
    """One progress bar over the videos, with the bytes that have come, fed by several threads."""

    def __init__(self, videos: int):
        self.lock = threading.Lock()
        self.received: dict[str, int] = {}
        self.stopped = threading.Event()
        self.bar = tqdm(total=videos, desc=STAGE, unit="video", delay=1, dynamic_ncols=True, mininterval=0.5)

    def hook(self, state: dict) -> None:
        """A progress hook of yt-dlp."""
        if self.stopped.is_set():
            raise KeyboardInterrupt
        with self.lock:
            self.received[state.get("filename", "")] = state.get("downloaded_bytes") or 0
            self.bar.set_postfix_str(f"{sum(self.received.values()) / 1e6:.1f} MB", refresh=False)

    def done(self) -> None:
        with self.lock:
            self.bar.update()


def local_path(url: str, layout: Layout) -> Path:
    """File of a url that is no web address. Raises ValueError unless it is in the manifest's folder, or in that of
    `sources`, whose own files may be links that DVC made."""
    sources = layout.stage("sources").absolute()
    path = Path(sources, url)
    inside = path.resolve().is_relative_to(layout.manifest.resolve())
    if not inside and (".." in Path(url).parts or Path(url).is_absolute()):
        raise ValueError(f"leads out of {layout.manifest.name}'s manifest: {url}; put the video itself into its folder")
    return path


def download_one(video: Video, job: Job) -> DownloadRow:
    """Fetch one video to <video_id>.mp4 of the stage's folder, or say in the row why not. Raises nothing but what
    ends the whole run."""
    layout, params = job.layout, job.params

    def lost(status: str, reason: str) -> DownloadRow:
        for folder in (layout.cache(STAGE), layout.root):  # no row may tell where this machine keeps things
            reason = reason.replace(f"{folder.resolve()}/", "")
        return DownloadRow(id=video.video_id, status=status, reason=reason)

    if not video.url:
        return lost("failed", f"url is empty in the manifest; {ANNOTATIONS}")
    try:
        local = not is_web(video.url)
        path = local_path(video.url, layout) if local else None
        if local and not path.is_file():
            return lost("failed", f"no such file: {video.url}; put it back, or correct the url in the manifest's videos.csv")
        content = file_sha256(path) if local else video.url
        folder = _folder(layout, params, content)
        folder.mkdir(parents=True, exist_ok=True)
        with _only_one(folder):
            found = _finished(folder) or _given_up(folder, job) or _fetched(video, path, folder, job)
            if "status" in found:
                return lost(found["status"], found["reason"])
            publish(folder / found["file"], layout.stage(STAGE) / f"{video.video_id}.mp4")
    except ValueError as err:
        return lost("failed", str(err))
    except OSError as err:
        return lost("failed", disk_trouble(err, full_path=False) or f"{type(err).__name__}: {err}")
    known = job.pinned.get(video.video_id) or found["was"]
    changed = known and known != found["sha256"]
    return DownloadRow(
        id=video.video_id, status="ok", warning=f"changed: sha256 was {known}, is {found['sha256']}" if changed else "",
        **{name: found[name] for name in ("bytes", "sha256", "seconds", "title")},
    )  # fmt: skip


@contextmanager
def _only_one(folder: Path) -> Iterator[None]:
    """Hold a lock on a cache folder: two rows, or two runs, that want the same video fetch it once."""
    with open(folder / ".lock", "w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def _folder(layout: Layout, params: Params, content: str) -> Path:
    """Where in the cache a video is, or what came of it: by its address or, of a local file, its sha256."""
    return layout.cache(STAGE).resolve() / item_key(VERSION, content, params.format or params.max_height)


def _finished(folder: Path) -> dict | None:
    """What done.json says, where the file beside it still has that hash; what has not is removed."""
    done = _note(folder / "done.json")
    if not done or "file" not in done:
        return None
    path = folder / done["file"]
    if path.is_file() and file_sha256(path) == done["sha256"]:
        return {"was": ""} | done
    path.unlink(missing_ok=True)
    return None


def _given_up(folder: Path, job: Job) -> dict | None:
    """The status and reason of an earlier run, where asking again is no use."""
    lost = _note(folder / "lost.json")
    same = lost and (lost["status"] == "permanent" or lost["account"] == job.account)
    return lost if same and not job.again else None


def _note(path: Path) -> dict | None:
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None


def _fetched(video: Video, path: Path | None, folder: Path, job: Job) -> dict:
    """Download into `folder` and note what came in done.json, or in lost.json why nothing ever will."""
    from yt_dlp.utils import YoutubeDLError

    from dataset_tools.corpus.classify import NotAVideo, classify
    from dataset_tools.corpus.fetch import Incomplete, fetch

    local, params = path is not None, job.params
    refusals = 0
    for attempt in range(params.attempts):
        if attempt and job.bar.stopped.wait(params.attempt_wait * 2 ** (attempt - 1)):
            raise KeyboardInterrupt
        try:
            got = fetch(
                path.resolve().as_uri() if local else video.url, folder, params, local=local, cookies=job.cookies,
                progress=job.bar.hook,
            )  # fmt: skip
            break
        except (YoutubeDLError, NotAVideo, Incomplete, OSError) as err:
            status, reason = classify(err)
            refusals += "HTTP Error 403" in reason
            if local:
                reason = reason.replace(str(path.resolve()), video.url) + f"; replace {video.url}"
            # A refused address (403) may have run out: a fresh one once, more would be pestering.
            if status != "transient" or attempt + 1 == params.attempts or refusals == 2:
                lost = {"status": status, "reason": reason, "account": job.account}
                if status in ("permanent", "auth"):
                    write_text(folder / "lost.json", json.dumps(lost, indent=1))
                return lost
    sha256 = file_sha256(got.path)
    before = _note(folder / "done.json") or {}
    was = before.get("sha256") or job.earlier.get(video.video_id, "")
    done = {"file": got.path.name, "bytes": got.path.stat().st_size, "sha256": sha256, "seconds": got.seconds,
            "title": "" if local else got.title, "was": was if was != sha256 else ""}  # fmt: skip
    write_text(folder / "done.json", json.dumps(done, indent=1))
    (folder / "lost.json").unlink(missing_ok=True)
    return done


def _checksums(path: Path) -> dict[str, str]:
    return {row.id: row.sha256 for row in read_records(path, Checksum)} if path.is_file() else {}


def download(layout: Layout, params: Params, *, again: bool = False) -> list[DownloadRow]:
    """Write data/<corpus>/download; return one row per video of the sources, failed ones too. With `again` also ask
    for what an earlier run gave up.

    Raises UserError where the sources or the cookie file can't be read, OSError where the rows can't be written.
    """
    from dataset_tools.corpus.fetch import check_settings

    sources, target = layout.stage("sources"), layout.stage(STAGE)
    videos = read_records(layout.table("sources", "videos.csv"), Video)
    cookies = layout.root / params.cookies_file if params.cookies_file else None
    if cookies and not cookies.is_file():
        raise UserError(f"{layout.params}: download.cookies_file: no such file: {params.cookies_file}")
    fresh = any(is_web(v.url) and not (_folder(layout, params, v.url) / "done.json").is_file() for v in videos)
    check_settings(params, cookies if fresh else None, local=not fresh)
    pinned, earlier = _checksums(layout.manifest / "checksums.csv"), _checksums(target / "rows.csv")
    begin_folder(target, "rows.csv")
    bar = Bar(len(videos))
    job = Job(layout=layout, params=params, cookies=cookies, again=again, pinned=pinned, earlier=earlier, bar=bar)

    def one(video: Video) -> DownloadRow:
        row = download_one(video, job)
        bar.done()
        return row

    with bar.bar, ThreadPoolExecutor(max_workers=params.workers) as pool:
        try:
            rows = list(pool.map(one, videos))
        except BaseException:
            bar.stopped.set()
            pool.shutdown(cancel_futures=True)
            raise
    assert len(rows) == len(videos)
    clips = read_records(sources / "clips.csv", Clip) if (sources / "clips.csv").is_file() else []
    clips_of = Counter(clip.video_id for clip in clips)
    dead = [
        dead_link(video, row.status, row.reason, clips_of[video.video_id])
        for video, row in zip(videos, rows, strict=True)
        if row.status in ("permanent", "auth") and is_web(video.url)
    ]
    keep_only(target, {f"{row.id}.mp4" for row in rows if row.status == "ok"}, ".mp4")
    write_records(target / "dead_links.csv", dead, DeadLink)
    write_records(target / "rows.csv", rows, DownloadRow)
    return rows


def main(argv: list[str] | None = None) -> int:
    """Run the stage."""
    parser = stage_parser("dataset_tools.download", __doc__)
    parser.add_argument("--again", action="store_true", help="also ask for videos that an earlier run gave up")
    args = parser.parse_args(argv)
    layout = layout_of(args)
    params = load_params(layout.params, STAGE, Params)
    rows = download(layout, params, again=args.again)
    table = layout.stage(STAGE) / "rows.csv"
    for row in rows:
        if row.warning:
            say(STAGE, f"{row.id}: {row.warning}")
    if dead := read_records(table.with_name("dead_links.csv"), DeadLink):
        say(STAGE, f"{len(dead)} dead or closed links: {table.with_name('dead_links.csv')} says where to look for them")
    say(STAGE, demand(rows, stage=STAGE, min_ok=params.min_ok, table=table))
    return 0


if __name__ == "__main__":
    run(main)
