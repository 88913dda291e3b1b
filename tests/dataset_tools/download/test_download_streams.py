"""Films whose picture and audio come apart, without a length or in a list: all of it, in step, or one reason why not."""

import dataclasses
import re
import struct

import numpy as np
import pytest

from dataset_tools.download import fetch
from dataset_tools.lib.video.video_io import read_audio, timed_frames
from tests.dataset_tools.download.conftest import FLASHES, FRAGMENTS, ffmpeg
from tests.dataset_tools.download.test_download import QUICK, run
from tests.helpers.film_site import corpus, padded
from tests.helpers.footage import RATE

NOTHING = b"\x47\x1f\xff\x10" + b"\xff" * 184  # a packet of MPEG-TS to be left out


def late(data, seconds, rate):
    """A fragmented MP4 whose stamps, of `rate` a second, are `seconds` later."""
    data, at = bytearray(data), data.find(b"tfdt")
    while at >= 0:
        form = ">Q" if data[at + 4] else ">I"
        value = struct.unpack_from(form, data, at + 8)[0] + round(seconds * rate)
        struct.pack_into(form, data, at + 8, value)
        at = data.find(b"tfdt", at + 4)
    return bytes(data)


def moments(path):
    """(seconds of the flashes, seconds of the clicks) of a video."""
    frames = [(time, frame.to_ndarray(format="rgb24").mean()) for time, frame in timed_frames(path)]
    bright = [time for (time, light), (_, before) in zip(frames[1:], frames, strict=False) if light > 150 > before]
    audio, rate = read_audio(path)
    loud = np.flatnonzero(np.abs(audio[0].astype(int)) > 6000) / rate
    return np.array(bright), loud[np.r_[True, np.diff(loud) > 0.1]]


def got(tmp_path, site, name, **bodies):
    """(row, path) of a download of /`name` from the site."""
    site.bodies.update({key.replace("_", "."): body for key, body in bodies.items()})
    layout = corpus(tmp_path, {"v": f"{site.url}/{name}"})
    return run(layout)["v"], layout.stage("download") / "v.mp4"


def in_step(path, at, within=0.03):
    """Flashes and clicks are together, and are all that a film with flashes at `at` has, but for where it begins."""
    flashes, clicks = moments(path)
    assert len(flashes) == len(clicks) == len(at), (flashes, clicks)
    assert np.abs(flashes - clicks).max() < within, (flashes, clicks)
    assert np.abs(np.diff(flashes) - np.diff(at)).max() < 0.1, flashes
    return True


MPD = """<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="{type}" mediaPresentationDuration="PT3S" minBufferTime="PT1S"
profiles="urn:mpeg:dash:profile:isoff-on-demand:2011"><Period><AdaptationSet mimeType="video/mp4"><SegmentBase timescale="1000"
presentationTimeOffset="{v}"/><Representation id="v" codecs="avc1.42c01e" width="64" height="48" bandwidth="200000"><BaseURL>v.mp4</BaseURL>
</Representation></AdaptationSet><AdaptationSet mimeType="audio/mp4"><Representation id="a" codecs="mp4a.40.2" bandwidth="64000">
<BaseURL>a.mp4</BaseURL><SegmentBase timescale="44100" presentationTimeOffset="{a}"/></Representation></AdaptationSet></Period></MPD>"""


def mpd(v=0, a=0, kind="static"):
    return MPD.format(v=v, a=a, type=kind).encode()


@pytest.mark.parametrize(("picture", "audio", "offsets"), [
    (0, 0, (0, 0)), (3600, 3600, (0, 0)), (0, 100, (0, 100 * 44100)), (7, 0, (7000, 0)), (9, 3600, (9000, 3600 * 44100)),
])  # fmt: skip
def test_picture_and_audio_keep_their_clocks(tmp_path, site, files, picture, audio, offsets):
    rate = int(re.search(rb"mdhd.{12}(.{4})", files["v.mp4"], re.DOTALL)[1].hex(), 16)
    site.bodies.update(
        {"v": late(files["v.mp4"], picture, rate), "a": late(files["a.mp4"], audio, RATE), "film.mpd": mpd(*offsets)}
    )
    row, path = got(tmp_path, site, "film.mpd")
    assert (row.status, row.reason) == ("ok", "") and 2.9 < row.seconds < 3.2
    assert in_step(path, FLASHES)


