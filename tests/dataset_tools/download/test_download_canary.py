"""Before many videos one is fetched alone: what would hit all ends the run, what hits one site costs its videos alone."""

import dataclasses
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from dataset_tools.download import classify, fetch
from dataset_tools.download.canary import send_canaries
from dataset_tools.download.dead_links import DeadLink
from dataset_tools.download.errors import Refused
from dataset_tools.lib.core import schema
from dataset_tools.lib.core.errors import UserError
from tests.dataset_tools.download.test_download import QUICK, run
from tests.helpers.film_site import corpus

ROOT = Path(__file__).resolve().parents[3]


def many(site, first, count=21):
    """URLs of `count` videos, of which the first are `first`."""
    names = [*first, *(f"film{k}" for k in range(count - len(first)))]
    return {f"v{k:02}": f"{site.url}/{name}.mp4" for k, name in enumerate(names)}


def rows_stay(layout):
    """A rows.csv of an earlier run, which a run that does not begin leaves alone."""
    path = layout.stage("download") / "rows.csv"
    path.parent.mkdir(exist_ok=True)
    path.write_text("id,status\n")
    return lambda: path.read_text() == "id,status\n"


def nothing_given_up(layout):
    return not list(layout.cache("download").rglob("lost.json"))


@pytest.mark.parametrize("name, reason, advice", [
    ("busypage", "Too many requests", "set download.cookies_from_browser"),
    ("429", "HTTP Error 429", "set download.cookies_from_browser .*, or wait an hour"),
])  # fmt: skip
def test_a_guard_against_robots_ends_the_run(tmp_path, site, name, reason, advice):
    layout = corpus(tmp_path, many(site, [name]))
    kept = rows_stay(layout)
    with pytest.raises(UserError, match=f"^download: v00, requested before 21 videos: .*{reason}.*; .*{advice}") as err:
        run(layout)
    assert "\n" not in str(err.value) and {asked for _, asked, _ in site.asked} == {name}
    assert kept() and nothing_given_up(layout)


def closed_port():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return taken.getsockname()[1]


def test_no_network_ends_the_run_and_one_dead_site_does_not(tmp_path, site):
    dead = {f"d{k:02}": f"http://127.0.0.1:{closed_port()}/{k}.mp4" for k in range(21)}
    layout = corpus(tmp_path, dead)
    kept = rows_stay(layout)
    with pytest.raises(
        UserError, match="d00, requested before 21 videos: .*refused.*; check the network and the proxy"
    ):
        run(layout)
    assert kept() and nothing_given_up(layout)
    other = {"v": f"{site.url.replace('127.0.0.1', 'localhost')}/ok.mp4"}
    rows = run(corpus(tmp_path, dead | other), dataclasses.replace(QUICK, attempts=1, retries=0))
    assert rows["v"].status == "ok" and {row.status for name, row in rows.items() if name != "v"} == {"transient"}


def canaries(urls, silent):
    """What `send_canaries` makes of addresses of which `silent` do not answer, and those it asked for."""
    asked = []

    def outcome(video):
        asked.append(video.video_id)
        return (
            {"status": "transient", "reason": "timed out", "advice": classify.NETWORK}
            if silent(video.video_id)
            else {"was": ""}
        )

    return send_canaries([schema.Video(video_id=str(k), url=url) for k, url in enumerate(urls)], outcome), asked


def test_one_film_that_does_not_come_is_not_the_site():
    site = [f"https://a.org/{k}" for k in range(300)]
    assert canaries(site, lambda name: name in ("0", "1")) == ({}, ["0", "1", "2"])
    with pytest.raises(UserError, match="^0, requested before 300 videos: timed out; check the network"):
        canaries(site, lambda name: True)


def test_a_few_sites_that_are_gone_are_not_the_network():
    hosts = [f"https://h{k}.org/" for k in range(43)]
    assert canaries(hosts, lambda name: name in ("0", "1", "2")) == ({}, ["0", "1", "2", "3"])
    with pytest.raises(UserError, match="^0, requested before 43 videos"):
        canaries(hosts, lambda name: True)


def test_what_is_the_videos_own_does_not_end_the_run(tmp_path, site, movie):
    layout = corpus(tmp_path, many(site, ["404", "html"]))
    rows = run(layout)
    assert [rows[f"v{k:02}"].status for k in range(3)] == ["permanent", "permanent", "ok"] and len(rows) == 21
    assert [asked for _, asked, _ in site.asked if asked == "film0"].count("film0") <= 3, "fetched once, by the canary"
    site.asked.clear()
    run(layout)
    assert not site.asked, "what is finished or given up needs none"


def test_twenty_videos_need_none(tmp_path, site):
    rows = run(corpus(tmp_path, many(site, ["429"], count=20)))
    assert rows["v00"].status == "transient" and {row.status for row in rows.values()} == {"transient", "ok"}


