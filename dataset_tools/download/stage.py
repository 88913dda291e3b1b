"""The stage `download`: fetch every video of the sources and write a row for each, ok or not."""

import dataclasses
import os
from collections import Counter
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path

from dataset_tools.download import video_cache
from dataset_tools.download.dead_links import DeadLink, host_of, make_dead_link
from dataset_tools.download.params import Params
from dataset_tools.download.rows import DownloadRow
from dataset_tools.lib.core.atomic import keep_only, prepare_folder
from dataset_tools.lib.core.cli import say
from dataset_tools.lib.core.errors import UserError, describe_disk_error, one_line
from dataset_tools.lib.core.file_memo import FileMemo, stamps
from dataset_tools.lib.core.layout import Layout
from dataset_tools.lib.core.locks import file_lock
from dataset_tools.lib.core.manifest import how_to_fill, is_web, scan_checksums
from dataset_tools.lib.core.names import is_outside
from dataset_tools.lib.core.schema import Clip, Video, read_records, write_records
from dataset_tools.lib.core.work_cache import file_sha256, item_key
from dataset_tools.lib.parallel.workers import run_all

STAGE = "download"
VERSION = 2


@dataclass(frozen=True, kw_only=True)
class Context:
    """Everything that fetching a video needs, apart from the video itself."""

    layout: Layout
    params: Params
    fetching: video_cache.FetchOptions
    pinned: dict[str, str]
    """Video id -> expected sha256, of the manifest's checksums.csv."""
    earlier: dict[str, str]
    """Video id -> sha256 in the rows.csv of the previous run."""
    memo: FileMemo
    """The hashes of files that have not changed, and which of them are published."""
    hopeless: dict[str, dict] = dataclasses.field(default_factory=dict)
    """Address that is not requested because it would fail -> {"status", "reason"}."""

    @cached_property
    def cache(self) -> Path:
        """Folder of the fetched videos."""
        return self.layout.cache(STAGE).resolve()

    @cached_property
    def target(self) -> Path:
        """The stage's folder."""
        return self.layout.stage(STAGE)


def local_path(url: str, layout: Layout) -> Path:
    """Path of the file of a url that is not a web address. Raises ValueError unless it is in the folder of the manifest or of `sources`
    (whose files may be links made by DVC)."""
    sources = layout.stage("sources").absolute()
    path = Path(sources, url)
    if is_outside(layout.manifest.absolute(), str(path)) and (".." in Path(url).parts or Path(url).is_absolute()):
        raise ValueError(f"leads out of {layout.manifest.name}'s manifest: {url}; put the video itself into its folder")
    return path


def _from_root(url: str, layout: Layout) -> str:
    """Path of a local file relative to the root, as a user there would write it."""
    return url if "://" in url else os.path.relpath(layout.stage("sources") / url, layout.root)


def site_of(video: Video) -> str:
    """The web site of a video, the last two words of its host: tiktok.com for vm.tiktok.com; '' for a local file."""
    host = host_of(video.url) if is_web(video.url) else ""
    site = host if host[-1:].isdigit() else ".".join(host.split(".")[-2:])
    return "youtube.com" if site == "youtu.be" else site


def download_one(video: Video, context: Context) -> DownloadRow:
    """Fetch one video to <video_id>.mp4 in the stage's folder; return its row. Raises only exceptions that end the whole run."""

    def lost(status: str, reason: str, yt_dlp: str = "") -> DownloadRow:
        for folder in (
            context.layout.cache(STAGE),
            context.layout.root,
        ):  # rows may not contain paths of this machine
            reason = reason.replace(f"{folder.resolve()}/", "")
        return DownloadRow(id=video.video_id, status=status, reason=one_line(reason), yt_dlp=yt_dlp)

    if not video.url:
        return lost("failed", f"url is empty in the manifest; {how_to_fill(context.layout.manifest)}")
    try:
        path = None if is_web(video.url) else local_path(video.url, context.layout)
        if path and not path.is_file():
            return lost(
                "failed",
                f"no such file: {_from_root(video.url, context.layout)}; put it back, or correct the url in the manifest's videos.csv",
            )
        folder = _folder(context, context.memo.sha256(path) if path else video.url)
        target = context.target / f"{video.video_id}.mp4"
        note, memo = folder / "done.json", context.memo
        found = memo.recall(f"done {folder}", (note,))
        if not (found and memo.is_copy(path or folder / found["file"], target)):
            found = fetch_or_reuse(video, path, folder, context)
            if "status" in found:
                replace = f"; replace {_from_root(video.url, context.layout)}" if path else ""
                return lost(found["status"], found["reason"] + replace, found.get("yt_dlp", ""))
            memo.publish(path or folder / found["file"], target, own=path is None)
            memo.keep(f"done {folder}", found, stamps((note,)), own=True)
    except OSError as err:
        return lost("failed", describe_disk_error(err, full_path=False) or f"{type(err).__name__}: {err}")
    except ValueError as err:
        return lost("failed", str(err))
    except Exception as err:  # noqa: BLE001 - fails this video only
        return lost("failed", f"{type(err).__name__}: {err}")
    known = context.pinned.get(video.video_id) or found["was"]
    changed = known and known != found["sha256"]
    return DownloadRow(
        id=video.video_id, status="ok", warning=f"changed: sha256 was {known}, is {found['sha256']}" if changed else "",
        title=one_line(found["title"]), **{name: found[name] for name in ("bytes", "sha256", "seconds", "yt_dlp")},
    )  # fmt: skip


