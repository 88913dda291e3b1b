"""download: fetch every video of the sources with yt-dlp; each one has a row, whatever became of it.

Status is ok, permanent (gone, private, not a video, no sound of its own: trying again will not help), auth (needs an
account's cookies), transient (network, server, rate limit, a live stream: run again) or failed (this machine: disk, rights, no
JavaScript runtime for YouTube; or the manifest: no url yet, a list in place of one video, no file where a local one leads:
mend it, run again). A broken download resumes where it stopped, also in the next run. What is finished is kept outside
DVC's reach, by URL and format, and not fetched twice; nor is asked again what was permanent, or auth while the cookies are the same, unless --again.
Before more than 20 videos one is fetched alone: what would hit all ends the run at once, what would hit all of one site costs
its videos alone, which are not asked for.
Every file is named <video_id>.mp4, whatever its container: readers go by the content. `dead_links.csv` lists what a
person could still find elsewhere.
"""

import dataclasses
import os
import sys
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from tqdm import tqdm

from dataset_tools.base.accounting import demand
from dataset_tools.base.atomic import begin_folder, keep_only, publish
from dataset_tools.base.cli import layout_of, run, say, stage_parser
from dataset_tools.base.errors import UserError, disk_trouble, one_line
from dataset_tools.base.layout import Layout
from dataset_tools.base.locks import only_one
from dataset_tools.base.manifest import how_to_fill, is_web, scan_checksums
from dataset_tools.base.names import leads_out
from dataset_tools.base.params import load_params, require
from dataset_tools.base.schema import Clip, Row, Video, read_records, write_records
from dataset_tools.base.work_cache import file_sha256, item_key
from dataset_tools.corpus import film_cache
from dataset_tools.corpus.dead_links import DeadLink, dead_link

STAGE = "download"
VERSION = 2


@dataclass(frozen=True, kw_only=True)
class Params:
    """Section `download` of params.yaml."""

    max_height: int = 720
    """The best format of no more than this, as sites count: 720 px of the shorter side is 720p, upright too. Where there is
    none, the nearest."""
    format: str = ""
    """A yt-dlp format expression in place of that choice, over all that the site offers."""
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
    sleep_min: float = 5.0
    """Seconds before a download from the web, at least …"""
    sleep_max: float = 10.0
    """… and at most."""
    cookies_file: str = ""
    """Netscape cookie file, relative to the working folder, for videos that need an account."""
    cookies_from_browser: str = ""
    """Name of a browser (firefox, chrome, …) to take them from instead."""
    max_gb: float = 20.0
    """Largest video, its picture and its sound together: what goes on beyond that may have no end."""
    min_ok: float = 0.9
    """Fraction of the videos that must be ok."""

    def __post_init__(self):
        require(self.max_height >= 2, f"max_height must be at least 2 px, found {self.max_height}")
        require(self.workers >= 1, f"workers must be at least 1, found {self.workers}")
        require(self.retries >= 0, f"retries must be at least 0, found {self.retries}")
        require(self.attempts >= 1, f"attempts must be at least 1, found {self.attempts}")
        require(min(self.retry_wait, self.attempt_wait) >= 0, "retry_wait and attempt_wait must be at least 0 s")
        require(self.socket_timeout > 0, f"socket_timeout must be above 0 s, found {self.socket_timeout}")
        require(self.max_gb > 0, f"max_gb must be above 0, found {self.max_gb}")
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
    yt_dlp: str = ""
    """Version of yt-dlp that fetched it, or tried; empty for a file of this machine."""
    warning: str = ""
    """The file is not the one that manifests/<corpus>/checksums.csv, or an earlier download, knows: both hashes."""


@dataclass(frozen=True, kw_only=True)
class Earlier:
    """What is read of an earlier rows.csv: what the file was."""

    id: str
    sha256: str = ""


@dataclass(frozen=True, kw_only=True)
class Job:
    """All that fetching a video takes beside the video itself."""

    layout: Layout
    params: Params
    fetching: film_cache.Fetching
    pinned: dict[str, str]
    """Video id -> sha256 that the manifest's checksums.csv demands."""
    earlier: dict[str, str]
    """Video id -> sha256 in the rows.csv of the run before."""
    vain: dict[str, dict] = dataclasses.field(default_factory=dict)
    """Address that there is no use in asking for -> status and reason."""


