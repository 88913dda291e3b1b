"""The listening study's pages take no more than they should; the whole of it in a browser."""

import json
import shutil
import socket
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from d2m_model.listen import __main__ as listen_command
from d2m_model.listen.store import Store
from d2m_model.listen.web import RATER, create_app
from dataset_tools.lib.core.errors import UserError

BROWSER = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
PROJECT = Path(__file__).resolve().parents[3]


# Pages


def test_pages_refuse_what_is_not_theirs(root, study):
    store, files = study
    now = [1000.0]
    deal = lambda number: [name for s, name in files.items() if s.kind == "headphones"]
    app = create_app(store, root / "runs/tiny/listen/media", deal, places=1, consent="# A study", clock=lambda: now[0])
    some = next(iter(files.values()))
    stranger = app.test_client()
    assert stranger.get(f"/media/{some}").status_code == 404 and stranger.get("/study").status_code == 303
    assert stranger.post("/vote", json={"position": 0, "score": 3}).status_code == 403
    assert (
        stranger.get("/?rater=../../x").status_code == 400
        and stranger.post("/join", data={"rater": "a b"}).status_code == 400
    )
    rater = app.test_client()
    assert rater.get("/").status_code == 200
    assert rater.post("/join", data={"rater": "invited-01"}).status_code == 303
    page = rater.get("/study").get_data(as_text=True)
    assert not any(word in page for word in ("ground truth", "full", "clip_0", "practice", "VQ")) and "1 of" in page
    for path in (
        "/media/../study.db",
        "/media/%2e%2e/study.db",
        "/media/" + "0" * 24 + ".mp4",
        "/media/.draft-x.mp4",
        "/static/../web.py",
    ):
        assert rater.get(path).status_code == 404, path
    whole = rater.get(f"/media/{some}")
    assert (
        whole.status_code == 200
        and "ETag" not in whole.headers
        and whole.headers["Last-Modified"].endswith("1970 00:00:00 GMT")
    )
    part = rater.get(f"/media/{some}", headers={"Range": "bytes=0-99"})
    assert part.status_code == 206 and len(part.data) == 100
    for bad in ({}, {"position": 0}, {"position": 0, "score": "3"}, {"position": 0, "score": 4}, {"position": -1, "score": 3},
                {"position": True, "score": 3}, {"position": 0, "score": 2.5}, [1]):  # fmt: skip
        assert rater.post("/vote", json=bad).status_code == 400, (
            bad
        )  # the first step has three tones: 4 is off its scale
    assert rater.post("/vote", data="x" * 5000, content_type="application/json").status_code in (400, 413)
    for body in (
        "[" * 4000,
        '{"position":' * 340,
        "9" * 4000,
        '{"position": 0, "score": ' + "9" * 3000 + "}",
        '"\\ud800"',
        b"\xff",
    ):
        assert rater.post("/vote", data=body, content_type="application/json").status_code == 400, body[:20]
    assert rater.post("/vote", json={"position": 3, "score": 3}).status_code == 409
    early = rater.post("/vote", json={"position": 0, "score": 3})
    assert early.status_code == 403 and early.json == {"error": "listen to the end first"}
    now[0] += 4.0  # of the 4.75 s of three tones
    assert (
        rater.get("/study").status_code == 200
        and rater.post("/vote", json={"position": 0, "score": 3}).status_code == 403
    )
    now[0] += 0.5
    assert rater.post("/vote", json={"position": 0, "score": 3}).json == {"ok": True}
    now[0] += 100
    assert rater.post("/vote", json={"position": 1, "score": 3}).status_code == 403, "its page was never asked for"
    assert rater.post("/vote", json={"position": 0, "score": 1}).json == {"ok": True}, "sent again: the first stands"
    assert "default-src 'self'" in whole.headers["Content-Security-Policy"]
    assert RATER.fullmatch("invited-01") and not RATER.fullmatch("x\n")


def test_a_database_that_breaks_while_people_vote_is_no_traceback(root, tmp_path, capfd):
    store = Store(tmp_path / "study.db")
    app = create_app(store, root, lambda number: [], places=1, consent="# A study")
    rater = app.test_client()
    assert rater.post("/join", data={"rater": "invited-01"}).status_code == 303
    for path in tmp_path.iterdir():
        path.write_bytes(b"damaged" * 1000)
    assert (
        rater.get("/study").status_code == 503
        and rater.post("/vote", json={"position": 0, "score": 3}).status_code == 503
    )
    said = capfd.readouterr()
    assert "listen: error:" in said.err and "study.db" in said.err and "Traceback" not in said.out + said.err


