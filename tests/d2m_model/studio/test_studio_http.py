"""The studio's HTTP server: who has no cookie can send no body."""

import contextlib
import json
import socket
import tempfile
import threading
from pathlib import Path

import pytest

from d2m_model.studio.http_server import create_server
from d2m_model.studio.session import Session
from d2m_model.studio.stage import application
from tests.d2m_model.studio.conftest import TOKEN

LARGE = 1 << 30
COOKIE = b'Cookie: other="x; studio-8322=' + TOKEN.encode() + b"\r\n"


@pytest.fixture
def address(jobs, tmp_path, monkeypatch):
    """Where a server of these jobs listens; bodies are stored in tmp_path/bodies."""
    (tmp_path / "bodies").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "bodies"))
    listening = socket.create_server(("127.0.0.1", 0))
    session = Session(TOKEN, 8322)
    server = create_server(application(jobs.layout, jobs, session, []), session, listening, LARGE)

    def run() -> None:
        with contextlib.suppress(OSError):  # it may wait for a connection while its socket is closed
            server.run()

    threading.Thread(target=run, daemon=True).start()
    yield listening.getsockname()
    server.close()


def ask(address, head: bytes, body: bytes = b"") -> bytes:
    """The answer to a request, read until the server has sent one or ends the connection."""
    with socket.create_connection(address, timeout=20) as sent:
        sent.sendall(head + b"Host: x\r\nX-Studio: 1\r\n\r\n" + body)
        answer = b""
        while b"}" not in answer and (more := sent.recv(1 << 16)):
            answer += more
    return answer


@pytest.mark.parametrize("length", [b"Content-Length: 900000000\r\n", b"Transfer-Encoding: chunked\r\n", b"Content-Length: 9\r\nExpect: 100-continue\r\n"])  # fmt: skip
@pytest.mark.parametrize("cookie", [b"", b"Cookie: studio-8322=wrong\r\n", COOKIE.replace(b"8322", b"8323")])
def test_a_stranger_is_answered_before_a_body_is_read(address, tmp_path, length, cookie):
    answer = ask(address, b"POST /api/jobs?name=x.mp4 HTTP/1.1\r\n" + length + cookie)
    assert answer.startswith(b"HTTP/1.1 401 ") and b"Continue" not in answer
    assert "terminal" in json.loads(answer.partition(b"\r\n\r\n")[2])["error"]
    assert list(Path(tmp_path / "bodies").iterdir()) == []


def test_the_body_of_a_page_with_the_cookie_arrives(address, jobs):
    video = bytes(range(256)) * 2000
    length = f"Content-Length: {len(video)}\r\n".encode()
    answer = ask(address, b"POST /api/jobs?name=x.mp4 HTTP/1.1\r\n" + length + COOKIE, video)
    assert answer.startswith(b"HTTP/1.1 201 ")
    (job,) = jobs.all()
    assert (job.folder / "video.mp4").read_bytes() == video