class Bar:
    """One progress bar over the videos, with the bytes that have come, fed by several threads."""

    def __init__(self, videos: int):
        self.lock = threading.Lock()
        self.received: dict[str, int] = {}
        self.total = 0
        self.bar = tqdm(total=videos, desc=STAGE, unit="video", delay=1, dynamic_ncols=True, mininterval=0.5)

    def hook(self, state: dict) -> None:
        """A progress hook of yt-dlp."""
        with self.lock:
            name, size = state.get("filename", ""), state.get("downloaded_bytes") or 0
            self.total += size - self.received.get(name, 0)
            self.received[name] = size
            self.bar.set_postfix_str(f"{self.total / 1e6:.1f} MB", refresh=False)

    def done(self) -> None:
        """Count one video as finished."""
        with self.lock:
            self.bar.update()


def local_path(url: str, layout: Layout) -> Path:
    """File of a url that is no web address. Raises ValueError unless it is in the manifest's folder, or in that of
    `sources`, whose own files may be links that DVC made."""
    sources = layout.stage("sources").absolute()
    path = Path(sources, url)
    if leads_out(layout.manifest.absolute(), str(path)) and (".." in Path(url).parts or Path(url).is_absolute()):
        raise ValueError(f"leads out of {layout.manifest.name}'s manifest: {url}; put the video itself into its folder")
    return path


def _from_root(url: str, layout: Layout) -> str:
    """A local file as the user sees it, who stands in the root: without the way through the sources' folder."""
    return url if "://" in url else os.path.relpath(layout.stage("sources") / url, layout.root)


def download_one(video: Video, job: Job) -> DownloadRow:
    """Fetch one video to <video_id>.mp4 of the stage's folder, or say in the row why not. Raises nothing but what
    ends the whole run."""

    def lost(status: str, reason: str, yt_dlp: str = "") -> DownloadRow:
        for folder in (job.layout.cache(STAGE), job.layout.root):  # no row may tell where this machine keeps things
            reason = reason.replace(f"{folder.resolve()}/", "")
        return DownloadRow(id=video.video_id, status=status, reason=one_line(reason), yt_dlp=yt_dlp)

    if not video.url:
        return lost("failed", f"url is empty in the manifest; {how_to_fill(job.layout.manifest)}")
    try:
        path = None if is_web(video.url) else local_path(video.url, job.layout)
        if path and not path.is_file():
            return lost("failed", f"no such file: {_from_root(video.url, job.layout)}; put it back, or correct the url in the manifest's videos.csv")
        found = outcome(video, path, job)
        if "status" in found:
            replace = f"; replace {_from_root(video.url, job.layout)}" if path else ""
            return lost(found["status"], found["reason"] + replace, found.get("yt_dlp", ""))
        publish(path or _folder(job, video.url) / found["file"], job.layout.stage(STAGE) / f"{video.video_id}.mp4")
    except OSError as err:
        return lost("failed", disk_trouble(err, full_path=False) or f"{type(err).__name__}: {err}")
    except ValueError as err:
        return lost("failed", str(err))
    except Exception as err:  # noqa: BLE001 - its row is lost with it, no other's
        return lost("failed", f"{type(err).__name__}: {err}")
    known = job.pinned.get(video.video_id) or found["was"]
    changed = known and known != found["sha256"]
    return DownloadRow(
        id=video.video_id, status="ok", warning=f"changed: sha256 was {known}, is {found['sha256']}" if changed else "",
        title=one_line(found["title"]), **{name: found[name] for name in ("bytes", "sha256", "seconds", "yt_dlp")},
    )  # fmt: skip


def outcome(video: Video, path: Path | None, job: Job) -> dict:
    """What became of a video, of an earlier run or of this one: a note of `film_cache`. `path` is that of a local file."""
    folder = _folder(job, file_sha256(path) if path else video.url)
    folder.mkdir(parents=True, exist_ok=True)
    before = job.earlier.get(video.video_id, "")
    with only_one(folder / ".lock"):  # two rows, or two runs, that want the same video fetch it once
        if path:
            return film_cache.local(path, folder, before)
        return (
            film_cache.finished(folder)
            or film_cache.given_up(folder, job.fetching)
            or job.vain.get(video.url)
            or film_cache.fetched(video.url, folder, job.fetching, before)
        )