@pytest.mark.parametrize("name", ["film.mpd", "pieces.m3u8"])
def test_the_size_of_a_film_is_that_of_all_its_files(tmp_path, site, files, name):
    """Picture and audio, or pieces, of 500 KB each."""
    site.bodies.update(
        {"v": padded(files["v.mp4"], 500_000, 1), "a": padded(files["a.mp4"], 500_000, 2), "film.mpd": mpd()}
    )
    pieces = "#EXT-X-DISCONTINUITY\n".join(f"#EXTINF:1,\nboth{k}.ts\n" for k in range(3))
    site.bodies.update({f"both{k}.ts": files[f"both{k}.ts"] + NOTHING * 2600 for k in range(3)})
    site.bodies["pieces.m3u8"] = f"#EXTM3U\n#EXT-X-TARGETDURATION:2\n{pieces}#EXT-X-ENDLIST\n".encode()
    layout = corpus(tmp_path, {"v": f"{site.url}/{name}"})
    row = run(layout, dataclasses.replace(QUICK, max_gb=0.0008))["v"]
    assert (row.status, row.reason) == ("permanent", "it is longer than download.max_gb, 0.0008 GB, or has no end")
    assert not list(layout.cache("download").rglob("video.*"))
    assert run(layout, dataclasses.replace(QUICK, max_gb=0.0018))["v"].status == "ok"


def test_audio_whose_beginning_is_missing_stays_where_it_is(tmp_path, site, files):
    """The audio's file begins with second 1, and its stamps say so."""
    (tmp_path / "film.mp4").write_bytes(files["film.mp4"])
    ffmpeg("-ss", 1, "-i", tmp_path / "film.mp4", "-map", "0:a", "-c:a", "aac", *FRAGMENTS, tmp_path / "a.mp4")
    site.bodies.update({"v": files["v.mp4"], "a": late((tmp_path / "a.mp4").read_bytes(), 1, RATE), "film.mpd": mpd()})
    row, path = got(tmp_path, site, "film.mpd")
    assert row.status == "ok"
    flashes, clicks = moments(path)
    assert len(flashes) == 4 and len(clicks) == 3 and np.abs(clicks - flashes[1:]).max() < 0.03


def test_clocks_that_have_nothing_in_common_are_refused(tmp_path, site, files):
    site.bodies.update({"v": files["v.mp4"], "a": late(files["a.mp4"], 100, RATE), "film.mpd": mpd()})
    row, path = got(tmp_path, site, "film.mpd")
    assert row.status == "permanent" and re.search(r"share no clock: .* 0\.0 to 3\.\d s and 100\.0 to", row.reason), (
        row.reason
    )
    assert not path.exists()


def periods(number):
    """A DASH manifest of the same segments, again and again."""
    one = ('<Period duration="PT3S"><AdaptationSet mimeType="video/mp4"><Representation id="v{0}" codecs="avc1.42c01e" width="64" '
           'height="48" bandwidth="200000"><SegmentList duration="1"><Initialization sourceURL="both-init.m4s"/>{1}</SegmentList>'
           "</Representation></AdaptationSet></Period>")  # fmt: skip
    segments = "".join(f'<SegmentURL media="both{k}.m4s"/>' for k in range(3))
    body = "".join(one.format(k, segments) for k in range(number))
    return f'<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static">{body}</MPD>'.encode()


def test_dash_of_several_periods_is_one_reason_and_not_half_a_film(tmp_path, site, files):
    site.bodies.update(files)
    row, path = got(tmp_path, site, "two.mpd", two_mpd=periods(2))
    assert row.status == "permanent" and "the timestamps restart" in row.reason and not path.exists()
    row, path = got(tmp_path, site, "one.mpd", one_mpd=periods(1))
    assert row.status == "ok" and in_step(path, FLASHES)


def playlist(parts, *, inits=0, suffix="m4s", prefix="both", end=True, ranges=None):
    """A media playlist that plays the film `parts` times, with an initialization for the first `inits` of them."""
    lines = ["#EXTM3U", "#EXT-X-VERSION:7", "#EXT-X-TARGETDURATION:2"]
    for part in range(parts):
        lines += ["#EXT-X-DISCONTINUITY"] if part else []
        lines += (
            [f'#EXT-X-MAP:URI="{prefix}-init.m4s"' + (f"{',' * bool(part)}X={part}" if part else "")]
            if part < inits
            else []
        )
        for k in range(3):
            lines += [
                "#EXTINF:1.0,",
                *([f"#EXT-X-BYTERANGE:{ranges[k]}"] if ranges else []),
                f"{prefix}{'' if ranges else k}.{suffix}",
            ]
    return "\n".join([*lines, *(["#EXT-X-ENDLIST"] if end else []), ""]).encode()