def _download_and_tell(video: Video, context: Context) -> tuple[DownloadRow, dict[str, list]]:
    """(row of `download_one`, what the memo then knows: on a cluster it is that of another process)."""
    return download_one(video, context), context.memo.take()


def fetch_or_reuse(video: Video, path: Path | None, folder: Path, context: Context) -> dict:
    """Note of `video_cache` about a video, from an earlier run or after fetching it now. `path` is that of a local file, or None; `folder`
    is that of the video in the cache."""
    folder.mkdir(parents=True, exist_ok=True)
    before = context.earlier.get(video.video_id, "")
    with file_lock(folder / ".lock"):  # if two rows or two runs need the same video, it is fetched once
        if path:
            return video_cache.check_local_video(path, folder, before)
        return (
            video_cache.read_finished(folder, context.memo)
            or video_cache.read_given_up(folder, context.fetching)
            or context.hopeless.get(video.url)
            or video_cache.fetch_video(video.url, folder, context.fetching, before)
        )


def _folder(context: Context, content: str) -> Path:
    """Cache folder of a video, by its address or, for a local file, its sha256."""
    key = item_key(VERSION, content, context.params.format or context.params.max_height)
    return context.cache / key


def _read_earlier(path: Path) -> dict[str, str]:
    return {row.id: row.sha256 for row in read_records(path, DownloadRow)} if path.is_file() else {}


def download(layout: Layout, params: Params, *, again: bool = False) -> list[DownloadRow]:
    """Write data/<corpus>/download. Returns one row per video of the sources, also for failed ones.

    again: also request videos that an earlier run gave up.

    Raises UserError if the sources or the cookie file can't be read, OSError if the rows can't be written.
    """
    from dataset_tools.download.canary import MANY, send_canaries
    from dataset_tools.download.classify import RUNTIME, lacks_runtime
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
    earlier = _read_earlier(target / "rows.csv")
    account = file_sha256(cookies) if cookies else params.cookies_from_browser
    fetching = video_cache.FetchOptions(settings=params, cookies=cookies, account=account, again=again)
    memo = FileMemo(layout.memo(STAGE))
    context = Context(layout=layout, params=params, fetching=fetching, pinned=pinned, earlier=earlier, memo=memo)
    web = [v for v in videos if is_web(v.url)]
    missing = [v for v in web if not (_folder(context, v.url) / "done.json").is_file()]
    check_settings(params, cookies if missing else None, local=not missing)  # type: ignore[arg-type]  # frozen, and only read
    if missing and (days := video_cache.version_age_days(video_cache.YT_DLP)) > video_cache.STALE_DAYS:
        say(STAGE, f"yt-dlp {video_cache.YT_DLP} is {days} days old, and sites change: make update-yt-dlp")
    hopeless = {v.url: {"status": "failed", "reason": RUNTIME} for v in missing if lacks_runtime([v.url])}
    wanted = [v for v in missing if v.url not in hopeless]
    if not wanted and len(hopeless) > MANY:
        raise UserError(f"{STAGE}: {RUNTIME}")
    if wanted and len(web) > MANY:
        try:
            closed = send_canaries(
                wanted, lambda video: fetch_or_reuse(video, None, _folder(context, video.url), context)
            )
        except UserError as err:
            raise UserError(f"{STAGE}: {err}") from None
        hopeless |= {v.url: closed[host_of(v.url)] for v in wanted if host_of(v.url) in closed}
    for reason, count in Counter(note["reason"] for note in hopeless.values()).items():
        say(STAGE, f"{count} videos are not requested: {reason}")
    prepare_folder(target, "rows.csv")
    context = dataclasses.replace(context, hopeless=hopeless)

    outcomes = run_all(
        partial(_download_and_tell, context=context), videos, params.workers, STAGE,
        failed=lambda video, reason: (DownloadRow(id=video.video_id, status="failed", reason=one_line(reason)), {}),
        unit="video", threads=True, site=site_of,
    )  # fmt: skip
    rows = [row for row, _ in outcomes]
    for _, known in outcomes:
        memo.learn(known)
    assert len(rows) == len(videos)
    clips_of = Counter(clip.video_id for clip in clips)
    dead = [
        make_dead_link(video, row.status, row.reason, clips_of[video.video_id])
        for video, row in zip(videos, rows, strict=True)
        if row.status in ("permanent", "auth") and is_web(video.url)
    ]
    keep_only(target, {f"{row.id}.mp4" for row in rows if row.status == "ok"}, ".mp4")
    memo.sync_copies()
    write_records(target / "dead_links.csv", dead, DeadLink)
    write_records(target / "rows.csv", rows, DownloadRow)
    memo.save()
    return rows
