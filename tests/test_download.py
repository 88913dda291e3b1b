"""Every video has a row that says what became of it; what is finished is not fetched twice."""

import dataclasses
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from footage import numbered_video, tone

from dataset_tools import download
from dataset_tools.base import schema
from dataset_tools.base.errors import UserError
from dataset_tools.base.layout import Layout
from dataset_tools.base.work_cache import file_sha256

QUICK = download.Params(retries=1, attempts=2, attempt_wait=0, sleep_requests=0, sleep_min=0, sleep_max=0, min_ok=0)


@pytest.fixture(scope="module")
def movie(tmp_path_factory):
    return numbered_video(tmp_path_factory.mktemp("movie") / "movie.mp4", 30, 2, tone(2)).read_bytes()


@pytest.fixture
def site(movie, monkeypatch):
    """A server on loopback: /ok.mp4, /page.mp4 (a page in its place), /cut.mp4 (breaks off once), /<status>.mp4."""
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    asked = []

    class Handler(BaseHTTPRequestHandler):
        def do_HEAD(self):
            self.do_GET()

        def do_GET(self):
            name = self.path.strip("/").removesuffix(".mp4")
            asked.append((self.command, name, self.headers.get("Range")))
            if name.isdigit():
                return self.send_error(int(name))
            body = b"<html><video>" * 99 if name == "page" else movie
            first = int((self.headers.get("Range") or "bytes=0-")[6:].split("-")[0])
            self.send_response(206 if first else 200)
            self.send_header("Content-Type", "video/mp4")
            self.send_header("Content-Length", str(len(body) - first))
            self.send_header("Accept-Ranges", "bytes")
            if first:
                self.send_header("Content-Range", f"bytes {first}-{len(body) - 1}/{len(body)}")
            self.end_headers()
            if self.command == "GET":
                tried = sum(1 for a in asked if a[1] == name and a[0] == "GET")
                half = name == "cut" and not first and tried <= 3
                self.wfile.write(body[first : len(body) // 2] if half else body[first:])

        def log_message(self, *_): ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    server.asked = asked
    server.url = f"http://127.0.0.1:{server.server_port}"
    yield server
    server.shutdown()
    server.server_close()


def corpus(root, urls):
    """A corpus whose sources list `urls`: {video id: URL}."""
    (root / "manifests" / "c").mkdir(parents=True)
    layout = Layout(root=root, corpus="c")
    rows = [schema.Video(video_id=v, url=u) for v, u in urls.items()]
    schema.write_records(layout.stage("sources") / "videos.csv", rows)
    return layout


def test_ok_gone_and_failing_servers(tmp_path, site, movie):
    names = ("ok", "404", "410", "401", "503", "429", "page")
    layout = corpus(tmp_path, {f"v{n}": f"{site.url}/{n}.mp4" for n in names} | {"vnone": ""})
    params = dataclasses.replace(QUICK, retries=0, attempts=1)
    rows = {row.id: row for row in download.download(layout, params)}
    assert {name: row.status for name, row in rows.items()} == {
        "vok": "ok", "v404": "permanent", "v410": "permanent", "v401": "auth", "v503": "transient", "v429": "transient",
        "vpage": "permanent", "vnone": "failed",
    }  # fmt: skip
    assert "404" in rows["v404"].reason and "503" in rows["v503"].reason
    assert "not a readable video" in rows["vpage"].reason and "url is empty" in rows["vnone"].reason
    assert all("\n" not in row.reason and str(tmp_path) not in row.reason for row in rows.values())
    ok = layout.stage("download") / "vok.mp4"
    assert ok.read_bytes() == movie
    assert rows["vok"].bytes == len(movie) and rows["vok"].sha256 == file_sha256(ok) and rows["vok"].seconds == 2.0
    assert sorted(p.name for p in layout.stage("download").iterdir()) == ["rows.csv", "vok.mp4"]
    assert schema.read_records(layout.stage("download") / "rows.csv", download.DownloadRow)


def test_finished_videos_are_not_fetched_again(tmp_path, site, movie):
    layout = corpus(tmp_path, {"v": f"{site.url}/ok.mp4"})
    first = download.download(layout, QUICK)
    asked = len(site.asked)
    (layout.stage("download") / "v.mp4").unlink()
    assert download.download(layout, QUICK) == first
    assert len(site.asked) == asked
    assert (layout.stage("download") / "v.mp4").read_bytes() == movie
    kept = next(layout.cache("download").glob("*/video.mp4"))
    kept.write_bytes(b"rot")
    assert download.download(layout, QUICK) == first
    assert len(site.asked) > asked and kept.read_bytes() == movie


def test_a_broken_connection_is_resumed(tmp_path, site, movie):
    layout = corpus(tmp_path, {"v": f"{site.url}/cut.mp4"})
    assert download.download(layout, QUICK)[0].status == "ok"
    assert (layout.stage("download") / "v.mp4").read_bytes() == movie
    assert any(begin and begin != "bytes=0-" for _, name, begin in site.asked if name == "cut")


def test_local_files(tmp_path, movie):
    (tmp_path / "films").mkdir()
    (tmp_path / "films" / "one.mp4").write_bytes(movie)
    layout = corpus(tmp_path, {"a": "../../../films/one.mp4", "b": "../../../films/none.mp4"})
    a, b = download.download(layout, QUICK)
    assert (a.status, a.title) == ("ok", "") and (layout.stage("download") / "a.mp4").read_bytes() == movie
    assert (b.status, b.reason) == ("permanent", "no such file: ../../../films/none.mp4")
    (tmp_path / "films" / "one.mp4").write_bytes(movie + b"\0" * 8)
    assert download.download(layout, QUICK)[0].bytes == len(movie) + 8


def test_too_many_failures_end_the_stage_after_writing_the_rows(tmp_path):
    layout = corpus(tmp_path, {"a": "", "b": ""})
    (tmp_path / "params.yaml").write_text("download: {min_ok: 0.5}\n")
    with pytest.raises(
        UserError, match="download: 0 of 2 ok, 2 failed, but download.min_ok asks for 50%; a: url is empty"
    ):
        download.main(["--corpus", "c", "--root", str(tmp_path)])
    assert len(schema.read_records(layout.stage("download") / "rows.csv", download.DownloadRow)) == 2


@pytest.mark.parametrize(
    "text, status",
    [
        ("ERROR: [youtube] abc: Private video. Sign in if you've been granted access", "auth"),
        ("ERROR: [youtube] abc: Video unavailable. This video has been removed by the uploader", "permanent"),
        ("ERROR: [youtube] abc: Sign in to confirm you're not a bot", "transient"),
        ("ERROR: [youtube] abc: This content isn't available, try again later", "transient"),
        ("ERROR: [TikTok] 1: This post is private, status code 10222", "auth"),
        ("ERROR: Unable to download video: HTTP Error 404: Not Found", "permanent"),
        ("ERROR: something nobody has seen before", "transient"),
    ],
)
def test_words_of_sites_are_understood(text, status):
    from yt_dlp.utils import DownloadError

    found, reason = download.classify(DownloadError(text))
    assert found == status
    assert not reason.startswith(("ERROR", "["))


def test_missing_cookie_file_is_one_line(tmp_path):
    layout = corpus(tmp_path, {"a": "https://example.org/a.mp4"})
    with pytest.raises(UserError, match="download.cookies_file: no such file: cookies.txt"):
        download.download(layout, download.Params(cookies_file="cookies.txt"))
