"""Fetch one video with yt-dlp, resuming an interrupted download. Only http and https are used, also after redirects."""

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from yt_dlp import YoutubeDL
from yt_dlp.downloader import FFmpegFD, HlsFD, get_suitable_downloader
from yt_dlp.networking import HEADRequest, Request
from yt_dlp.networking.exceptions import RequestError
from yt_dlp.networking.impersonate import ImpersonateTarget
from yt_dlp.postprocessor import FFmpegMergerPP
from yt_dlp.utils import UnsupportedError, YoutubeDLError

from dataset_tools.download import hls
from dataset_tools.download.classify import RUNTIME, has_runtime, iterate_causes
from dataset_tools.download.complete_file import check_complete
from dataset_tools.download.errors import Incomplete, Refused, TooLarge, TooSlow, describe_non_video
from dataset_tools.download.formats import FORMAT, select_formats
from dataset_tools.download.responses import request_bounded
from dataset_tools.download.sandbox import run_sandboxed
from dataset_tools.download.stream_clocks import (
    check_clock,
    compute_shifts,
    count_playable_seconds,
    join_pieces,
    presentation_offset,
)
from dataset_tools.download.ydl_options import Settings, read_cookies, ydl_options
from dataset_tools.lib.core.atomic import write_text
from dataset_tools.lib.core.errors import UserError
from dataset_tools.lib.core.limits import FETCH_SECONDS, FRAGMENTS, PAGE_BYTES, READ_TIMEOUTS, REDIRECTS, VIDEO_SECONDS

PACE_CHECK_SECONDS, LIVE_PACE = 15.0, 3.0
"""A download of unknown length may be a live stream, so after PACE_CHECK_SECONDS it must have brought LIVE_PACE seconds of video per
second. This is checked again whenever the time has doubled, because a live stream may start with what it has buffered."""
REORDERED_BY_FFMPEG = "mpegts"  # container whose timestamps FFmpeg repairs when it copies a video of one file
NEEDS_BROWSER = "generic:impersonate"  # in yt-dlp's message if a site lets only browsers in


@dataclass(frozen=True, kw_only=True)
class FetchedVideo:
    """A complete, readable video file."""

    path: Path
    title: str
    """Title on the site."""
    seconds: float
    """Duration according to the file's header."""


