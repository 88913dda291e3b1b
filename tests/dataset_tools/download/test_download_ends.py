"""Whatever a server sends, and however slowly, a download ends: no wait that only the other side could end."""

import dataclasses
import io
import itertools
import re
import threading
import time

import pytest

from dataset_tools.download import dash, fetch, responses, stream_clocks
from dataset_tools.download.errors import Refused
from dataset_tools.download.hls import count_segments
from dataset_tools.lib.core import call_timeouts
from dataset_tools.lib.core.call_timeouts import with_read_timeout
from tests.dataset_tools.download.test_download import QUICK, run
from tests.dataset_tools.download.test_download_streams import playlist
from tests.helpers.film_site import corpus, padded

ONCE = dataclasses.replace(QUICK, attempts=1, retries=0)


def row_of(tmp_path, site, name):
    return run(corpus(tmp_path, {"v": f"{site.url}/{name}"}), ONCE)["v"]


@pytest.mark.parametrize(
    "name", ["drip.mp4", "drip.html", "continues.mp4", "head.mp4", "chunk.mp4", "guarded-drip.mp4"]
)
def test_a_byte_now_and_then_keeps_no_connection(tmp_path, site, movie, monkeypatch, name):
    """Ten bytes a second: no two of them are apart for long, and a film would take years."""
    monkeypatch.setattr(fetch, "READ_TIMEOUTS", 2)
    site.bodies["drip.html"] = b"<html>" + b" " * 100_000
    begun = time.monotonic()
    row = run(corpus(tmp_path, {"v": f"{site.url}/{name}"}), dataclasses.replace(QUICK, socket_timeout=1.0))[
        "v"
    ]  # far longer than from byte to byte
    assert row.status == "transient" and re.fullmatch(
        r"timed out: no answer after 2(\.0)? s; run again (later|to go on)", row.reason
    ), row
    assert time.monotonic() - begun < 60 and [what for what, *_ in site.asked].count("GET") <= 3, (
        "neither retried nor tried anew"
    )


def test_what_takes_over_a_day_goes_on_in_the_next_run(tmp_path, site, movie, monkeypatch):
    site.bodies["film"] = padded(movie, 3_000_000, 1)
    with monkeypatch.context() as patched:
        patched.setattr(fetch, "FETCH_SECONDS", 0)
        row = row_of(tmp_path, site, "film.mp4")
    assert (row.status, row.reason) == ("transient", "it is not complete after 0 h: run again to go on")
    site.asked.clear()
    assert row_of(tmp_path, site, "film.mp4").status == "ok" and site.asked[-1][2] > 0


def test_a_film_that_comes_late_comes(tmp_path, site, movie, monkeypatch):
    """A moment's pace says nothing of a film's."""
    monkeypatch.setattr(fetch, "PACE_CHECK_SECONDS", 0.05)
    monkeypatch.setattr(fetch, "VIDEO_SECONDS", 1)
    site.bodies["late"] = padded(movie, 9_000_000, 1)
    assert (
        run(corpus(tmp_path, {"v": f"{site.url}/late.mp4"}), dataclasses.replace(ONCE, socket_timeout=5))["v"].status
        == "ok"
    )


def test_each_file_is_asked_for_its_pace(tmp_path, monkeypatch):
    """A stream's audio begins anew with its own clock, when its picture has long been asked."""
    seen = []
    monkeypatch.setattr(fetch, "run_sandboxed", lambda _, path: seen.append(path.name) or 1e9)

    def extracted(url, folder, setup, cookies):
        for name, elapsed in (
            ("picture", 10),
            ("picture", 20),
            ("picture", 30),
            ("picture", 50),
            ("audio", 20),
            ("audio", 30),
        ):
            setup["progress_hooks"][0](
                {"status": "downloading", "filename": name, "tmpfilename": name, "elapsed": elapsed}
            )
        raise Refused("failed", "seen enough")

    monkeypatch.setattr(fetch, "_extract", extracted)
    with pytest.raises(Refused, match="seen enough"):
        fetch.fetch("http://h/", tmp_path, ONCE)
    assert seen == ["picture", "picture", "audio"]