TWICE = (*FLASHES, *(at + 3.03 for at in FLASHES))


@pytest.mark.parametrize("name", ["film.m3u8", "master.m3u8", "film.mpd"])
def test_live_streams_are_refused_before_anything_is_fetched(tmp_path, site, files, name):
    site.bodies.update(files, v=files["v.mp4"], a=files["a.mp4"])
    master = b"#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=200000,RESOLUTION=64x48\nfilm.m3u8\n"
    row, path = got(
        tmp_path,
        site,
        name,
        film_m3u8=playlist(1, inits=1, end=False),
        master_m3u8=master,
        film_mpd=mpd(kind="dynamic"),
    )
    assert row.status == "transient" and row.reason.startswith("it is a live stream"), row
    assert not {asked for _, asked, _ in site.asked} & {"v", "a", "both0.m4s"} and not path.exists()
    assert QUICK.attempts > 1 and [a[:2] for a in site.asked].count(("GET", name)) <= 3, "not asked for at each attempt"


def test_a_stream_without_a_length_that_comes_at_the_pace_of_life_is_live(tmp_path, site, files, monkeypatch):
    monkeypatch.setattr(fetch, "PACE_CHECK_SECONDS", 0.5)  # the first 3 s of film come at once, as a store does
    film = b"".join(files[f"both{k}.ts"] for k in range(3))
    row, path = got(tmp_path, site, "endless.mp4", endless=film)
    assert row.status == "transient" and "so it is probably a live stream" in row.reason and not path.exists()
    assert [a[:2] for a in site.asked].count(("GET", "endless")) <= 3, "not asked for at each attempt"
    row, path = got(tmp_path, site, "unmeasured.mp4", unmeasured=film)
    assert row.status == "ok" and in_step(path, FLASHES)


def pages(url, count):
    films = [f"{url}/film{k}.mp4" for k in range(count)]
    return {
        "page_html": ("<html><title>Dances</title>" + "".join(f'<video src="{f}"></video>' for f in films)).encode(),
        "feed_xml": ('<?xml version="1.0"?><rss version="2.0"><channel><title>Dances</title>'
                     + "".join(f"<item><title>d</title><link>{f}</link></item>" for f in films) + "</channel></rss>").encode(),
    }  # fmt: skip


@pytest.mark.parametrize("name", ["page.html", "feed.xml"])
def test_a_list_is_refused_and_a_list_of_one_is_that_one(tmp_path, site, movie, name):
    row, path = got(tmp_path, site, name, **pages(site.url, 5))
    assert row.status == "failed" and re.search(
        r"leads to a list of (5|several) videos; put the address of one video into", row.reason
    )
    assert not path.exists() and not [a for _, a, _ in site.asked if "film" in a]
    row, path = got(tmp_path, site, name, **pages(site.url, 1))
    assert row.status == "ok" and path.read_bytes() == movie


class Killed(BaseException):
    """In place of SIGKILL: nothing in the project or in yt-dlp takes it up."""


@pytest.mark.parametrize("when", ["before the last step", "after it"])
@pytest.mark.parametrize("name", ["film.m3u8", "film.mpd", "twice.m3u8", "both.mp4"])
def test_what_a_killed_run_left_becomes_the_same_bytes(tmp_path, site, files, monkeypatch, name, when):
    site.bodies |= files | {"film.m3u8": playlist(1, suffix="ts"), "twice.m3u8": playlist(2, suffix="ts")}
    site.bodies |= {"film.mpd": mpd(), "both.mp4": files["film.mp4"]}
    row, path = got(tmp_path / "whole", site, name)
    assert row.status == "ok", row

    def killed(*_, **__):
        raise Killed

    def then_killed(self, *args, ours=fetch._Fetcher.run_pp):
        ours(self, *args)
        raise Killed

    if name == "both.mp4":  # nothing is done to it after the download
        monkeypatch.setattr(fetch, "run_sandboxed", killed)
    monkeypatch.setattr(fetch._Fetcher, "run_pp", then_killed if when == "after it" else killed)
    with pytest.raises(Killed):
        got(tmp_path / "killed", site, name)
    assert list((tmp_path / "killed").rglob("video.*"))
    monkeypatch.undo()
    again, same = got(tmp_path / "killed", site, name)
    assert again == row and same.read_bytes() == path.read_bytes()
