"""No page, title, size or damaged note costs another video its row; after an interrupt the next run goes on."""

import dataclasses
import datetime
import json
import os
import re
import signal
import subprocess
import sys
import time

import pytest

from dataset_tools.download import fetch, video_cache
from dataset_tools.download.dead_links import DeadLink
from dataset_tools.download.rows import DownloadRow
from dataset_tools.lib.core import schema
from tests.conftest import ROOT
from tests.dataset_tools.download.test_download import QUICK, run
from tests.dataset_tools.download.test_download_canary import many
from tests.helpers.film_site import corpus, padded


def test_a_site_that_lets_browsers_in_alone(tmp_path, site, movie):
    row = run(corpus(tmp_path, {"v": f"{site.url}/guarded.mp4", "w": f"{site.url}/403.mp4"}))
    assert row["v"].status == "ok" and row["w"].status == "transient"


def test_an_extractor_that_asks_for_a_browser_gets_one(tmp_path, site):
    from yt_dlp import YoutubeDL
    from yt_dlp.extractor.common import InfoExtractor

    from dataset_tools.download.ydl_options import ydl_options

    with YoutubeDL(ydl_options(QUICK, tmp_path, local=False)) as ydl:
        page = InfoExtractor(ydl)._download_webpage(f"{site.url}/guarded.html", "1", impersonate=True)
    assert page and ("GET", "guarded.html", 0) in site.asked


@pytest.mark.parametrize(
    "error", [AssertionError("x"), KeyError("formats"), RecursionError("deep"), MemoryError(), TypeError("\ud800")]
)
def test_whatever_a_page_makes_yt_dlp_raise_costs_its_own_row(tmp_path, site, monkeypatch, error):
    real = fetch.fetch

    def broken(url, *args, **more):
        if "film1" in url:
            raise error
        return real(url, *args, **more)

    monkeypatch.setattr(fetch, "fetch", broken)
    layout = corpus(tmp_path, many(site, [], count=3))
    rows = run(layout)
    status, reason = (
        ("failed", "there is not enough memory")
        if isinstance(error, MemoryError)
        else ("transient", f"{type(error).__name__}.*make update-yt-dlp")
    )
    assert [row.status for row in rows.values()] == ["ok", status, "ok"] and re.search(reason, rows["v01"].reason)
    assert len(schema.read_records(layout.stage("download") / "rows.csv", DownloadRow)) == 3


def test_titles_and_addresses_that_no_table_can_hold(tmp_path, site, monkeypatch):
    real = fetch.fetch
    monkeypatch.setattr(fetch, "fetch", lambda *a, **k: dataclasses.replace(real(*a, **k), title="a\ud83d\0\n\u2028b"))
    layout = corpus(tmp_path, {"v": f"{site.url}/ok.mp4", "w": "http://[/404", "x": "http://"})
    for _ in range(2):
        rows = run(layout)
        assert (rows["v"].status, rows["v"].title) == ("ok", "a b") and {rows["w"].status, rows["x"].status} <= {
            "permanent",
            "transient",
        }
    assert schema.read_records(layout.stage("download") / "dead_links.csv", DeadLink) is not None


@pytest.mark.parametrize("note", ["", "{", "[]", "null", '{"file": "video.mp4"}', '{"status": "permanent"}', "\0\0"])
def test_notes_that_a_broken_disk_has_left(tmp_path, site, movie, note):
    layout = corpus(tmp_path, {"v": f"{site.url}/ok.mp4", "w": f"{site.url}/404.mp4"})
    first = run(layout)
    for path in (*layout.cache("download").rglob("done.json"), *layout.cache("download").rglob("lost.json")):
        path.write_text(note)
    assert run(layout) == first


def test_a_local_list_is_neither_a_film_nor_followed(tmp_path, site, movie):
    secret = tmp_path / "secret.mp4"
    secret.write_bytes(movie)
    layout = corpus(
        tmp_path,
        {"a": "../../../manifests/c/a.m3u8", "b": "../../../manifests/c/b.mp4", "c": "../../../manifests/c/c.html"},
    )
    for name, text in (("a.m3u8", f"#EXTM3U\n#EXT-X-TARGETDURATION:4\n#EXTINF:4,\n{secret}\n#EXT-X-ENDLIST\n"),
                       ("b.mp4", f"#EXTM3U\n#EXT-X-TARGETDURATION:4\n#EXTINF:4,\n{site.url}/ok.mp4\n#EXT-X-ENDLIST\n"),
                       ("c.html", f'<html><video src="{site.url}/ok.mp4"></video>')):  # fmt: skip
        (layout.manifest / name).write_text(text)
    assert {row.status for row in run(layout).values()} == {"permanent"} and not site.asked


