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
from tests.helpers.within import run_within, until

SHIMS = {
    "ssh": 'shift 2; exec bash -c "$*"\n',
    "scontrol": "echo 127.0.0.1\n",
    "srun": '"$@" & "$@" && wait $!\n',
}
"""Programs of a cluster that has two machines, both of them this one."""


def start_torchrun(how, folder, port, *arguments):
    """Two processes: of one machine, or of one machine each, started by a script of docs/cluster."""
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    if how == "one machine":
        command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    else:
        for name, text in SHIMS.items():
            (folder / name).write_text(f"#!/bin/bash\n{text}")
            (folder / name).chmod(0o700)
        environment |= {"PATH": f"{folder}{os.pathsep}{os.environ['PATH']}", "VENV": sys.prefix}
        environment |= {"ADDRESS": "127.0.0.1", "PORT": str(port)}
        environment |= {"SLURM_JOB_NODELIST": "n[1-2]", "SLURM_JOB_NUM_NODES": "2", "SLURM_JOB_ID": "7"}
        command = [ROOT / "docs" / "cluster" / how, *(["node2"] if "ssh" in how else [])]
    return run_within(280, [*command, *arguments], cwd=ROOT, env=environment)


WAYS = {
    "vqvae": ["one machine"],
    "synthesizer": ["one machine"],
    "d2m_gan": ["one machine", "torchrun_ssh.sh", "torchrun_slurm.sh"],
}


@pytest.mark.parametrize("stage", WAYS)
def test_two_processes_reach_the_weights_of_one(tmp_path, stage):
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
    for how in WAYS[stage]:
        (place / "model.pt").unlink()
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            port = taken.getsockname()[1]
        arguments = ["-m", f"d2m_model.{stage}", "--corpus", "tiny", "--root", root, *ARGUMENTS[stage]]
        done = start_torchrun(how, tmp_path, port, *arguments)
        assert done.returncode == 0, done.stderr[-3000:]
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


def test_the_job_for_kubernetes_is_a_command_of_torchrun():
    from torch.distributed.run import get_args_parser

    service, job = yaml.safe_load_all((ROOT / "docs" / "cluster" / "torchrun.yaml").read_text())
    pod = job["spec"]["template"]["spec"]
    program, *arguments = pod["containers"][0]["command"]
    found = get_args_parser().parse_args(arguments)
    assert program == "torchrun" and found.module and found.training_script == "d2m_model.d2m_gan"
    assert int(found.nnodes) == job["spec"]["completions"] == job["spec"]["parallelism"]
    name = service["metadata"]["name"]
    assert pod["subdomain"] == name and service["spec"]["selector"] == {"job-name": job["metadata"]["name"]}
    assert found.rdzv_endpoint.startswith(f"{job['metadata']['name']}-0.{name}:")
    volumes = [
        part["metadata"]["name"] for part in yaml.safe_load_all((ROOT / "docs/cluster/kuberay.yaml").read_text())
    ]
    assert pod["volumes"][0]["persistentVolumeClaim"]["claimName"] in volumes