def _folder(job: Job, content: str) -> Path:
    """Where in the cache a video is, or what came of it: by its address or, of a local file, its sha256."""
    key = item_key(VERSION, content, job.params.format or job.params.max_height)
    return job.layout.cache(STAGE).resolve() / key


def _earlier(path: Path) -> dict[str, str]:
    return {row.id: row.sha256 for row in read_records(path, Earlier)} if path.is_file() else {}


def download(layout: Layout, params: Params, *, again: bool = False) -> list[DownloadRow]:
    """Write data/<corpus>/download; return one row per video of the sources, failed ones too. With `again` also ask
    for what an earlier run gave up.

    Raises UserError where the sources or the cookie file can't be read, OSError where the rows can't be written.
    """
    from dataset_tools.corpus.canary import MANY, send_canaries
    from dataset_tools.corpus.classify import RUNTIME, lacks_runtime
    from dataset_tools.corpus.dead_links import site
    from dataset_tools.corpus.ydl_options import check_settings

    sources, target = layout.stage("sources"), layout.stage(STAGE)
    videos = read_records(layout.table("sources", "videos.csv"), Video)
    cookies = layout.root / params.cookies_file if params.cookies_file else None
    if cookies and not cookies.is_file():
        raise UserError(f"{layout.params}: download.cookies_file: no such file: {params.cookies_file}")
    clips = read_records(sources / "clips.csv", Clip) if (sources / "clips.csv").is_file() else []
    pinned, malformed = scan_checksums(layout.manifest)
    if malformed:
        raise UserError(malformed[0])
    earlier = _earlier(target / "rows.csv")
    account = file_sha256(cookies) if cookies else params.cookies_from_browser
    fetching = film_cache.Fetching(settings=params, cookies=cookies, account=account, again=again)
    job = Job(layout=layout, params=params, fetching=fetching, pinned=pinned, earlier=earlier)
    web = [v for v in videos if is_web(v.url)]
    fresh = [v for v in web if not (_folder(job, v.url) / "done.json").is_file()]
    check_settings(params, cookies if fresh else None, local=not fresh)
    if fresh and (days := film_cache.age(film_cache.YT_DLP)) > film_cache.OLD:
        say(STAGE, f"yt-dlp {film_cache.YT_DLP} is {days} days old, and sites change: make update-yt-dlp")
    vain = {v.url: {"status": "failed", "reason": RUNTIME} for v in fresh if lacks_runtime([v.url])}
    asked = [v for v in fresh if v.url not in vain]
    if not asked and len(vain) > MANY:
        raise UserError(f"{STAGE}: {RUNTIME}")
    if asked and len(web) > MANY:
        try:
            closed = send_canaries(asked, lambda video: outcome(video, None, job))
        except UserError as err:
            raise UserError(f"{STAGE}: {err}") from None
        vain |= {v.url: closed[site(v.url)] for v in asked if site(v.url) in closed}
    for reason, count in Counter(note["reason"] for note in vain.values()).items():
        say(STAGE, f"{count} videos are not asked for: {reason}")
    begin_folder(target, "rows.csv")
    bar = Bar(len(videos))
    job = dataclasses.replace(job, vain=vain, fetching=dataclasses.replace(fetching, progress=bar.hook))

    def one(video: Video) -> DownloadRow:
        row = download_one(video, job)
        bar.done()
        return row

    with bar.bar:
        pool = ThreadPoolExecutor(max_workers=params.workers)
        try:
            rows = list(pool.map(one, videos))
        except BaseException:
            fetching.stopped.set()
            pool.shutdown(wait=False, cancel_futures=True)
            raise
        pool.shutdown()
    assert len(rows) == len(videos)
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
    try:
        rows = download(layout, params, again=args.again)
    except KeyboardInterrupt:  # threads sleep, or wait for a site: nothing is lost where they stand, and FFmpeg ends with us
        from dataset_tools.corpus.ydl_options import remove_copies

        remove_copies()
        sys.stdout.flush(), sys.stderr.flush()
        os._exit(130)
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
