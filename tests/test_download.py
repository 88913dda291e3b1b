"""Every video has a row that says what became of it, whatever its server does; what is finished is not fetched twice."""

import dataclasses
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from footage import numbered_video, tone

from dataset_tools import download
from dataset_tools.base import schema
from dataset_tools.base.errors import UserError
from dataset_tools.base.layout import Layout
from dataset_tools.base.work_cache import file_sha256
from dataset_tools.corpus import classify, fetch
from dataset_tools.corpus.dead_links import DeadLink

ROOT = Path(__file__).resolve().parents[1]
QUICK = download.Params(
    workers=1, retries=1, retry_wait=0, attempts=2, attempt_wait=0, socket_timeout=0.3, sleep_requests=0, sleep_min=0,
    sleep_max=0, min_ok=0,
)  # fmt: skip


@pytest.fixture(scope="module")
def movie(tmp_path_factory):
    """4 s of video whose index comes first, as on the web: cut short it still opens."""
    return numbered_video(tmp_path_factory.mktemp("movie") / "movie.mp4", 30, 4, tone(4)).read_bytes()


def padded(movie, size, seed):
    """The movie with a free box behind it that brings it to `size` bytes."""
    more = size - len(movie) - 8
    return movie + (more + 8).to_bytes(4, "big") + b"free" + random.Random(seed).randbytes(more)


class Handler(BaseHTTPRequestHandler):
    """Serves /<name>.mp4; what the name says goes wrong. `server.bodies` are further files, by name."""

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
        if name == "meet" and self.command == "GET":
            site.barrier.wait()
        body = site.bodies.get(name, site.movie)
        if begin >= len(body):
            return self.send_error(416)
        claimed = {"long": len(body) + 5000, "short": len(body) * 3 // 4}.get(name, len(body)) - begin
        head = {"Content-Length": claimed, "Accept-Ranges": "bytes", "ETag": f'"{hash(body)}"'}
        head["Content-Type"] = "text/html" if name in ("html", "busypage") else "video/mp4"
        if begin:
            head["Content-Range"] = f"bytes {begin}-{len(body) - 1}/{len(body)}"
        self.reply(206 if begin else 200, b"", **head)
        if self.command == "HEAD":
            return None
        once = name in ("cut", "stall") and sum(asked[:2] == ("GET", name) for asked in site.asked) <= 2 and not begin
        end = begin + claimed if name == "short" else len(body) // 2 if once or name == "hang" else len(body)
        try:
            for at in range(begin, end, 4096):
                self.wfile.write(body[at : min(end, at + 4096)])
                site.sent += 4096
                time.sleep(site.pause)
        except OSError:
            return None  # the client was killed
        if name in ("stall", "hang") and end < len(body):
            site.closing.wait(1)
        return None

    def reply(self, status, body, **headers):
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, str(value))
        if "Content-Length" not in headers:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()

    def log_message(self, *_): ...


