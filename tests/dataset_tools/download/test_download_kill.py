"""download killed at random instants, on a full disk and in a read-only folder: rows are lost at most, never bytes."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from dataset_tools.download.rows import DownloadRow
from dataset_tools.lib.core import schema
from tests.helpers.film_site import content, corpus, padded

ROOT = Path(__file__).resolve().parents[3]

NURSERY = """
import json, os, resource, sys
import imageio_ffmpeg
from yt_dlp.extractor import gen_extractor_classes
from dataset_tools.download import __main__ as download
from dataset_tools.lib.core.cli import run
import dataset_tools.download.fetch
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
    process = subprocess.Popen(
        [sys.executable, "-c", NURSERY], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )

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
    rows = {row.id: row for row in schema.read_records(layout.stage("download") / "rows.csv", DownloadRow)}
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
            rows = schema.read_records(layout.stage("download") / "rows.csv", DownloadRow)
            assert {row.status for row in rows} == {"ok", "failed"} or {row.status for row in rows} == {"failed"}
            assert any("No space left on device" in row.reason for row in rows)
