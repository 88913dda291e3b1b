"""The stage `download`: every video of the sources, each with a row, whatever became of it."""

import dataclasses
import os
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from dataset_tools.download import film_cache
from dataset_tools.download.dead_links import DeadLink, dead_link
from dataset_tools.download.params import Params
from dataset_tools.download.rows import DownloadRow
from dataset_tools.lib.core.atomic import begin_folder, keep_only, publish
from dataset_tools.lib.core.cli import say
from dataset_tools.lib.core.errors import UserError, disk_trouble, one_line
from dataset_tools.lib.core.layout import Layout
from dataset_tools.lib.core.locks import only_one
from dataset_tools.lib.core.manifest import how_to_fill, is_web, scan_checksums
from dataset_tools.lib.core.names import leads_out
from dataset_tools.lib.core.progress import ProgressBar
from dataset_tools.lib.core.schema import Clip, Video, read_records, write_records
from dataset_tools.lib.core.work_cache import file_sha256, item_key

STAGE = "download"
VERSION = 2


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
        self.bar = ProgressBar(total=videos, desc=STAGE, unit="video")

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
            return lost(
                "failed",
                f"no such file: {_from_root(video.url, job.layout)}; put it back, or correct the url in the manifest's videos.csv",
            )
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
    return {row.id: row.sha256 for row in read_records(path, DownloadRow)} if path.is_file() else {}


def download(layout: Layout, params: Params, *, again: bool = False) -> list[DownloadRow]:
    """Write data/<corpus>/download; return one row per video of the sources, failed ones too. With `again` also ask
    for what an earlier run gave up.

    Raises UserError where the sources or the cookie file can't be read, OSError where the rows can't be written.
    """
    from dataset_tools.download.canary import MANY, send_canaries
    from dataset_tools.download.classify import RUNTIME, lacks_runtime
    from dataset_tools.download.dead_links import site
    from dataset_tools.download.ydl_options import check_settings

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
    check_settings(params, cookies if fresh else None, local=not fresh)  # type: ignore[arg-type]  # frozen, and only read
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