def test_results_without_a_study_are_one_line(root, tmp_path):
    (tmp_path / "manifests/tiny").mkdir(parents=True)
    shutil.copy(root / "params.yaml", tmp_path / "params.yaml")
    with pytest.raises(UserError, match="no study yet"):
        listen_command.main(["--results", "--root", str(tmp_path), "--corpus", "tiny"])


# The whole of it


def serve(root: Path, port: int) -> subprocess.Popen:
    """A server on this port, once it answers."""
    command = [sys.executable, "-m", "d2m_model.listen", "--root", str(root), "--corpus", "tiny", "--port", str(port)]
    server = subprocess.Popen(command, cwd=PROJECT, stdout=subprocess.PIPE, text=True)
    for line in server.stdout:
        if "open http" in line:
            return server
    raise AssertionError(f"the server ended with {server.wait()}")


@pytest.mark.skipif(BROWSER is None, reason="no Chromium on this machine")
def test_a_rater_from_first_page_to_last(root, study, tmp_path):
    """One rater goes through everything by keyboard; the browser dies once, and the server is killed once mid-vote."""
    sync_playwright = pytest.importorskip("playwright.sync_api").sync_playwright
    home = tmp_path / "root"
    shutil.copytree(root, home)
    with sqlite3.connect(home / "runs/tiny/listen/study.db") as base:  # nobody has joined yet
        base.executescript("DELETE FROM votes; DELETE FROM shown; DELETE FROM steps; DELETE FROM raters;")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    address = f"http://127.0.0.1:{port}"
    server = serve(home, port)
    base = Store(home / "runs/tiny/listen/study.db")
    try:
        with sync_playwright() as play:
            browser = play.chromium.launch(executable_path=BROWSER, args=["--no-sandbox"])
            context = browser.new_context(viewport={"width": 390, "height": 844}, reduced_motion="reduce")
            page = context.new_page()
            outside = []
            page.on("request", lambda r: r.url.startswith((address, "data:")) or outside.append(r.url))
            page.goto(address)
            page.get_by_role("button", name="I agree").click()
            total = base.step(0).total
            assert total == 6 + 2 * (1 + 3 + 1)
            for position in range(total):
                if position == 3:  # the browser dies; another one with the same cookie goes on at the same place
                    cookies = context.storage_state()
                    browser.close()
                    browser = play.chromium.launch(executable_path=BROWSER, args=["--no-sandbox"])
                    context = browser.new_context(viewport={"width": 390, "height": 844}, storage_state=cookies)
                    page = context.new_page()
                    page.goto(address)
                page.get_by_text(f"{position + 1} of {total}").wait_for()
                assert page.locator("#next:disabled").count() and page.locator("#scale:disabled").count()
                assert page.evaluate("document.documentElement.scrollWidth") <= 390
                page.keyboard.press("3")
                assert page.locator("input:checked").count() == 0, "no answer before the end"
                page.evaluate(
                    "document.getElementById('media').defaultPlaybackRate = 8; document.getElementById('media').playbackRate = 8"
                )
                page.keyboard.press("Space")
                page.locator("#scale:not([disabled])").wait_for(timeout=120_000)  # a busy machine plays slowly
                stimulus = base.step(0).stimulus
                page.keyboard.press(str(stimulus.answer or 3))
                if position == 5:  # too soon for the server: the same step once more
                    page.keyboard.press("Enter")
                    page.locator("#scale:disabled").wait_for()
                    page.keyboard.press("Space")
                    page.locator("#scale:not([disabled])").wait_for(timeout=120_000)
                    page.keyboard.press(str(stimulus.answer or 3))
                with sqlite3.connect(
                    home / "runs/tiny/listen/study.db"
                ) as times:  # as if it had been played at its speed
                    times.execute("UPDATE shown SET at = at - 60")
                if position == 8:  # the server is killed before the vote reaches it
                    server.kill()
                    server.wait()
                    page.keyboard.press("Enter")
                    page.get_by_text("Your answer is kept").wait_for()
                    server = serve(home, port)
                else:
                    page.keyboard.press("Enter")
            page.get_by_role("heading", name="Thank you!").wait_for(timeout=20_000)
            assert outside == []
            browser.close()
    finally:
        server.terminate()  # SIGINT is ignored by whatever a script starts in the background
        server.wait(timeout=20)
    votes = base.votes()
    assert [v["position"] for v in votes] == list(range(total)) and all(v["score"] == (v["answer"] or 3) for v in votes)
    assert listen_command.main(["--results", "--root", str(home), "--corpus", "tiny"]) == 0
    found = json.loads((home / "runs/tiny/listen/mos.json").read_text())
    assert found["raters"]["kept"] == 1 and found["raters"]["votes"] == 6


def test_a_taken_port_is_one_line():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(UserError, match="another --port"):
            listen_command.serve(lambda *_: [], "127.0.0.1", taken.getsockname()[1])
