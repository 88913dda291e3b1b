"""The files of docs/cluster that start Ray do what they say, with stand-ins for `ray`, `ssh`, `srun` and `scontrol`."""

import os
import re
from pathlib import Path

import pytest
import yaml

from tests.conftest import ROOT
from tests.helpers.within import run_within

FILES = ROOT / "docs" / "cluster"
STAND_INS = {
    "ray": """echo "${MACHINE:-first} ray $* $RAY_AUTH_MODE" >> "$LOG"
[ "$*" != "get-auth-token --generate" ] || echo secret
[ "$1" != symmetric-run ] || { while [ "$1" != -- ]; do shift; done; shift; RAY_ADDRESS=here "$@"; }
""",
    "ssh": 'host=$1; shift; export MACHINE=$host HOME=$MACHINES/$host; unset RAY_AUTH_MODE; exec bash -c "$*"\n',
    "scontrol": 'echo "$*" >> "$LOG"; echo node1; echo node2\n',
    "srun": 'while [[ $1 == --* ]]; do shift; done; exec "$@"\n',
    "hostname": "echo 10.0.0.1 fd00::1\n",
}
"""Each appends to a log what it was asked for. The machines of `ssh` have homes of their own."""
STAGE = 'echo "the stage at $RAY_ADDRESS" >> "$LOG"; exit 3'


@pytest.fixture
def start(tmp_path):
    """Start a script of docs/cluster; gives its exit code and the log."""
    for name, text in STAND_INS.items():
        (tmp_path / "bin").mkdir(exist_ok=True)
        (tmp_path / "bin" / name).write_text(f"#!/bin/bash\n{text}")
        (tmp_path / "bin" / name).chmod(0o700)
    for host in ("node2", "node3"):
        (tmp_path / host).mkdir()

    def start(script: str, *arguments: str) -> tuple[int, list[str]]:
        environment = os.environ | {
            "PATH": f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}", "VENV": str(tmp_path), "LOG": str(tmp_path / "log"),
            "MACHINES": str(tmp_path), "SLURM_JOB_NODELIST": "node[1-2]", "SLURM_JOB_NUM_NODES": "2",
        }  # fmt: skip
        done = run_within(60, [FILES / script, *arguments], cwd=tmp_path, env=environment)
        return done.returncode, (tmp_path / "log").read_text().splitlines()

    return start


def options_of(line: str) -> list[str]:
    """The arguments of `ray start` in a line of the log."""
    return line.split(" ray start ")[1].removesuffix(" token").split()


def test_machines_with_ssh_start_run_and_stop_also_after_a_failure(start, tmp_path):
    code, log = start("ssh.sh", "node2 node3", "bash", "-c", STAGE)
    assert code == 3
    assert [re.sub(r"start .*", "start", line) for line in log] == [
        "first ray get-auth-token --generate token", "first ray start", "node2 ray start", "node3 ray start",
        "the stage at 10.0.0.1:6379", "node2 ray stop ", "node3 ray stop ", "first ray stop token",
    ]  # fmt: skip
    for host in ("node2", "node3"):
        token = tmp_path / host / ".ray" / "auth_token"
        assert token.read_text() == "secret\n" and token.stat().st_mode & 0o777 == 0o600
    scripts = pytest.importorskip("ray.scripts.scripts")
    head, *others = [scripts.start.make_context("start", options_of(line)).params for line in log[1:4]]
    assert head["head"] and (head["node_ip_address"], head["port"]) == ("10.0.0.1", 6379)
    assert [other["address"] for other in others] == ["10.0.0.1:6379"] * 2


def test_a_job_of_slurm_runs_its_command_on_all_its_machines(start):
    code, log = start("slurm.sh", "bash", "-c", STAGE)
    assert code == 3
    assert log[:2] == ["first ray get-auth-token --generate token", "show hostnames node[1-2]"]
    assert log[3:] == ["the stage at here"]
    run = re.fullmatch(r"first ray symmetric-run (.*) -- bash -c .*", log[2])
    command = pytest.importorskip("ray.scripts.symmetric_run").symmetric_run
    found = command.make_context("run", [*run.group(1).split(), "--", "bash"]).params
    assert (found["address"], found["min_nodes"]) == ("10.0.0.1:6379", 2)
    assert found["ray_args_and_entrypoint"] == ("bash",)


def test_the_cluster_for_kubernetes_has_one_image_one_secret_and_the_pinned_ray():
    claim, cluster = yaml.safe_load_all((FILES / "kuberay.yaml").read_text())
    spec = cluster["spec"]
    pinned = re.search(r"^ray==(\S+)", Path(ROOT, "requirements.lock").read_text(), re.MULTILINE)
    assert spec["rayVersion"] == pinned.group(1)
    pods = [group["template"]["spec"] for group in (spec["headGroupSpec"], *spec["workerGroupSpecs"])]
    assert len(pods) == 2 and len({pod["containers"][0]["image"] for pod in pods}) == 1
    for pod in pods:
        (container,), (volume,) = pod["containers"], pod["volumes"]
        assert volume["persistentVolumeClaim"]["claimName"] == claim["metadata"]["name"]
        assert [mount["name"] for mount in container["volumeMounts"]] == [volume["name"]]
        assert container["workingDir"] == container["volumeMounts"][0]["mountPath"]
        settings = {
            one["name"]: one.get("value") or one["valueFrom"]["secretKeyRef"]["name"] for one in container["env"]
        }
        assert (settings["RAY_AUTH_MODE"], settings["RAY_AUTH_TOKEN"]) == ("token", "d2m-ray")