@pytest.fixture
def site(movie, monkeypatch):
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.handle_error = lambda *_: None
    server.asked, server.redirects, server.pause, server.sent, server.movie = [], {}, 0, 0, movie
    server.bodies = {"page": b"<html><title>sorry, film</title>" + b"<p>log in" * 99, "html": b"<html>gone</html>",
                     "busypage": b"<html><title>Too many requests</title>", "message": b'{"error": "please log in"}', "half": movie[: len(movie) // 2]}
    server.barrier, server.closing = threading.Barrier(2, timeout=20), threading.Event()
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
    server.url = f"http://127.0.0.1:{server.server_port}"
    yield server
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


def run(layout, params=QUICK, **more):
    return {row.id: row for row in download.download(layout, params, **more)}


def content(layout):
    return {path.name: path.read_bytes() for path in layout.stage("download").iterdir()}


OUTCOMES = {
    "ok": ("ok", ""), "moved": ("ok", ""), "cut": ("ok", ""), "stall": ("ok", ""),
    "404": ("permanent", "HTTP Error 404"), "410": ("permanent", "HTTP Error 410"), "451": ("permanent", "HTTP Error 451"),
    "401": ("auth", "HTTP Error 401"), "403": ("transient", "HTTP Error 403.*refused"),
    "429": ("transient", "HTTP Error 429"), "500": ("transient", "HTTP Error 500"), "503": ("transient", "HTTP Error 503"),
    "page": ("permanent", "not a video: a page .* its place: 'sorry, film'"), "html": ("permanent", "not a video: .*'gone'"),
    "busypage": ("transient", "not a video: .*'Too many requests'"), "message": ("auth", "not a video: .*please log in"),
    "list": ("permanent", "not a video|only http"),
    "loop": ("permanent", "it redirects in circles"), "tofile": ("permanent", "only http and https are followed"),
    "half": ("transient", "the file is cut short: [0-9]+ bytes"), "short": ("transient", "the file is cut short: [0-9]+ bytes"),
    "long": ("transient", "more expected|bytes"), "hang": ("transient", "timed out"),
}  # fmt: skip


def test_what_servers_do(tmp_path, site, movie):
    secret = tmp_path / "secret.mp4"
    secret.write_bytes(movie)
    site.redirects.update(moved="/ok.mp4", loop="/loop.mp4", tofile=secret.as_uri())
    site.bodies["list"] = f"#EXTM3U\n#EXT-X-TARGETDURATION:4\n#EXTINF:4,\n{secret.as_uri()}\n#EXT-X-ENDLIST\n".encode()
    layout = corpus(tmp_path, {f"v{n}": f"{site.url}/{n}.mp4" for n in OUTCOMES} | {"vnone": ""})
    rows = run(layout)
    assert {name: row.status for name, row in rows.items()} == {"vnone": "failed"} | {f"v{n}": s for n, (s, _) in OUTCOMES.items()}
    for name, (status, words) in OUTCOMES.items():
        row, path = rows[f"v{name}"], layout.stage("download") / f"v{name}.mp4"
        assert (path.read_bytes() == movie) if status == "ok" else not path.exists(), name
        assert (row.bytes, row.sha256) == ((len(movie), file_sha256(path)) if status == "ok" else (0, "")), name
        assert re.search(words, row.reason), (name, row.reason)
        assert row.reason.isprintable() and str(tmp_path) not in row.reason.replace(secret.as_uri(), ""), name
    assert rows["vok"].seconds == 4.0 and rows["vok"].warning == ""
    begins = {name: {begin for _, asked, begin in site.asked if asked == name} for name in ("cut", "stall")}
    assert all(any(0 < b <= len(movie) // 2 for b in found) for found in begins.values()), "resumed, not begun again"
    assert schema.read_records(layout.stage("download") / "rows.csv", download.DownloadRow)


def test_a_rerun_asks_only_for_what_can_succeed(tmp_path, site, movie):
    layout = corpus(tmp_path, {n: f"{site.url}/{n}.mp4" for n in ("ok", "404", "401", "503", "page")})
    first = run(layout)
    site.asked.clear()
    (layout.stage("download") / "ok.mp4").unlink()
    assert run(layout) == first and {name for _, name, _ in site.asked} == {"503"}
    assert (layout.stage("download") / "ok.mp4").read_bytes() == movie
    site.asked.clear()
    assert run(layout, again=True) == first and {name for _, name, _ in site.asked} == {"404", "401", "503", "page"}
    site.bodies["page"] = movie
    assert run(layout, again=True)["page"].status == "ok"
    site.asked.clear()
    assert run(layout)["page"].status == "ok" and "page" not in {name for _, name, _ in site.asked}


def test_cookies_open_what_was_closed_and_stay_as_they_are(tmp_path, site, movie):
    layout = corpus(tmp_path, {"v": f"{site.url}/private.mp4"})
    assert run(layout)["v"].status == "auth"
    jar = tmp_path / "cookies.txt"
    jar.write_text("# Netscape HTTP Cookie File\n127.0.0.1\tFALSE\t/\tFALSE\t2147483647\tkey\topen\n")
    before = jar.read_bytes()
    assert run(layout, dataclasses.replace(QUICK, cookies_file="cookies.txt"))["v"].status == "ok"
    assert jar.read_bytes() == before and content(layout)["v.mp4"] == movie
    with pytest.raises(UserError, match=r"download.cookies_file: no such file: none.txt"):
        run(layout, dataclasses.replace(QUICK, cookies_file="none.txt"))


def test_a_changed_file_is_noticed(tmp_path, site, movie):
    layout = corpus(tmp_path, {"v": f"{site.url}/film.mp4"})
    first = run(layout)["v"]
    site.bodies["film"] = padded(movie, len(movie) + 999, 1)
    next(layout.cache("download").glob("*/video.mp4")).write_bytes(b"rot")
    row = run(layout)["v"]
    assert row.status == "ok" and row.bytes == len(movie) + 999
    assert row.warning == f"changed: sha256 was {first.sha256}, is {row.sha256}"
    assert run(layout)["v"] == row
    shutil.rmtree(layout.cache("download"))
    shutil.copy(layout.stage("download") / "rows.csv", layout.manifest / "checksums.csv")
    assert run(layout)["v"].warning == ""
    (layout.manifest / "checksums.csv").write_text(f"id,sha256\nv,{first.sha256}\n")
    assert run(layout)["v"].warning == f"changed: sha256 was {first.sha256}, is {row.sha256}"


def test_half_of_one_version_is_not_completed_with_another(tmp_path, site, movie):
    old, new = padded(movie, 400_000, 1), padded(movie, 400_000, 2)
    site.bodies["stall"] = old
    layout = corpus(tmp_path, {"v": f"{site.url}/stall.mp4"})
    assert run(layout, dataclasses.replace(QUICK, attempts=1, retries=0))["v"].status == "transient"
    assert next(layout.cache("download").glob("*/video.mp4.part")).stat().st_size > 50_000
    site.bodies["stall"] = new
    assert run(layout)["v"].status == "ok"
    assert content(layout)["v.mp4"] == new


def test_several_at_once(tmp_path, site, movie):
    """The server answers only once two clients are waiting."""
    layout = corpus(tmp_path, {"a": f"{site.url}/meet.mp4?a", "b": f"{site.url}/meet.mp4?b"})
    rows = run(layout, dataclasses.replace(QUICK, workers=2, socket_timeout=10))
    assert [row.status for row in rows.values()] == ["ok", "ok"]
    same = corpus(tmp_path, {"a": f"{site.url}/ok.mp4", "b": f"{site.url}/ok.mp4"})
    site.asked.clear()
    assert all(row.bytes == len(movie) for row in run(same, dataclasses.replace(QUICK, workers=2)).values())
    assert [a[0] for a in site.asked].count("HEAD") == 1, "one address is fetched once"


def test_local_files(tmp_path, movie):
    layout = corpus(tmp_path, {"a": "../../../manifests/c/one.mp4", "b": "../../../manifests/c/none.mp4"})
    (layout.manifest / "one.mp4").write_bytes(movie)
    a, b = run(layout).values()
    assert (a.status, a.title) == ("ok", "") and content(layout)["a.mp4"] == movie
    assert (b.status, b.reason) == ("permanent", "no such file: ../../../manifests/c/none.mp4")
    changed = padded(movie, len(movie) + 50, 1)
    (layout.manifest / "one.mp4").write_bytes(changed)
    again = run(layout)["a"]
    assert again.bytes == len(changed) and again.warning == f"changed: sha256 was {a.sha256}, is {again.sha256}"


def test_local_files_stay_inside_the_manifest(tmp_path, movie):
    (tmp_path / "secret.mp4").write_bytes(movie)
    layout = corpus(tmp_path, {"a": "../../../secret.mp4", "b": "../../../manifests/c/link.mp4", "c": str(tmp_path / "secret.mp4"),
                               "d": (tmp_path / "secret.mp4").as_uri()})  # fmt: skip
    (layout.manifest / "link.mp4").symlink_to(tmp_path / "secret.mp4")
    rows = run(layout)
    assert {row.status for row in rows.values()} == {"permanent"}
    assert sum("leads out of c's manifest" in row.reason for row in rows.values()) == 3 and "no such file" in rows["d"].reason
    assert sorted(content(layout)) == ["dead_links.csv", "rows.csv"]


def test_dead_links_are_a_list_to_act_on(tmp_path, site):
    layout = corpus(tmp_path, {"gone": f"{site.url}/404.mp4?v=abc", "shut": f"{site.url}/401.mp4", "busy": f"{site.url}/503.mp4"},
                    title="=Best dances")  # fmt: skip
    clips = [schema.Clip(clip_id=f"k{n}", video_id="gone", song_id="s") for n in range(3)]
    schema.write_records(layout.stage("sources") / "clips.csv", clips)
    run(layout)
    gone, shut = schema.read_records(layout.stage("download") / "dead_links.csv", DeadLink)
    assert (gone.id, gone.status, gone.clips, gone.title) == ("gone", "permanent", 3, "'=Best dances")
    assert gone.archive == f"https://web.archive.org/web/*/{site.url}/404.mp4?v=abc" and gone.search.endswith("q=%22abc%22")
    assert (shut.id, shut.status) == ("shut", "auth") and "cookies_file" in shut.advice


def test_too_many_failures_end_the_stage_after_writing_the_rows(tmp_path):
    layout = corpus(tmp_path, {"a": "", "b": ""})
    layout.stage("download").mkdir()
    (layout.stage("download") / "a.mp4").write_bytes(b"of an earlier run")
    (tmp_path / "params.yaml").write_text("download: {min_ok: 0.5}\n")
    with pytest.raises(UserError, match="download: 0 of 2 ok, 2 failed, but download.min_ok asks for 50%; a: url is empty") as err:
        download.main(["--corpus", "c", "--root", str(tmp_path)])
    assert "import-annotations FILE" in str(err.value) and sorted(content(layout)) == ["dead_links.csv", "rows.csv"]
    assert len(schema.read_records(layout.stage("download") / "rows.csv", download.DownloadRow)) == 2


@pytest.mark.parametrize(
    "text, status",
    [
        ("ERROR: [youtube] abc: Private video. Sign in if you've been granted access", "auth"),
        ("ERROR: [youtube] abc: Video unavailable. This video has been removed by the uploader", "permanent"),
        ("ERROR: [youtube] abc: Sign in to confirm you're not a bot", "transient"),
        ("ERROR: [youtube] abc: This content isn't available, try again later", "transient"),
        ("ERROR: [TikTok] 1: This post is private, status code 10222", "auth"),
        ("ERROR: something nobody has seen before", "transient"),
    ],
)
def test_words_of_sites_that_answer_200_are_understood(text, status):
    from yt_dlp.utils import DownloadError

    found, reason = classify.classify(DownloadError(text))
    assert found == status
    assert not reason.startswith(("ERROR", "["))


def test_options_are_the_parameters(tmp_path):
    web = fetch.options(download.Params(max_height=480, sleep_min=1, sleep_max=2, cookies_from_browser="firefox"), tmp_path, local=False)
    assert "height<=480" in web["format"] and (web["sleep_interval"], web["max_sleep_interval"]) == (1, 2)
    assert web["cookiesfrombrowser"] == ("firefox",) and not web["enable_file_urls"] and not web["skip_unavailable_fragments"]
    assert fetch.options(download.Params(format="worst"), tmp_path, local=True)["format"] == "worst"
    for wrong in ({"workers": 0}, {"sleep_min": 9, "sleep_max": 1}, {"cookies_file": "a", "cookies_from_browser": "b"}):
        with pytest.raises(ValueError, match=r"must|not both"):
            download.Params(**wrong)


# --- killed, full disk, read-only --------------------------------------------------------------------------------

NURSERY = """
import json, os, resource, sys
import imageio_ffmpeg
from yt_dlp.extractor import gen_extractor_classes
from dataset_tools import download
from dataset_tools.base.cli import run
import dataset_tools.corpus.fetch
for site in gen_extractor_classes():
    site.suitable("http://127.0.0.1/film.mp4")  # compiles its pattern once for all children
for line in sys.stdin:
    order = json.loads(line)
    child = os.fork()
    if not child:
        if order.get("largest"):
            resource.setrlimit(resource.RLIMIT_FSIZE, (order["largest"],) * 2)
        sys.stderr = open(order["root"] + "/stderr", "w")
        sys.stdout = open(order["root"] + "/stdout", "w")
        try:
            run(lambda: download.main(["--corpus", "c", "--root", order["root"]]))
        except SystemExit as end:
            sys.stderr.flush(), sys.stdout.flush()
            os._exit(end.code or 0)
    print(child, flush=True)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""


@pytest.fixture(scope="module")
def nursery():
    """A process that has imported everything and forks the stage on demand: call it with root, largest (bytes of a
    file) and kill, a function that returns when the stage is to be killed; it returns the exit status."""
    process = subprocess.Popen([sys.executable, "-c", NURSERY], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def order(root, kill=None, **more):
        process.stdin.write(json.dumps({"root": str(root), **more}) + "\n")
        process.stdin.flush()
        child = int(process.stdout.readline())
        if kill:
            kill()
            os.kill(child, signal.SIGKILL)
        return int(process.stdout.readline())

    yield order
    process.stdin.close()
    process.wait(10)


SLOW = "download: {workers: 2, retries: 0, attempts: 1, socket_timeout: 5, sleep_requests: 0, sleep_min: 0, sleep_max: 0, min_ok: 1}\n"


SLOW_BYTES = 450_000


def slow_corpus(root, site, movie):
    for n in range(3):
        site.bodies[f"film{n}"] = padded(movie, SLOW_BYTES // 3, n)
    (root / "params.yaml").parent.mkdir(parents=True, exist_ok=True)
    (root / "params.yaml").write_text(SLOW)
    return corpus(root, {f"v{n}": f"{site.url}/film{n}.mp4" for n in range(3)})


def test_killed_at_any_instant_it_resumes_to_the_same_bytes(tmp_path, site, movie, nursery):
    """Instants are random in what the server has sent, so that the stage is at work at each of them, and in time."""
    site.pause = 0.004
    whole = slow_corpus(tmp_path / "whole", site, movie)
    assert nursery(whole.root) == 0
    rng = random.Random(0)

    def instant():
        upto, ends = site.sent + rng.uniform(0, SLOW_BYTES / 5), time.monotonic() + 30
        while site.sent < upto and time.monotonic() < ends:
            time.sleep(0.001)
        time.sleep(rng.uniform(0, 0.01))

    for trial in range(5):
        layout = slow_corpus(tmp_path / f"t{trial}", site, movie)
        for _ in range(4):
            assert nursery(layout.root, kill=instant) == -9
            for path in layout.stage("download").glob("[!.]*.mp4"):
                assert path.read_bytes() == content(whole)[path.name], "complete or absent"
        assert nursery(layout.root) == 0
        assert content(layout) == content(whole)


def test_a_full_disk_costs_rows_and_loses_nothing(tmp_path, site, movie, nursery):
    layout = slow_corpus(tmp_path, site, movie)
    site.bodies["film1"] = padded(movie, 100_000, 1)
    assert nursery(layout.root, largest=120_000) == 2
    rows = {row.id: row for row in schema.read_records(layout.stage("download") / "rows.csv", download.DownloadRow)}
    assert [rows[f"v{n}"].status for n in range(3)] == ["failed", "ok", "failed"]
    assert "File too large" in rows["v0"].reason and "run again" in rows["v0"].reason
    error = (tmp_path / "stderr").read_text().strip().splitlines()[-1]
    assert error.startswith("error: download: 1 of 3 ok, 2 failed, but download.min_ok asks for 100%")
    site.asked.clear()
    assert nursery(layout.root) == 0
    assert content(layout)["v0.mp4"] == site.bodies["film0"] and content(layout)["v2.mp4"] == site.bodies["film2"]
    assert any(begin > 100_000 for _, name, begin in site.asked if name == "film0"), "what had come was kept"
    assert "film1" not in {name for _, name, _ in site.asked}


def test_a_read_only_folder_and_a_disk_without_space(tmp_path, site, movie):
    if subprocess.run(["unshare", "-rm", "true"], check=False, capture_output=True).returncode:
        pytest.skip("no rights to mount a file system of one's own")
    stage = f"{sys.executable} -m dataset_tools.download --corpus c --root"
    for name, mount in (
        ("ro", "mount --bind {0} {0} && mount -o remount,ro,bind {0}"), ("full", "mount -t tmpfs -o size=200k tmpfs {0}/.cache"),
    ):  # fmt: skip
        layout = slow_corpus(tmp_path / name, site, movie)
        data = layout.root / "data"
        (data / ".cache").mkdir()
        done = subprocess.run(
            ["unshare", "-rm", "sh", "-c", f"{mount.format(data)} && {stage} {layout.root}"],
            check=False, cwd=ROOT, capture_output=True, text=True,
        )  # fmt: skip
        last = done.stderr.strip().splitlines()[-1]
        assert done.returncode == 2 and "Traceback" not in done.stderr and last.startswith("error: ")
        if name == "ro":
            assert "Read-only file system" in last and "run again" in last and not layout.stage("download").exists()
        else:
            rows = schema.read_records(layout.stage("download") / "rows.csv", download.DownloadRow)
            assert {row.status for row in rows} == {"ok", "failed"} or {row.status for row in rows} == {"failed"}
            assert any("No space left on device" in row.reason for row in rows)
