"""A web site on the loopback for the tests of download: it serves films, and what a film's name says goes wrong."""

import random
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from dataset_tools.lib.core import schema
from dataset_tools.lib.core.layout import Layout
from tests.helpers.footage import numbered_video, tone


def padded(movie, size, seed):
    """The movie with a free box behind it that brings it to `size` bytes."""
    more = size - len(movie) - 8
    return movie + (more + 8).to_bytes(4, "big") + b"free" + random.Random(seed).randbytes(more)


TYPES = {"mpd": "application/dash+xml", "m3u8": "application/vnd.apple.mpegurl", "html": "text/html", "xml": "text/xml"}

ENDLESS = {
    "continues": (b"", b"HTTP/1.1 100 Continue\r\n\r\n"), "head": (b"HTTP/1.1 200 OK\r\nX-Name: ", b"x"),
    "chunk": (b"HTTP/1.1 200 OK\r\nContent-Type: video/mp4\r\nTransfer-Encoding: chunked\r\n\r\n5;", b"x"),
}  # fmt: skip
"""What a server begins with and what it repeats: lines before the answer, a line of its head, the line of a chunk's size."""


class Handler(BaseHTTPRequestHandler):
    """Serves /<name>.mp4 and other /<name>; what the name says goes wrong. `server.bodies` are further files, by name."""

    def do_HEAD(self):
        self.do_GET()

    def do_GET(self):
        name = self.path.strip("/").split("?")[0].removesuffix(".mp4")
        site = self.server
        begin = int((self.headers.get("Range") or "bytes=0-")[6:].split("-")[0])
        site.asked.append((self.command, name, begin))
        if name.isdigit():
            return self.send_error(int(name))
        if name in site.redirects:
            return self.reply(302, b"", Location=site.redirects[name])
        if name == "private" and "key=open" not in self.headers.get("Cookie", ""):
            return self.send_error(401)
        if (
            name.startswith("guarded") and "sec-ch-ua" not in self.headers
        ):  # as a browser's shake of hands has, yt-dlp's own has not
            return self.reply(403, b"", **{"cf-mitigated": "challenge"})
        if name in ENDLESS:
            return self.drip(*ENDLESS[name])
        if name.startswith("endless") or name == "unmeasured":
            return self.without_a_length(
                site.bodies[name], TYPES.get(name.rpartition(".")[2], "video/mp2t"), again=name != "unmeasured"
            )
        if name == "meet" and self.command == "GET":
            site.barrier.wait()
        body = site.bodies.get(name, site.movie)
        if begin >= len(body):
            return self.send_error(416)
        claimed = {"long": len(body) + 5000, "short": len(body) * 3 // 4}.get(name, len(body)) - begin
        head = {"Content-Length": claimed, "Accept-Ranges": "bytes", "ETag": f'"{hash(body)}"'}
        head["Content-Type"] = (
            "text/html" if name in ("html", "busypage") else TYPES.get(name.rpartition(".")[2], "video/mp4")
        )
        if begin:
            head["Content-Range"] = f"bytes {begin}-{len(body) - 1}/{len(body)}"
        self.reply(206 if begin else 200, b"", **head)
        if self.command == "HEAD":
            return None
        once = name in ("cut", "stall") and sum(asked[:2] == ("GET", name) for asked in site.asked) <= 2 and not begin
        drips = name.startswith("drip") or name == "guarded-drip"
        if name == "late":
            time.sleep(0.3)
        end = begin + claimed if name == "short" else len(body) // 2 if once or drips or name == "hang" else len(body)
        try:
            for at in range(begin, end, 4096):
                self.wfile.write(body[at : min(end, at + 4096)])
                site.sent += 4096
                time.sleep(site.pause)
        except OSError:
            return None  # the client was killed
        while drips and not site.closing.wait(0.1):
            try:
                self.wfile.write(b" ")
            except OSError:
                return None
        if name in ("stall", "hang") and end < len(body):
            site.closing.wait(1)
        return None

    def drip(self, first, more):
        """Bytes that never come to the end of what they begin."""
        self.wfile.write(first)
        while not self.server.closing.wait(0.05):
            try:
                self.wfile.write(more)
            except OSError:
                return

    def without_a_length(self, body, kind, again):
        """A body whose end only the closing of the connection tells, sent again and again or once."""
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.end_headers()
        while self.command == "GET":
            try:
                self.wfile.write(body)
            except OSError:
                return
            if not again or self.server.closing.wait(0.1):
                return

    def reply(self, status, body, **headers):
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, str(value))
        if "Content-Length" not in headers:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()

    def log_message(self, *_): ...


@contextmanager
def serving(movie: bytes) -> Iterator[ThreadingHTTPServer]:
    """A running site whose films are `movie`; its `url`, what was `asked`, and `pause` seconds between 4 KB."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.handle_error = lambda *_: None
    server.asked, server.redirects, server.pause, server.sent, server.movie = [], {}, 0, 0, movie
    server.bodies = {
        "page": b"<html><title>sorry, film</title>" + b"<p>log in" * 99,
        "html": b"<html>gone</html>",
        "busypage": b"<html><title>Too many requests</title>",
        "message": b'{"error": "please log in"}',
        "half": movie[: len(movie) // 2],
    }
    server.barrier, server.closing = threading.Barrier(2, timeout=20), threading.Event()
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
    server.url = f"http://127.0.0.1:{server.server_port}"
    try:
        yield server
    finally:
        server.closing.set()
        server.shutdown()
        server.server_close()


def corpus(root, urls, **more):
    """A corpus whose sources list `urls`: {video id: URL}."""
    (root / "manifests" / "c").mkdir(parents=True, exist_ok=True)
    layout = Layout(root=root, corpus="c")
    rows = [schema.Video(video_id=v, url=u, **more) for v, u in urls.items()]
    schema.write_records(layout.stage("sources") / "videos.csv", rows)
    return layout


def content(layout):
    return {path.name: path.read_bytes() for path in layout.stage("download").iterdir()}


@pytest.fixture(scope="module")
def movie(tmp_path_factory):
    """4 s of video whose index comes first, as on the web: cut short it still opens."""
    return numbered_video(tmp_path_factory.mktemp("movie") / "movie.mp4", 30, 4, tone(4)).read_bytes()


@pytest.fixture
def site(movie, monkeypatch):
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    with serving(movie) as server:
        yield server