class _Fetcher(YoutubeDL):
    """yt-dlp that fetches one video or raises why it can't. It refuses lists and live streams before anything is fetched, chooses among
    the formats of the video itself, and keeps video and audio in sync, also across the pieces of a playlist.

    It also keeps the exception of a failed connection, and removes partial downloads of another version of a file.
    """

    folder: Path
    refused: RequestError | None = None
    """Exception of the last connection. When a download fails, yt-dlp passes on only its text."""
    refusal: Refused | None = None
    """Why a page or a manifest was withheld from yt-dlp."""
    page_redirects: int = 0
    """Number of pages that referred to another one."""
    promised_seconds: float = 0.0
    """Length of the video in seconds, by its playlist."""
    piece_shifts: tuple[float, ...] = ()
    """Seconds that were added to the timestamps of each piece of the video stream."""

    def urlopen(self, req):
        ask = super().urlopen

        def keep_refusal(refusal: Refused) -> None:
            self.refusal = refusal

        try:
            answer = request_bounded(lambda: ask(req), READ_TIMEOUTS * self.params["socket_timeout"], keep_refusal)
        except RequestError as err:
            self.refused = err
            raise
        self.refused = None
        return answer

    def read_page(self, url: str) -> bytes:
        """The beginning of a page; empty if the request fails."""
        try:
            with self.urlopen(url) as answer:
                return answer.read(PAGE_BYTES)
        except RequestError:
            return b""

    def process_ie_result(self, ie_result, download=True, extra_info=None):
        """yt-dlp calls this with the result for an address. A list of one video counts as the video; other lists are refused."""
        if ie_result.get("_type") in ("playlist", "multi_video", "compat_list"):
            entries = ie_result.get("entries") or []
            first = entries.getslice(0, 2) if hasattr(entries, "getslice") else list(islice(entries, 2))
            if len(first) != 1:
                count = ie_result.get("playlist_count") or (
                    len(entries) if isinstance(entries, list) else "several" if first else 0
                )
                raise Refused(
                    "failed",
                    f"the address leads to a list of {count} videos; put the address of one video into videos.csv",
                )
            ie_result = first[0]
        if ie_result.get("_type") in ("url", "url_transparent"):
            self.page_redirects += 1
            if self.page_redirects > REDIRECTS:
                raise Refused(
                    "permanent", f"it redirects in circles: {REDIRECTS} pages led to another one, and none to a video"
                )
        return super().process_ie_result(ie_result, download, extra_info)

    def process_video_result(self, info_dict, download=True):
        """yt-dlp calls this with all formats of one video."""
        if info_dict.get("is_live") or info_dict.get("live_status") in ("is_live", "post_live"):
            raise Refused("transient", "it is a live stream: run again some hours after it has ended")
        if (
            str(info_dict.get("extractor_key")).startswith("Youtube") and not has_runtime()
        ):  # without a runtime some videos would come in a lower resolution
            raise Refused("failed", RUNTIME)
        if info_dict.get("formats") and self.params["format"] == FORMAT:
            info_dict["formats"] = select_formats(list(info_dict["formats"]), info_dict.get("extractor_key") or "")
        return super().process_video_result(info_dict, download)

    def process_info(self, info_dict):
        """yt-dlp calls this when the format is chosen, before anything is written."""
        note = self.folder / "remote.json"
        now = json.dumps([self._remote(f) for f in info_dict.get("requested_formats") or [info_dict]], indent=1)
        if note.is_file() and note.read_text(encoding="utf-8") != now:
            for part in self.folder.glob("video.*"):
                part.unlink()
        write_text(note, now)
        as_it_comes = info_dict.get("protocol") in ("http", "https") and info_dict.get("stretched_ratio") in (None, 1)
        if (
            info_dict.get("requested_formats") or not as_it_comes
        ):  # yt-dlp can't tell which steps after the download a killed run has finished
            for made in self.folder.glob("video.*"):
                if made.stem == "video" and made.suffix != ".part":
                    made.unlink()
        super().process_info(info_dict)

    def _remote(self, chosen: dict) -> dict:
        """Properties that distinguish versions of a remote file, as far as the server gives them."""
        headers = {}
        if chosen.get("protocol") in ("http", "https"):
            try:
                with self.urlopen(HEADRequest(chosen["url"], headers=chosen.get("http_headers") or {})) as answer:
                    headers = answer.headers
            except RequestError:
                self.refused = None  # the download itself will report it
        return {"format": chosen.get("format_id"), "size": chosen.get("filesize")} | {
            name: headers.get(name) for name in ("ETag", "Last-Modified", "Content-Length")
        }

    def dl(self, name, info, subtitle=False, test=False):
        """yt-dlp calls this for each file of the chosen format. HLS is fetched piece by piece and always by yt-dlp itself, because FFmpeg
        would record endless streams, follow any protocol and ignore interrupts."""
        if subtitle or test:
            return super().dl(name, info, subtitle, test)
        if get_suitable_downloader(info, self.params) is FFmpegFD:
            raise Refused("permanent", f"it is sent by {info.get('protocol')}: only http and https are followed")
        if not str(info.get("protocol")).startswith("m3u8"):
            done = super().dl(name, info)
            if done[0] and "fragments" in info:
                run_sandboxed(check_clock, Path(name), REORDERED_BY_FFMPEG)
            return done
        playlist = info.get("hls_media_playlist_data")
        if not playlist:
            playlist, url = self._read(info["url"], info)
            playlist, info = playlist.decode("utf-8", errors="replace"), {**info, "url": url}
        if not hls.has_end(playlist):
            raise Refused("transient", "it is a live stream, its playlist has no end: run again once it has ended")
        if not HlsFD.can_download(playlist, info):
            raise Refused("permanent", "it is encrypted (DRM)")
        seconds, count = hls.total_seconds(playlist), hls.count_segments(playlist)
        if seconds > VIDEO_SECONDS or count > FRAGMENTS:
            raise Refused(
                "permanent",
                f"its playlist declares {count} files of {seconds / 3600:.0f} h; a video may have at most {FRAGMENTS} of {VIDEO_SECONDS // 3600} h",
            )
        self.promised_seconds = max(self.promised_seconds, seconds)
        pieces = hls.split_playlist(playlist, info["url"])
        if len(pieces) < 2:
            done = super().dl(name, {**info, "hls_media_playlist_data": playlist})
            if done[0]:
                run_sandboxed(check_clock, Path(name), REORDERED_BY_FFMPEG)
            return done
        paths = [Path(f"{name}.{number}") for number in range(len(pieces))]
        for path, piece in zip(paths, pieces, strict=True):
            done = super().dl(str(path), {**info, "hls_media_playlist_data": piece})
            if not done[0]:
                return done
            run_sandboxed(check_clock, path)
        joined = Path(f"{name}.joined")
        self.piece_shifts = tuple(run_sandboxed(join_pieces, paths, joined, self.piece_shifts)) or self.piece_shifts
        joined.replace(name)
        for path in paths:
            path.unlink()
        return True, True

    def _read(self, url: str, info: dict) -> tuple[bytes, str]:
        """(a playlist or a manifest, its address after redirects)."""
        with self.urlopen(Request(url, headers=info.get("http_headers") or {})) as answer:
            data = answer.read()
        if not data and self.refusal:
            raise self.refusal
        return data, answer.url

    def run_pp(self, pp, infodict):
        """yt-dlp calls this for each step after the download. Merging gets the offsets of the clocks."""
        if isinstance(pp, FFmpegMergerPP):
            formats, files = infodict["requested_formats"], [Path(file) for file in infodict["__files_to_merge"]]
            for file in files:
                run_sandboxed(check_clock, file)
            added = [
                f"{shift:.6f}" for shift in run_sandboxed(compute_shifts, files, [self._offset(f) for f in formats])
            ]
            self.params["postprocessor_args"] = {"merger+ffmpeg_o": ["-copyts"]} | {
                f"merger+ffmpeg_i{number}": ["-itsoffset", shift] for number, shift in enumerate(added, start=1)
            }
        return super().run_pp(pp, infodict)

    def _offset(self, chosen: dict) -> float:
        """What the clock of a file shows at the beginning of the video, by its DASH manifest; 0 without one."""
        url = chosen.get("manifest_url")
        if not url or str(chosen.get("protocol")).startswith("m3u8"):
            return 0.0
        return presentation_offset(self._read(url, chosen)[0], chosen.get("format_id") or "")