def test_a_large_film_comes_in_large_blocks(tmp_path, site, movie):
    """Each costs a look at the clock, a lock and the bar."""
    site.bodies["film"], calls = padded(movie, 30_000_000, 1), []
    fetch.fetch(f"{site.url}/film.mp4", tmp_path, dataclasses.replace(ONCE, socket_timeout=5), progress=calls.append)
    assert len(calls) < 40


def test_a_reader_with_patience_gives_what_came_before_it_raises(monkeypatch):
    came = iter([b"ab", b"cd", OSError("cut"), b"ef"])

    def read(most):
        part = next(came)
        if isinstance(part, Exception):
            raise part
        return part

    reading = with_read_timeout(read, 60)
    assert reading(2) == b"ab" and reading(9) == b"cd"
    for _ in range(2):
        with pytest.raises(OSError, match="cut"):
            reading(9)
    slow = itertools.count(1).__next__
    clock = lambda: 0.4 * slow()
    with monkeypatch.context() as patched:
        patched.setattr(call_timeouts.time, "monotonic", clock)
        assert len(with_read_timeout(io.BytesIO(bytes(10**6)).read, 60)(10**6)) == 3 * call_timeouts.CHUNK_BYTES[0]
    for amt in (-1, None):
        assert with_read_timeout(io.BytesIO(b"x" * 99_999).read, 60)(amt) == b"x" * 99_999
    assert with_read_timeout(io.BytesIO(b"xyz").read, 60)(0) == b""
    with pytest.raises(TimeoutError, match="no answer after 0.1 s"):
        with_read_timeout(lambda _: threading.Event().wait(5), 0.1)(9)


@pytest.mark.parametrize("pages, status", [(5, "ok"), (99, "permanent")])
def test_pages_that_lead_to_pages(tmp_path, site, movie, pages, status):
    for k in range(pages):
        after = f"page{k + 1}.html" if k + 1 < pages else "ok.mp4"
        site.bodies[f"page{k}.html"] = (
            f'<html><head><meta http-equiv="refresh" content="0;url=/{after}"></head></html>'.encode()
        )
    row = row_of(tmp_path, site, "page0.html")
    assert row.status == status and (
        status == "ok" or row.reason == "it redirects in circles: 20 pages led to another one, and none to a video"
    )


def test_a_page_without_end(tmp_path, site, monkeypatch):
    monkeypatch.setattr(responses, "ANSWER_BYTES", 1 << 20)
    site.bodies["endless.html"] = b"<html>" + b"<p>dance" * 50_000
    row = row_of(tmp_path, site, "endless.html")
    assert row.status == "permanent" and row.reason.startswith(
        "a page, playlist or manifest of over 1 MiB came instead of a video"
    )


def test_a_playlist_is_read_whole_or_refused(tmp_path, site, monkeypatch):
    """Cut, it would be a part of the film."""
    monkeypatch.setattr(responses, "ANSWER_BYTES", 1000)
    with fetch._Fetcher(fetch.ydl_options(ONCE, tmp_path, local=True)) as ydl:
        for size in (999, 1000):
            site.bodies["list.m3u8"] = b"#" * size
            assert ydl._read(f"{site.url}/list.m3u8", {}) == (b"#" * size, f"{site.url}/list.m3u8")
        site.bodies["list.m3u8"] = b"#" * 1001
        with pytest.raises(Refused, match="a page, playlist or manifest of over 0 MiB"):
            ydl._read(f"{site.url}/list.m3u8", {})


MANY = """<?xml version="1.0"?>{space}<MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static" mediaPresentationDuration="PT3S"><Period>
<AdaptationSet mimeType="video/mp4"><SegmentTemplate timescale="{scale}" media="$Number$.m4s" initialization="i.m4s" {more}/SegmentTemplate>
<Representation id="v" codecs="avc1.42c01e" width="64" height="48" bandwidth="200000"/>
<Representation id="w" codecs="avc1.42c01e" width="96" height="48" bandwidth="300000"/></AdaptationSet></Period></MPD>"""
LINE, EACH = '><SegmentTimeline><S t="0" d="1" r="{r}"/><S d="2"/></SegmentTimeline><', 'duration="{r}"><'


