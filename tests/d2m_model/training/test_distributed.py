"""Two processes of torchrun train what one does with the same batch."""

import os
import socket
import subprocess
import sys

import psutil
import pytest
import torch
import yaml

from d2m_model.training.distributed import gather_rows, local_rows, require_even
from tests.d2m_model.training.test_loop import ARGUMENTS, PARAMS, RESULTS, ROOT, prepared, run
from tests.helpers.within import until


def torchrun(root, stage, *setup):
    """Start torchrun with a stage."""
    command = [sys.executable, "-m", "torch.distributed.run", *setup, "-m", f"d2m_model.{stage}"]
    arguments = ["--corpus", "tiny", "--root", str(root), *ARGUMENTS[stage]]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        [*command, *arguments],
        cwd=ROOT,
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def train_in_two_processes(root, stage, machines):
    """Two processes on one machine, or one on each of two, which meet as those of a real cluster do."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        meet = f"127.0.0.1:{taken.getsockname()[1]}"
    together = ["--nnodes=2", "--nproc-per-node=1", "--rdzv-backend=c10d", "--rdzv-id=d2m", f"--rdzv-endpoint={meet}"]
    setup = ["--standalone", "--nproc-per-node=2"] if machines == 1 else together
    agents = [torchrun(root, stage, *setup) for _ in range(machines)]
    try:
        for agent in agents:
            told = agent.communicate(timeout=280)[1]
            assert agent.returncode == 0, told[-3000:]
    finally:
        for agent in agents:
            agent.kill()
            agent.wait()


@pytest.mark.parametrize(
    ("stage", "machines"), [("vqvae", (1,)), ("synthesizer", (1,)), ("d2m_gan", (1, 2))], ids=lambda value: str(value)
)
def test_two_processes_reach_the_weights_of_one(tmp_path, stage, machines):
    """Also if each is on a machine of its own. d2m_gan without dropout, whose masks are each process's own; its terms, the balancer's norms and, for vqvae, the
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
    for count in machines:
        (place / "model.pt").unlink()
        train_in_two_processes(root, stage, count)
        two = read()
        for name, value in one.items():
            torch.testing.assert_close(
                two[name], value, atol=1e-5, rtol=0, msg=lambda text, name=name: f"{name}: {text}"
            )
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
