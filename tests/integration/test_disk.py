"""A full disk and a read-only one: one clear line, exit 2, nothing half-written, and the next run completes."""

import os
import resource
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from dataset_tools.lib.core.layout import Layout
from tests.integration.test_kill import for_clips, for_shards

ROOT = Path(__file__).resolve().parents[2]


def run(layout, stage, limit=None):
    def limited():
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

    return subprocess.run(
        [sys.executable, "-m", f"dataset_tools.{stage}", "--corpus", "c", "--root", str(layout.root)], check=False,
        capture_output=True, text=True, env=os.environ | {"PYTHONPATH": str(ROOT)}, preexec_fn=limited if limit else None,
    )  # fmt: skip


def one_line(done):
    assert done.returncode == 2, done.stderr[-3000:]
    lines = [line for line in done.stderr.splitlines() if line.strip() and "%|" not in line]
    assert len(lines) == 1 and lines[0].startswith("error: "), done.stderr[-3000:]
    return lines[0]


@pytest.fixture
def small_disk(tmp_path):
    """A disk of 2 MiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", folder], check=False, capture_output=True)
    if mount.returncode:
        pytest.skip("mounting needs root")
    yield folder
    subprocess.run(["umount", "-l", folder], check=True)


def corpus(root, prepare):
    (root / "manifests" / "c").mkdir(parents=True)
    layout = Layout(root=root, corpus="c")
    (root / "params.yaml").write_text(prepare(layout))
    return layout


@pytest.mark.parametrize("prepare", [for_clips, for_shards])
def test_a_file_that_may_not_grow(tmp_path, prepare):
    layout, stage = corpus(tmp_path, prepare), prepare.__name__.removeprefix("for_")
    line = one_line(run(layout, stage, limit=4096))
    assert "File too large" in line
    left = sorted(p.name for p in layout.stage(stage).iterdir())
    assert left in ([], ["rows.csv"])
    assert run(layout, stage).returncode == 0


@pytest.mark.parametrize("prepare", [for_clips, for_shards])
def test_a_full_disk(tmp_path, small_disk, prepare):
    layout, stage = corpus(tmp_path / "c", prepare), prepare.__name__.removeprefix("for_")
    whole = run(layout, stage)
    assert whole.returncode == 0, whole.stderr[-3000:]
    expected = {p.name: p.read_bytes() for p in layout.stage(stage).iterdir()}
    shutil.rmtree(layout.stage(stage))
    shutil.rmtree(layout.root / "data" / ".cache", ignore_errors=True)
    for folder in (layout.stage(stage), layout.root / "data" / ".cache"):
        (small_disk / folder.name).mkdir()
        folder.symlink_to(small_disk / folder.name)
    ballast = small_disk / "ballast"
    ballast.write_bytes(bytes(2 * 1024 * 1024 - 6 * 4096))
    assert "No space left on device" in one_line(run(layout, stage))
    left = {p.name for p in layout.stage(stage).iterdir()}
    assert left <= {"rows.csv"}
    ballast.unlink()
    assert run(layout, stage).returncode == 0
    assert {p.name: p.read_bytes() for p in layout.stage(stage).iterdir()} == expected


def test_a_read_only_folder(tmp_path, small_disk):
    layout = corpus(tmp_path / "c", for_clips)
    (small_disk / "clips").mkdir()
    layout.stage("clips").symlink_to(small_disk / "clips")
    subprocess.run(["mount", "-o", "remount,ro", small_disk], check=True)
    line = one_line(run(layout, "clips"))
    assert "Read-only file system" in line and "mounted read-only" in line
