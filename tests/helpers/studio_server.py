"""A studio with the demo's own codec and prior, and a client that speaks to it like its page."""

import json
import re
import shutil
import subprocess
import sys
import time
import urllib.error
import urllib.request
from http.cookiejar import CookieJar
from pathlib import Path

import numpy as np

from d2m_model.checkpoints import load_jukebox
from d2m_model.demo.train_vqvae import CODEC
from d2m_model.training.vqvae_files import save_vqvae

PROJECT = Path(__file__).resolve().parents[2]
WEIGHTS = PROJECT / "dataset_tools" / "demo" / "weights"
PRINTED = re.compile(r"open (http://127\.0\.0\.1:(\d+)/\?token=[\w-]+)(#\w+)?")


def studio_root(pipeline: Path, root: Path) -> Path:
    """A working folder with the tiny pipeline's clips, shards and rhythm, and the demo's trained codec and prior."""
    for part in ("manifests", "params.yaml", "data/demo/clips", "data/demo/shards", "runs/demo/rhythm"):
        source, target = pipeline / part, root / part
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, target)
        else:
            shutil.copy(source, target)
    for level in ("high", "low"):
        save_vqvae(root / f"runs/demo/synthesizer/{level}/model.pt", load_jukebox(WEIGHTS / "vqvae_demo.pt", CODEC), {})
        (root / f"runs/demo/prior/{level}").mkdir(parents=True)
        shutil.copy(WEIGHTS / f"prior_demo_{level}.pt", root / f"runs/demo/prior/{level}/model.pt")
    return root


class Studio:
    """A running server. `address` is what it printed, with the token."""

    def __init__(self, root: Path, *options: str, port: int = 0):
        self.root = root
        command = [sys.executable, "-m", "d2m_model.studio", "--root", str(root), "--port", str(port), *options]
        self.log = open(root / "studio.log", "a")  # noqa: SIM115 - closed by `stop`
        self.process = subprocess.Popen(command, cwd=PROJECT, stdout=subprocess.PIPE, stderr=self.log, text=True)
        for line in self.process.stdout:
            if found := PRINTED.search(line):
                self.address, self.port, self.place = found[1], int(found[2]), found[3]
                break
        else:
            raise AssertionError(
                f"the studio ended with {self.process.wait()}: {(root / 'studio.log').read_text()[-2000:]}"
            )
        self.base = f"http://127.0.0.1:{self.port}"
        jar = urllib.request.HTTPCookieProcessor(CookieJar())
        self._opener = urllib.request.build_opener(jar, urllib.request.ProxyHandler({}))
        self._opener.open(self.address).read()

    def read(self, path: str) -> bytes:
        """GET."""
        return self._opener.open(self.base + path).read()

    def ask(self, method: str, path: str, values: object = None, data: bytes | None = None) -> dict:
        """Any request; the JSON of its answer. Raises AssertionError with the error's line."""
        body = data if data is not None else json.dumps(values or {}).encode() if method != "GET" else None
        request = urllib.request.Request(self.base + path, body, {"X-Studio": "1"}, method=method)
        try:
            return json.loads(self._opener.open(request).read())
        except urllib.error.HTTPError as err:
            raise AssertionError(f"{err.code}: {err.read()[:500]}") from None

    def job(self, job: str) -> dict:
        """What the page shows of a job."""
        return self.ask("GET", f"/api/jobs/{job}")

    def job_with_beats(self) -> str:
        """The id of a new job of the first clip, finished, with a beat each half second."""
        clip = self.ask("GET", "/api/state")["clips"][0]["id"]
        job = self.ask("POST", "/api/jobs/from-clip", {"clip": clip})["id"]
        view = self.finished(job)
        assert {step["state"] for step in view["steps"].values()} == {"done"}, view["steps"]
        beats = [round(float(t), 3) for t in np.arange(0.3, view["video"]["seconds"] - 0.1, 0.5)]
        self.ask("PUT", f"/api/jobs/{job}/beats", {"beats": beats, "downbeats": beats[::4]})
        return job

    def finished(self, job: str, seconds: float = 300) -> dict:
        """A job once nothing of it runs or waits."""
        limit = time.monotonic() + seconds
        while (view := self.job(job))["busy"]:
            assert time.monotonic() < limit, view["steps"]
            time.sleep(0.1)
        return view

    def kill(self) -> None:
        """SIGKILL."""
        self.process.kill()
        self.stop()

    def stop(self) -> None:
        """End it, if it still runs."""
        if self.process.poll() is None:
            self.process.terminate()  # SIGINT is ignored by whatever a script starts in the background
        self.process.wait(timeout=30)
        self.process.stdout.close()
        self.log.close()