def test_what_is_larger_than_allowed_may_have_no_end(tmp_path, site, movie):
    site.bodies["large"] = padded(movie, 3_000_000, 1)
    layout = corpus(tmp_path, {"v": f"{site.url}/large.mp4"})
    row = run(layout, dataclasses.replace(QUICK, max_gb=0.001))["v"]
    assert (row.status, row.reason) == ("permanent", "it is longer than download.max_gb, 0.001 GB, or has no end")
    assert not list(layout.cache("download").rglob("video.*"))
    before = len(site.asked)
    assert (
        run(layout, dataclasses.replace(QUICK, max_gb=0.0005))["v"].status == "permanent" and len(site.asked) == before
    )
    assert run(layout, dataclasses.replace(QUICK, max_gb=0.004))["v"].status == "ok", "the limit was raised"


def test_the_row_names_the_version_that_fetched_it(tmp_path, site, movie, monkeypatch):
    layout = corpus(
        tmp_path, {"v": f"{site.url}/ok.mp4", "w": f"{site.url}/404.mp4", "x": "../../../manifests/c/one.mp4"}
    )
    (layout.manifest / "one.mp4").write_bytes(movie)
    monkeypatch.setattr(video_cache, "YT_DLP", "2020.01.02")
    first = run(layout)
    assert [first[name].yt_dlp for name in "vwx"] == ["2020.01.02", "2020.01.02", ""]
    monkeypatch.setattr(video_cache, "YT_DLP", "2020.03.04")
    assert run(layout) == first, "another version does not change what is finished"


def test_an_old_yt_dlp_is_told_of_where_something_is_to_be_fetched(tmp_path, site, monkeypatch, capsys):
    assert (
        video_cache.version_age_days("2026.08.19", datetime.date(2026, 11, 29)) == 102
        and video_cache.version_age_days("2026.08.19.123456", datetime.date(2026, 8, 20)) == 1
    )
    assert video_cache.version_age_days("unknown") == 0
    layout = corpus(tmp_path, {"v": f"{site.url}/ok.mp4"})
    for version, words in (
        ("2020.01.02", "days old, and sites change: make update-yt-dlp"),
        (datetime.date.today().strftime("%Y.%m.%d"), ""),
    ):
        monkeypatch.setattr(video_cache, "YT_DLP", version)
        run(layout)
        said = capsys.readouterr().out
        assert (words in said) if words else "days old" not in said
        layout = corpus(tmp_path, {"w": f"{site.url}/other.mp4"})
    run(layout)
    assert "days old" not in capsys.readouterr().out


def test_an_interrupt_ends_the_stage_at_once_and_the_next_run_goes_on(tmp_path, site, movie):
    """To the process alone, as `kill -INT` does: while it fetches, and while it sleeps to be polite."""
    site.bodies["film"], site.pause = padded(movie, 400_000, 1), 0.1
    layout = corpus(tmp_path, {"v": f"{site.url}/film.mp4"})
    (tmp_path / "cookies.txt").write_text(
        "# Netscape HTTP Cookie File\n127.0.0.1\tFALSE\t/\tFALSE\t2147483647\tkey\topen\n"
    )
    (tmp_path / "tmp").mkdir()
    signal.signal(
        signal.SIGINT, signal.default_int_handler
    )  # what a shell starts in the background ignores it, and so do its children
    for sleep in (0, 60):
        (tmp_path / "params.yaml").write_text(
            f"download: {{attempts: 1, sleep_requests: 0, sleep_min: {sleep}, sleep_max: {sleep}, cookies_file: cookies.txt}}\n"
        )
        site.asked.clear()
        command = [sys.executable, "-m", "dataset_tools.download", "--corpus", "c", "--root", str(tmp_path)]
        stage = subprocess.Popen(
            command, cwd=ROOT, stderr=subprocess.PIPE, env=os.environ | {"TMPDIR": str(tmp_path / "tmp")}
        )
        ends = time.monotonic() + 60
        while (
            not [a for a in site.asked if a[0] == "HEAD" or (not sleep and a[0] == "GET" and site.sent)]
            and time.monotonic() < ends
        ):
            time.sleep(0.05)
        time.sleep(0.5)
        stage.send_signal(signal.SIGINT)
        assert stage.wait(20) == 130 and b"Traceback" not in stage.stderr.read()
        stage.stderr.close()
        assert not list((tmp_path / "tmp").rglob("cookies.txt"))
    site.pause = 0
    assert run(layout)["v"].status == "ok"
    assert json.loads(next(layout.cache("download").rglob("done.json")).read_text())["bytes"] == 400_000