def test_without_a_runtime_youtube_is_not_asked(tmp_path, site, monkeypatch):
    monkeypatch.setattr(classify, "has_runtime", lambda: False)
    films = {f"v{k:02}": f"https://www.youtube.com/watch?v=abcdefghi{k:02}" for k in range(21)}
    layout = corpus(tmp_path, films)
    kept = rows_stay(layout)
    with pytest.raises(UserError, match="^download: YouTube needs a JavaScript runtime, .*make install installs deno"):
        run(layout)
    assert kept() and nothing_given_up(layout)
    assert not classify.lacks_runtime([f"{site.url}/ok.mp4"])


@pytest.mark.parametrize("count", [3, 25])
def test_without_a_runtime_the_films_of_other_sites_come(tmp_path, site, movie, monkeypatch, capsys, count):
    """A few of YouTube among others cost their rows, in a small corpus and in a large one."""
    monkeypatch.setattr(classify, "has_runtime", lambda: False)
    films = many(site, [], count) | {
        "y": "https://youtu.be/abcdefghijk",
        "z": "https://www.youtube.com/watch?v=abcdefghijk",
    }
    layout = corpus(tmp_path, films)
    for _ in range(2):
        rows = run(layout)
        assert {row.status for name, row in rows.items() if name[0] == "v"} == {"ok"}
        assert [(rows[name].status, rows[name].reason) for name in "yz"] == [("failed", classify.RUNTIME)] * 2
        assert f"2 videos are not requested: {classify.RUNTIME}" in capsys.readouterr().out
    assert nothing_given_up(layout) and not schema.read_records(layout.stage("download") / "dead_links.csv", DeadLink)


def test_a_page_that_shows_a_film_of_youtube_needs_a_runtime_too(tmp_path, monkeypatch):
    monkeypatch.setattr(fetch, "has_runtime", lambda: False)
    with (
        fetch._Fetcher(fetch.ydl_options(QUICK, tmp_path, local=True)) as ydl,
        pytest.raises(Refused, match="YouTube needs a JavaScript runtime"),
    ):
        ydl.process_ie_result(
            {"id": "1", "title": "t", "formats": [], "extractor": "youtube", "extractor_key": "Youtube"}, download=False
        )


@pytest.mark.parametrize("refusing, other", [(22, 2), (21, 22)])
def test_a_site_that_refuses_all_costs_its_own_videos(tmp_path, site, movie, refusing, other):
    """Where it has most of the videos, and where another one has; each video of the other comes."""
    shut, open_ = many(site, ["429"], refusing), many(site, [], other)
    films = shut | {
        f"w{name}": url.replace("127.0.0.1", "localhost").replace("film", "piece") for name, url in open_.items()
    }
    rows = run(corpus(tmp_path, films))
    assert {row.status for name, row in rows.items() if name[0] == "w"} == {"ok"}
    assert {row.status for name, row in rows.items() if name[0] == "v"} == {"transient"}
    assert {rows[name].reason for name in shut} == {rows["v00"].reason} and "v00, requested before" in rows[
        "v00"
    ].reason
    assert "set download.cookies_from_browser" in rows["v00"].reason and not any(
        "film" in name for _, name, _ in site.asked
    )


def test_the_lock_brings_the_runtime_and_yt_dlp_finds_it_beside_python(tmp_path):
    """Whatever PATH says."""
    code = "from dataset_tools.download.classify import has_runtime; print(has_runtime())"
    environment = os.environ | {"PATH": str(tmp_path), "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "True"


@pytest.mark.parametrize("text, advice", [
    ("ERROR: [youtube] abc: Sign in to confirm you\u2019re not a bot. Use --cookies-from-browser", "cookies_from_browser"),
    (("ERROR: [youtube] abc: Video unavailable. This content isn't available, try again later. The current session has been rate-limited by "
     "YouTube for up to an hour."), "wait an hour"),
    ("ERROR: [TikTok] 1: Your IP address is blocked from accessing this post, status code 10204", "cookies_from_browser"),
    ("ERROR: [TikTok] 7110204532109876543: This post was removed", ""),
    ("ERROR: Impersonate target \"chrome\" is not available.", "curl-cffi"),
    ("ERROR: [youtube] abc: Private video", ""), ("ERROR: [youtube] abc: Requested format is not available", ""),
    ("ERROR: something nobody has seen before", ""),
])  # fmt: skip
def test_reasons_that_would_hit_all(text, advice):
    from yt_dlp.utils import DownloadError

    found = classify.advice_for_site(DownloadError(text))
    assert (advice in found) if advice else not found
    if "removed" in text:
        assert classify.classify(DownloadError(text))[0] == "permanent", "a code is no part of a video's id"