def fetch(
    url: str, folder: Path, settings: Settings, *, cookies: Path | None = None, progress: Callable[[dict], None] = lambda _: None,
) -> FetchedVideo:  # fmt: skip
    """Download `url` into `folder`, resuming a partial download. `progress` is called as a progress hook of yt-dlp.

    Raises exceptions of yt-dlp (see `classify.classify`), Refused for an address that does not lead to one video, and NotAVideo or
    Incomplete for a bad file. The partial download is then removed, except after TooSlow.
    """
    until = time.monotonic() + FETCH_SECONDS
    checked_after: dict[str, float] = {}  # seconds, for each file: video, audio, pieces of a playlist
    received: dict[str, int] = {}  # bytes, for each file
    total = 0

    def bounded(state: dict) -> None:
        nonlocal total
        progress(state)
        if time.monotonic() > until:
            raise TooSlow("transient", f"it is not complete after {FETCH_SECONDS / 3600:.0f} h: run again to go on")
        name, elapsed = state.get("filename") or "", state.get("elapsed") or 0
        of_known_length = state.get("total_bytes") or state.get("fragment_count") or not state.get("tmpfilename")
        if not of_known_length and elapsed > checked_after.get(name, PACE_CHECK_SECONDS):
            checked_after[name] = 2 * elapsed
            if 0 < run_sandboxed(count_playable_seconds, Path(state["tmpfilename"])) < LIVE_PACE * elapsed:
                raise Refused(
                    "transient",
                    "its length is unknown and it comes hardly faster than it plays, so it is probably a live stream",
                )
        # for a file that an earlier run has finished, no bytes arrive and the hook gets its size
        size = state.get("downloaded_bytes") or (state["status"] == "finished" and state.get("total_bytes")) or 0
        total += size - received.get(name, 0)
        received[name] = size
        if total > settings.max_gb * 1e9:
            raise TooLarge("permanent", f"it is longer than download.max_gb, {settings.max_gb:g} GB, or has no end")

    setup = ydl_options(settings, folder, local=False) | {"progress_hooks": [bounded]}
    try:
        try:
            info, promised = _extract(url, folder, setup, cookies)
        except YoutubeDLError as err:
            if NEEDS_BROWSER not in str(err):
                raise
            info, promised = _extract(url, folder, setup | {"impersonate": ImpersonateTarget()}, cookies)
        path = Path(info["requested_downloads"][0]["filepath"])
        seconds = run_sandboxed(check_complete, path)
        if seconds < 0.98 * promised - 1:
            raise Refused(
                "permanent", f"its playlist adds up to {promised:.0f} s, but the download has {seconds:.0f} s"
            )
    except TooSlow:
        raise
    except (UserError, Incomplete):  # otherwise yt-dlp would take an existing part for the complete file
        for part in folder.glob("video.*"):
            part.unlink()
        raise
    return FetchedVideo(path=path, title=info.get("title") or "", seconds=seconds)


def _extract(url: str, folder: Path, setup: dict, cookies: Path | None) -> tuple[dict, float]:
    """(yt-dlp's info about the download, length of the video in seconds by its playlist; 0 without one)."""
    with _Fetcher(setup | read_cookies(cookies)) as ydl:
        ydl.folder = folder
        try:
            info = ydl.extract_info(url, download=True)
        except YoutubeDLError as err:
            if ydl.refusal and not ydl.refused:
                raise ydl.refusal from err
            if any(isinstance(cause, UnsupportedError) for cause in iterate_causes(err)):
                raise describe_non_video(ydl.read_page(url)) from err
            if ydl.refused and ydl.refused is not err and err.__cause__ is None:
                raise err from ydl.refused
            raise
        if info.get("_type", "video") != "video" or not info.get("requested_downloads"):
            raise UnsupportedError(url)
        return info, ydl.promised_seconds