@pytest.mark.parametrize("scale, more, count", [
    (1000, LINE.format(r=9), 22), (1000, LINE.format(r=2_000_000_000), 4_000_000_004), (1000, EACH.format(r=500), 12),
    (10**9, EACH.format(r=1), 6_000_000_000), (1000, EACH.format(r=0), 0), (1000, LINE.format(r=-1), 4), (1000, EACH.format(r="x"), 0),
])  # fmt: skip
@pytest.mark.parametrize("space", ["", " " * 2000])
def test_a_manifest_that_names_pieces_without_end(tmp_path, site, scale, more, count, space):
    body = MANY.format(scale=scale, more=more, space=space).encode()
    assert dash.count_fragments(body) == count
    if count > 10**6:
        site.bodies["film.mpd"] = body
        row = row_of(tmp_path, site, "film.mpd")
        assert (
            row.status == "permanent"
            and row.reason == f"its manifest declares {count} fragments, but at most 1000000 are allowed"
        )


@pytest.mark.parametrize("change", [
    lambda text: text.replace("<MPD", "<mpd").replace("MPD>", "mpd>").replace("<Period", "<period").replace("Period>", "period>"),
    lambda text: text.replace("<MPD xmlns=", "<m:MPD xmlns:m=").replace("</MPD>", "</m:MPD>"),
    lambda text: text.replace("?>", "?>" + " " * 100_000),
    lambda text: text.replace('?>', ' encoding="GB2312"?>'), lambda text: text.replace('?>', ' encoding="Shift_JIS"?>'),
    lambda text: text.replace('?>', ' encoding="no-such"?>'), lambda text: text.encode("utf-16"), lambda text: text.encode("utf-8-sig"),
    lambda text: text.replace('"v"', '"\u821e"').encode("gb2312"),
])  # fmt: skip
def test_a_manifest_however_it_is_written(change):
    text = change(MANY.format(scale=1000, more=LINE.format(r=9), space=""))
    body = text if isinstance(text, bytes) else text.encode()
    assert dash.count_fragments(body) == 22 and stream_clocks.presentation_offset(body, "w") == 0.0


def test_a_manifest_that_is_refused_hides_nothing_beside_it(tmp_path, site):
    """Not a film that a page offers too: an extractor asks for it so that it may fail."""
    from yt_dlp.extractor.common import InfoExtractor

    site.bodies["film.mpd"] = MANY.format(scale=1000, more=LINE.format(r=2_000_000_000), space="").encode()
    with fetch._Fetcher(fetch.ydl_options(ONCE, tmp_path, local=True)) as ydl:
        assert InfoExtractor(ydl)._extract_mpd_formats(f"{site.url}/film.mpd", "1", fatal=False) == []
        assert str(ydl.refusal) == "its manifest declares 4000000004 fragments, but at most 1000000 are allowed"


def test_what_is_no_manifest_names_no_pieces():
    assert [
        dash.count_fragments(text) for text in (b"", b"<MPD", b"<html/>", b"\xff", b"<MPD/>", b"<MPD><Period/></MPD>")
    ] == [0] * 6


def test_a_playlist_that_claims_an_end_it_does_not_come_to(tmp_path, site, monkeypatch):
    site.bodies["long.m3u8"] = playlist(1, suffix="ts").replace(b"#EXTINF:1.0", b"#EXTINF:99999.0")
    row = row_of(tmp_path, site, "long.m3u8")
    assert (
        row.status == "permanent"
        and row.reason == "its playlist declares 3 files of 83 h; a video may have at most 200000 of 24 h"
    )
    monkeypatch.setattr(fetch, "FRAGMENTS", 5)
    site.bodies["many.m3u8"] = playlist(2, suffix="ts")
    assert count_segments(playlist(2, inits=2).decode()) == 6
    assert (
        row_of(tmp_path, site, "many.m3u8").reason
        == "its playlist declares 6 files of 0 h; a video may have at most 5 of 24 h"
    )
    assert not [name for _, name, _ in site.asked if name.endswith(".ts")]
