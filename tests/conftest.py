"""The whole pipeline at its smallest size, run once for all tests that look at what comes out."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from dataset_tools.lib.audio.librosa_loader import load_librosa
from dataset_tools.lib.core.locks import file_lock
from tests.helpers.film_site import movie, site  # noqa: F401 - fixtures

ROOT = Path(__file__).resolve().parents[1]
PARTS = ("dataset_tools", "d2m_model", "manifests", "dvc.yaml", ".dvcignore")
SLOW = (
    "pipeline", "packed_corpus", "aist_pipeline", "ray_cluster", "ray_stages", "carrier", "kill", "download_kill", "loop", "distributed", "generate", "own_videos", "disk", "workers", "i3d",
    "pose", "estimator", "i3d_net", "i3d_weights", "d2m_gan", "report", "acceleration", "dance_to_codes", "variants", "released",
    "motion_models", "published_generator", "embedding", "shard_address", "exchange", "train_pose", "study_audio", "listen", "evaluate_stage", "evaluate", "folders", "researcher_walk", "scoring", "scoring_agreement", "demo_corpus",
    "dance2music_online", "vqvae", "synthesizer", "fingerprint", "same_recording", "clips", "songs", "download", "download_streams", "download_playlists", "download_canary", "download_mishaps", "download_ends",
    "baselines",
    "vqvae_weights", "aist_corpus", "cmt", "foley_music", "prior", "takes", "rhythm", "rhythm_stage", "orphans", "own_music", "own_dances", "standard_range", "model_files",
    "studio", "studio_browser", "studio_page", "studio_timeline", "studio_loop", "studio_page_beats", "studio_page_kept", "studio_told", "fuzz", "sandbox", "install", "creator_walk", "new_corpus", "builder_walk", "librosa_loader",
)  # fmt: skip
"""Files whose tests take longer than a few seconds together: they train, run stages or build networks of full size."""
SLOW_SECONDS = 600  # time limit of a test in them; of all others: pyproject.toml
PIPELINE_SECONDS = (
    1800  # of a test that waits for the whole pipeline: two to four minutes of a core, more beside other work
)


NOWHERE = "http://127.0.0.1:9"
"""A proxy that isn't there: what is meant for the network fails at once, in programs that tests start, too."""
os.environ |= {"http_proxy": NOWHERE, "https_proxy": NOWHERE, "no_proxy": "127.0.0.1,localhost"}


def environment() -> dict[str, str]:
    """This environment with its own programs first on PATH, two threads and no colours."""
    programs = str(Path(sys.executable).parent)
    return os.environ | {"PATH": programs + os.pathsep + os.environ["PATH"], "NO_COLOR": "1", "DVC_NO_ANALYTICS": "1"}


def command(folder: Path, *args: str) -> subprocess.CompletedProcess:
    """Run a command of this environment in `folder`, its output captured as text."""
    return subprocess.run(args, cwd=folder, env=environment(), capture_output=True, text=True, check=False)


@pytest.fixture(scope="session")
def pipeline(tmp_path_factory) -> Path:
    """A working folder in which `dvc repro` has run on presets/tiny.yaml: once, however many processes test."""
    if "PYTEST_XDIST_WORKER" not in os.environ:
        return run_pipeline(tmp_path_factory.mktemp("pipeline"))
    folder = tmp_path_factory.getbasetemp().parent / "pipeline"
    with file_lock(folder.with_name("pipeline.lock")):
        if not folder.exists():
            folder.mkdir()
            run_pipeline(folder)
    assert (folder / "repro.log").exists(), "the pipeline failed in another process"
    return folder


def run_pipeline(folder: Path) -> Path:
    """Run it in an empty folder."""
    for part in PARTS:
        source = ROOT / part
        if source.is_dir():
            shutil.copytree(source, folder / part, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, folder / part)
    shutil.copy(ROOT / "presets" / "tiny.yaml", folder / "params.yaml")
    assert command(folder, "dvc", "init", "--no-scm", "-q").returncode == 0
    done = command(folder, "dvc", "repro")
    assert done.returncode == 0, f"{done.stdout[-6000:]}\n{done.stderr[-6000:]}"
    (folder / "repro.log").write_text(done.stdout)
    return folder


def pytest_collection_modifyitems(items) -> None:
    """Mark what `make check` leaves out, and put it first, the longest file before all: two processes then end together."""
    place = {f"test_{name}": at for at, name in enumerate(SLOW)}
    for item in items:
        waits = "pipeline" in item.fixturenames
        if waits or item.path.stem in place:
            item.add_marker("slow")
            item.add_marker(pytest.mark.timeout(PIPELINE_SECONDS if waits else SLOW_SECONDS))
    items.sort(key=lambda item: place.get(item.path.stem, len(place)))


def pytest_configure(config) -> None:
    """Compile librosa's detectors before the tests divide, for tests that use librosa without `load_librosa`."""
    if getattr(config.option, "numprocesses", None):
        load_librosa()
