"""Fetching weights from a server on this machine that fails in every way we must survive."""

import hashlib
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from dataset_tools.lib.core import weights
from dataset_tools.lib.core.errors import UserError
from dataset_tools.lib.core.layout import PROJECT, Layout
from dataset_tools.lib.core.schema import read_records
from dataset_tools.lib.core.weights import Weights, fetch, locate

CONTENT = bytes(range(256)) * 4096
SHA256 = hashlib.sha256(CONTENT).hexdigest()


class Server(ThreadingHTTPServer):
    """Serves CONTENT at any path but /missing. `cuts` and `errors`: how many of the next answers break off or are 500."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.cuts = self.errors = 0
        self.ranges, self.drips = True, ""
        self.seen = []  # Range header of each request


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        server, wanted = self.server, self.headers.get("Range")
        server.seen.append(wanted)
        if self.path == "/missing" or server.errors:
            server.errors = max(0, server.errors - 1)
            self.send_error(404 if self.path == "/missing" else 500)
            return
        start = int(wanted.removeprefix("bytes=").removesuffix("-")) if wanted and server.ranges else 0
        if start >= len(CONTENT):
            self.send_response(416)
            self.send_header("Content-Range", f"bytes */{len(CONTENT)}")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        body = CONTENT[start:]
        self.send_response(206 if start else 200)
        if server.drips != "chunk":
            self.send_header("Content-Length", str(len(body)))
        else:
            body = b"3e8;"  # 1000 bytes, and a line that does not end
            self.send_header("Transfer-Encoding", "chunked")
        if server.drips != "head":
            self.end_headers()
        else:
            self.flush_headers()
            body = b"X-Name: "
        if server.cuts:
            server.cuts -= 1
            body = body[: len(body) // 2]
        self.wfile.write(body[:1000] if server.drips else body)
        while server.drips:
            try:
                self.wfile.write(b" ")
            except OSError:
                return
            time.sleep(0.05)

    def log_message(self, *args):
        pass


@pytest.fixture
def server():
    with Server() as httpd:
        threading.Thread(target=httpd.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        yield httpd
        httpd.shutdown()


@pytest.fixture
def table(tmp_path, server):
    """Writes a one-row table for the weights 'net'."""

    def write(kind="sha256", checksum=SHA256, path="/net.pt"):
        url = path if path.startswith("package:") else f"http://127.0.0.1:{server.server_port}{path}"
        file = tmp_path / "weights.csv"
        file.write_text(
            f"name,url,checksum_kind,checksum,bytes,licence,purpose\nnet,{url},{kind},{checksum},{len(CONTENT)},none,test\n"
        )
        return file

    return write


def files(cache):
    return sorted(p.name for p in cache.iterdir() if not p.name.endswith(".lock"))


@pytest.mark.parametrize(
    ("kind", "checksum"),
    [
        ("sha256", SHA256),
        ("sha256-prefix8", SHA256[:8]),
        ("git-blob-sha1", hashlib.sha1(b"blob %d\0" % len(CONTENT) + CONTENT).hexdigest()),
    ],
)
def test_fetch_downloads_once_and_checks(table, tmp_path, server, kind, checksum):
    cache = tmp_path / "cache"
    for _ in range(2):
        path = fetch("net", table(kind, checksum), cache)
        assert path == cache / "net.pt" and path.read_bytes() == CONTENT
    assert server.seen == [None]
    assert files(cache) == ["net.pt"]


def test_git_blob_id_is_gits_own(table, tmp_path, server, monkeypatch):
    # `printf 'hello\n' | git hash-object --stdin`
    monkeypatch.setattr(f"{__name__}.CONTENT", b"hello\n")
    assert fetch("net", table("git-blob-sha1", "ce013625030ba8dba906f756967f9e9ca394464a"), tmp_path / "cache").exists()


@pytest.mark.parametrize(("kind", "digits"), [("sha256", 64), ("sha256-prefix8", 8), ("git-blob-sha1", 40)])
def test_wrong_checksum_is_not_kept(table, tmp_path, kind, digits):
    with pytest.raises(UserError, match=f"weights net: .*{kind} is .* says {'0' * digits} .*removed") as caught:
        fetch("net", table(kind, "0" * digits), tmp_path / "cache")
    assert "\n" not in str(caught.value)
    assert files(tmp_path / "cache") == []


def test_file_changed_in_the_cache_is_refused(table, tmp_path):
    path = fetch("net", table(), tmp_path / "cache")
    path.write_bytes(CONTENT[:-1] + b"?")
    with pytest.raises(UserError, match="sha256 is"):
        fetch("net", table(), tmp_path / "cache")
    assert fetch("net", table(), tmp_path / "cache").read_bytes() == CONTENT


def test_not_found_is_not_tried_again(table, tmp_path, server):
    with pytest.raises(UserError, match="weights net: .*HTTP 404, attempt 1 of 5"):
        fetch("net", table(path="/missing"), tmp_path / "cache")
    assert len(server.seen) == 1 and files(tmp_path / "cache") == []


def test_server_error_is_tried_again(table, tmp_path, server):
    server.errors = 2
    assert fetch("net", table(), tmp_path / "cache", wait=0.01).read_bytes() == CONTENT
    server.errors = 9
    with pytest.raises(UserError, match="HTTP 500, attempt 3 of 3"):
        fetch("net", table(), tmp_path / "other", attempts=3, wait=0.01)


def test_cut_connection_goes_on_where_it_stopped(table, tmp_path, server):
    server.cuts = 1
    assert fetch("net", table(), tmp_path / "cache", wait=0.01).read_bytes() == CONTENT
    assert server.seen == [None, f"bytes={len(CONTENT) // 2}-"]


def test_cut_connection_goes_on_in_a_later_run(table, tmp_path, server):
    server.cuts = 1
    with pytest.raises(UserError, match="attempt 1 of 1; run again later"):
        fetch("net", table(), tmp_path / "cache", attempts=1)
    assert files(tmp_path / "cache") == ["net.pt.part"]
    assert fetch("net", table(), tmp_path / "cache").read_bytes() == CONTENT
    assert server.seen[1] == f"bytes={len(CONTENT) // 2}-"
    assert files(tmp_path / "cache") == ["net.pt"]


def test_server_without_ranges_starts_again(table, tmp_path, server):
    server.cuts, server.ranges = 1, False
    assert fetch("net", table(), tmp_path / "cache", wait=0.01).read_bytes() == CONTENT


@pytest.mark.parametrize("size", [1000, len(CONTENT), len(CONTENT) + 5])
def test_leftover_of_another_file_is_replaced(table, tmp_path, size):
    cache = tmp_path / "cache"
    cache.mkdir()
    (cache / "net.pt.part").write_bytes(b"?" * size)
    assert fetch("net", table(), cache, wait=0.01).read_bytes() == CONTENT


def test_no_server(table, tmp_path, server):
    file = table()
    server.shutdown()
    server.server_close()
    with pytest.raises(UserError, match="ConnectionError, attempt 2 of 2"):
        fetch("net", file, tmp_path / "cache", attempts=2, wait=0.01)


def test_pin_on_first_fetch(table, tmp_path, monkeypatch):
    file, cache = table("pin-on-first-fetch", ""), tmp_path / "cache"
    path = fetch("net", file, cache)
    assert (cache / "pins.csv").read_text() == f"name,sha256\nnet,{SHA256}\n"
    path.unlink()
    assert fetch("net", file, cache).exists()
    path.unlink()
    monkeypatch.setattr(f"{__name__}.CONTENT", CONTENT[::-1])
    with pytest.raises(UserError, match=f"pins.csv says {SHA256}"):
        fetch("net", file, cache)


def test_weights_that_are_pinned_at_once_are_all_pinned(table, tmp_path, monkeypatch):
    """Each has read the pins before another has written its own."""
    read = weights._read_pins
    monkeypatch.setattr(weights, "_read_pins", lambda pins: (read(pins), time.sleep(0.05))[0])
    file, names = table("pin-on-first-fetch", ""), [f"net{n}" for n in range(4)]
    header, row = file.read_text().splitlines()
    file.write_text("\n".join([header, *(row.replace("net", name, 1) for name in names), ""]))
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda name: fetch(name, file, tmp_path / "cache"), names))
    assert (tmp_path / "cache" / "pins.csv").read_text() == "name,sha256\n" + "".join(
        f"{name},{SHA256}\n" for name in names
    )


@pytest.mark.parametrize("damage", [b"name,sha256\nnet\n", b"name,sha256\nnet,a,b\n", b"\xff\xfe\n\xff\n"])
def test_damaged_pins_are_one_line(table, tmp_path, damage):
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / "pins.csv").write_bytes(damage)
    with pytest.raises(UserError, match=r"pins\.csv: not lines of name,sha256"):
        fetch("net", table("pin-on-first-fetch", ""), tmp_path / "cache", wait=0)


def test_a_byte_now_and_then_keeps_no_connection(table, tmp_path, server, monkeypatch):
    monkeypatch.setattr(weights, "ANSWER_SECONDS", 0.5)
    for drips in ("body", "chunk", "head"):
        server.drips = drips
        with pytest.raises(UserError, match="TimeoutError, attempt 2 of 2; run again later to go on"):
            fetch("net", table(), tmp_path / drips, attempts=2, wait=0)


def test_a_file_without_end_is_not_kept(table, tmp_path, server):
    known = table()
    known.write_text(known.read_text().replace(f",{len(CONTENT)},", ",100000,"))
    with pytest.raises(UserError, match="sends more than 100000 bytes; check the address, nothing was kept"):
        fetch("net", known, tmp_path / "cache", wait=0)
    assert not [path for path in (tmp_path / "cache").iterdir() if path.suffix in (".pt", ".part")]


def test_in_project_files(table, tmp_path):
    readme = fetch("net", table("in-project", "", "package:docs/architecture.md"), tmp_path / "cache")
    assert readme == PROJECT / "docs" / "architecture.md"
    for path, reason in (("package:../secret.pt", "leads out of the project"), ("package:no.pt", "is missing")):
        with pytest.raises(UserError, match=reason):
            fetch("net", table("in-project", "", path), tmp_path / "cache")


@pytest.mark.parametrize(
    ("row", "rule"),
    [
        ("net,http://h/a.pt,md5,00,,l,p", "checksum_kind must be one of"),
        ("net,http://h/a.pt,sha256,00,,l,p", "checksum must be 64"),
        ("net,http://h/a.pt,sha256-prefix8,7189450G,,l,p", "checksum must be 8 lower-case hex"),
        ("net,http://h/a.pt,in-project,,,l,p", "package: urls take"),
        ("net,ftp://h/a.pt,pin-on-first-fetch,,,l,p", "url must start with"),
        ("../net,http://h/a.pt,pin-on-first-fetch,,,l,p", "name must be letters, digits"),
    ],
)
def test_table_rules(tmp_path, row, rule):
    (tmp_path / "weights.csv").write_text(f"name,url,checksum_kind,checksum,bytes,licence,purpose\n{row}\n")
    with pytest.raises(UserError, match=f"weights.csv row 2: {rule}"):
        fetch("net", tmp_path / "weights.csv", tmp_path / "cache")


def test_unknown_name_lists_the_known(table, tmp_path):
    with pytest.raises(UserError, match="no weights called 'nets'; known: net"):
        fetch("nets", table(), tmp_path / "cache")


def test_locate_takes_a_name_or_a_path(table, tmp_path):
    layout = Layout(root=tmp_path, corpus="demo")
    (tmp_path / "manifests").mkdir()
    table().rename(tmp_path / "manifests" / "weights.csv")
    assert locate("net", layout) == tmp_path / "weights" / "net.pt"
    (tmp_path / "mine.pt").write_bytes(b"mine")
    assert locate("mine.pt", layout) == tmp_path / "mine.pt"
    with pytest.raises(UserError, match="neither a name in .* nor a file; known names: net"):
        locate("yours.pt", layout)


def test_the_projects_own_table():
    rows = read_records(PROJECT / "manifests" / "weights.csv", Weights, extra=False)
    assert {"i3d_demo", "pose_demo", "pose_k16", "i3d_piergiaj_rgb", "jukebox_vqvae", "vggish"} <= {
        r.name for r in rows
    }
    for row in rows:
        assert row.licence and row.purpose
        if row.checksum_kind == "sha256-prefix8":
            assert row.checksum in row.url  # these publishers put it into the file's name
