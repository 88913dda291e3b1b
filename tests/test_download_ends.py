"""Whatever a server sends, and however slowly, a download ends: no wait that only the other side could end."""

import dataclasses
import time

import pytest
from film_site import corpus, padded
from test_download import QUICK, run
from test_download_streams import playlist

from dataset_tools.corpus import answers, dash, fetch
from dataset_tools.corpus.hls import segments

ONCE = dataclasses.replace(QUICK, attempts=1, retries=0)


def row_of(tmp_path, site, name):
    return run(corpus(tmp_path, {"v": f"{site.url}/{name}"}), ONCE)["v"]


@pytest.mark.parametrize("name", ["drip.mp4", "drip.html"])
def test_a_byte_now_and_then_keeps_no_connection(tmp_path, site, movie, monkeypatch, name):
    """Ten bytes a second: no two of them are apart for long, and a film would take years."""
    monkeypatch.setattr(fetch, "READ_TIMEOUTS", 4)
    site.bodies["drip.html"] = b"<html>" + b" " * 100_000
    begun = time.monotonic()
    row = row_of(tmp_path, site, name)
    assert row.status == "transient" and "timed out: " in row.reason and time.monotonic() - begun < 30


def test_what_would_take_days_is_not_waited_for(tmp_path, site, movie, monkeypatch):
    monkeypatch.setattr(fetch, "PACE_AFTER", 0.5)
    monkeypatch.setattr(fetch, "VIDEO_SECONDS", 120)
    site.bodies["film"], site.pause = padded(movie, 9_000_000, 1), 0.1
    row = row_of(tmp_path, site, "film.mp4")
    assert (row.status, row.reason) == ("transient", "it comes so slowly that it would take over a day: run again later")
    assert not list(tmp_path.rglob("video.*"))


@pytest.mark.parametrize("pages, status", [(5, "ok"), (99, "permanent")])
def test_pages_that_lead_to_pages(tmp_path, site, movie, pages, status):
    for k in range(pages):
        after = f"page{k + 1}.html" if k + 1 < pages else "ok.mp4"
        site.bodies[f"page{k}.html"] = f'<html><head><meta http-equiv="refresh" content="0;url=/{after}"></head></html>'.encode()
    row = row_of(tmp_path, site, "page0.html")
    assert row.status == status and (status == "ok" or row.reason == "it redirects in circles: 20 pages led to another one, and none to a film")


def test_a_page_without_end(tmp_path, site, monkeypatch):
    monkeypatch.setattr(answers, "ANSWER_BYTES", 1 << 20)
    site.bodies["endless.html"] = b"<html>" + b"<p>dance" * 50_000
    row = row_of(tmp_path, site, "endless.html")
    assert row.status == "permanent" and row.reason.startswith("a page of over 1 MiB came in place of a video")


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
    assert dash.pieces(body) == count
    if count > 10**6:
        site.bodies["film.mpd"] = body
        row = row_of(tmp_path, site, "film.mpd")
        assert row.status == "permanent" and row.reason == f"its manifest names {count} pieces, at most 1000000 are taken"


def test_what_is_no_manifest_names_no_pieces():
    assert [dash.pieces(text) for text in (b"", b"<MPD", b"<html/>", b"\xff", b"<MPD/>", b"<MPD><Period/></MPD>")] == [0] * 6


def test_a_playlist_that_claims_an_end_it_does_not_come_to(tmp_path, site, monkeypatch):
    site.bodies["long.m3u8"] = playlist(1, suffix="ts").replace(b"#EXTINF:1.0", b"#EXTINF:99999.0")
    row = row_of(tmp_path, site, "long.m3u8")
    assert row.status == "permanent" and row.reason == "its playlist names 3 files of 83 h; a film has at most 200000 of 24 h"
    monkeypatch.setattr(fetch, "PIECES", 5)
    site.bodies["many.m3u8"] = playlist(2, suffix="ts")
    assert segments(playlist(2, inits=2).decode()) == 6
    assert row_of(tmp_path, site, "many.m3u8").reason == "its playlist names 6 files of 0 h; a film has at most 5 of 24 h"
    assert not [name for _, name, _ in site.asked if name.endswith(".ts")]
