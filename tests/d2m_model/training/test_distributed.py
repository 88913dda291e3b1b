"""Two processes of torchrun train what one does with the same batch."""

import os
import subprocess
import sys

import psutil
import pytest
import torch
import yaml

from d2m_model.training.distributed import gather_rows, local_rows, require_even
from tests.d2m_model.training.test_loop import ARGUMENTS, PARAMS, RESULTS, ROOT, prepared, run
from tests.helpers.within import until


def torchrun(root, stage, processes=2):
    command = [
        sys.executable,
        "-m",
        "torch.distributed.run",
        "--standalone",
        f"--nproc-per-node={processes}",
        "-m",
        f"d2m_model.{stage}",
    ]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    arguments = ["--corpus", "tiny", "--root", str(root), *ARGUMENTS[stage]]
    return subprocess.run(
        [*command, *arguments], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=280, check=False
    )


@pytest.mark.parametrize("stage", ["vqvae", "synthesizer", "d2m_gan"])
def test_two_processes_reach_the_weights_of_one(tmp_path, stage):
    """d2m_gan without dropout, whose masks are each process's own; its terms, the balancer's norms and, for vqvae, the
    codebook's averages and restarts span both. Gradients are cut so far that Adam, which divides by their size, does
    not turn the rounding of one that is zero into a whole step."""
    root = prepared(tmp_path)
    more = {"batch": 4, "gradient_norm": 1e-5, "learning_rate": 1e-3}
    more |= {"excerpt_windows": 2, "discriminator_windows": 2, "dropout": 0.0} if stage == "d2m_gan" else {}
    (root / "params.yaml").write_text(yaml.safe_dump(PARAMS | {stage: PARAMS[stage] | more}))
    place = root / "runs" / "tiny" / RESULTS[stage]
    read = lambda: torch.load(place / "model.pt", weights_only=True)["state"]["net" if stage == "d2m_gan" else "model"]
    numbers = lambda: [
        [0.0 if v == "nan" else float(v) for v in line.split(",")]
        for line in (place / "curves.csv").read_text().splitlines()[1:]
    ]
    run(root, stage)
    one, curves = read(), numbers()
    (place / "model.pt").unlink()
    done = torchrun(root, stage)
    assert done.returncode == 0, done.stderr[-3000:]
    two = read()
    for name, value in one.items():
        torch.testing.assert_close(two[name], value, atol=1e-5, rtol=0, msg=lambda text, name=name: f"{name}: {text}")
    for before, after in zip(curves, numbers(), strict=True):
        assert after == pytest.approx(before, rel=1e-3, abs=1e-4)


def test_alone_nothing_is_shared():
    rows = torch.arange(6)
    assert torch.equal(local_rows(rows), rows) and torch.equal(gather_rows(rows), rows)
    require_even("d2m_gan", batch=7)


WAITING = """
import os, sys, time
from pathlib import Path
from d2m_model.training.distributed import processes
with processes():
    Path(sys.argv[1], os.environ["RANK"]).write_text(str(os.getpid()))
    time.sleep(60)
"""


def test_no_process_outlives_a_killed_torchrun(tmp_path):
    (tmp_path / "waiting.py").write_text(WAITING)
    command = [
        sys.executable,
        "-m",
        "torch.distributed.run",
        "--standalone",
        "--nproc-per-node=2",
        tmp_path / "waiting.py",
        tmp_path,
    ]
    files = [tmp_path / "0", tmp_path / "1"]
    parent = subprocess.Popen(command, env=os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)})
    try:
        until(240, lambda: all(file.exists() and file.read_text() for file in files))
        found = [psutil.Process(int(file.read_text())) for file in files]
    finally:
        parent.kill()
        parent.wait()
    until(2, lambda: not any(process.is_running() and process.status() != psutil.STATUS_ZOMBIE for process in found))
