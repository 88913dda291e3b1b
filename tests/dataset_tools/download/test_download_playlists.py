"""Films that come in the pieces of a playlist (HLS): all of it, in step, or one reason why not."""

import re

import pytest

from dataset_tools.download import hls
from tests.dataset_tools.download.test_download import run
from tests.dataset_tools.download.test_download_streams import TWICE, got, in_step, playlist
from tests.helpers.film_site import corpus


@pytest.mark.parametrize("text", [
    playlist(2, inits=1), playlist(2, inits=2), playlist(2, suffix="ts"), playlist(2, inits=2).replace(b"#EXT-X-DISCONTINUITY\n", b""),
    playlist(2, suffix="ts").replace(b"#EXT-X-DISCONTINUITY\n", b""),
], ids=["one init", "two inits", "MPEG-TS", "two inits, no mark", "MPEG-TS, no mark"])  # fmt: skip
def test_hls_whose_stamps_begin_anew_is_whole(tmp_path, site, files, text):
    site.bodies.update(files)
    site.bodies["again-init.m4s"] = files["both-init.m4s"]
    text = text.replace(b'both-init.m4s",X=1', b'again-init.m4s"')
    row, path = got(tmp_path, site, "film.m3u8", film_m3u8=text)
    assert row.status == "ok" and 5.9 < row.seconds < 6.3, row
    assert in_step(path, TWICE)


def test_hls_by_byte_ranges(tmp_path, site, files):
    parts = [files[f"both{k}.ts"] for k in range(3)]
    site.bodies["both.ts"] = b"".join(parts)
    ranges = [f"{len(parts[0])}@0", len(parts[1]), len(parts[2])]
    text = playlist(2, suffix="ts", ranges=ranges)
    pieces = hls.split_playlist(text.decode(), "http://x/a/film.m3u8")
    assert len(pieces) == 2 and pieces[1].count("http://x/a/both.ts") == 3
    assert re.findall("BYTERANGE:(.*)", pieces[1]) == [
        f"{len(p)}@{sum(map(len, parts[:k]))}" for k, p in enumerate(parts)
    ]


def test_hls_with_its_audio_apart(tmp_path, site, files):
    master = ('#EXTM3U\n#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID="a",NAME="x",DEFAULT=YES,AUTOSELECT=YES,URI="audio.m3u8"\n'
              '#EXT-X-STREAM-INF:BANDWIDTH=200000,RESOLUTION=64x48,CODECS="avc1.42c01e,mp4a.40.2",AUDIO="a"\npicture.m3u8\n')  # fmt: skip
    for kind, inits in (("m4s", 1), ("ts", 0)):
        site.bodies.update(files)
        pieces = {
            f"{name}_m3u8": playlist(2, inits=inits, suffix=kind, prefix=prefix)
            for name, prefix in (("picture", "v"), ("audio", "a"))
        }
        row, path = got(tmp_path / kind, site, "film.m3u8", film_m3u8=master.encode(), **pieces)
        assert row.status == "ok" and 5.9 < row.seconds < 6.3, row
        assert in_step(path, TWICE), kind


def test_pieces_of_different_make_are_refused(tmp_path, site, files):
    site.bodies.update(files)
    site.bodies["other-all.m4s"] = files["other.mp4"]
    text = playlist(1, inits=1).decode().replace(
        "#EXT-X-ENDLIST", '#EXT-X-DISCONTINUITY\n#EXT-X-MAP:URI="none.m4s"\n#EXTINF:3,\nother-all.m4s\n#EXT-X-ENDLIST')  # fmt: skip
    site.bodies["none.m4s"] = b"\0\0\0\x08free"
    row, path = got(tmp_path, site, "film.m3u8", film_m3u8=text.encode())
    assert (row.status, row.reason) == (
        "permanent",
        "piece 2 of the video has another encoding than the first",
    ) and not path.exists()
    before = len(site.asked)
    assert run(corpus(tmp_path, {"v": f"{site.url}/film.m3u8"}))["v"] == row and len(site.asked) == before, (
        "not asked for again"
    )


def test_a_piece_that_came_as_something_else_is_fetched_again(tmp_path, site, files):
    site.bodies.update(files)
    site.bodies |= {f"both{k}.ts": b"<html>busy, come back later" * 99 for k in range(3)}
    row, path = got(tmp_path, site, "film.m3u8", film_m3u8=playlist(2, suffix="ts"))
    assert row.status == "transient" and not list(tmp_path.rglob("video.*"))
    site.bodies.update(files)
    assert run(corpus(tmp_path, {"v": f"{site.url}/film.m3u8"}))["v"].status == "ok" and in_step(path, TWICE)


def test_stamps_that_begin_anew_without_a_mark_are_one_reason(tmp_path, site, files):
    site.bodies.update(files)
    text = playlist(2, inits=1).replace(b"#EXT-X-DISCONTINUITY\n", b"")
    row, _ = got(tmp_path, site, "film.m3u8", film_m3u8=text)
    assert row.status == "permanent" and "the timestamps restart at" in row.reason


def test_a_playlist_with_less_behind_it_than_it_says(tmp_path, site, files):
    site.bodies.update(files)
    text = playlist(1, inits=1).replace(b"#EXTINF:1.0", b"#EXTINF:9.0")
    row, _ = got(tmp_path, site, "film.m3u8", film_m3u8=text)
    assert row.status == "permanent" and row.reason == "its playlist adds up to 27 s, but the download has 3 s"
