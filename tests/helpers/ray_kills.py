"""Kill parts of a Ray cluster of three machines at random instants: `python -m tests.helpers.ray_kills [--runs 20] [--seed 0]`.

In each run a stage computes 48 clips on the cluster, and one of its parts is killed meanwhile: the process of an item, an actor, a whole
machine, or the driver, which is then started again. What the stage publishes is compared with an undisturbed run on one machine, and a
log, to which each item appends when it begins and when it is finished, says whether a finished one was begun again. Prints a line of
JSON for each run, and exits 1 if a result differs or a finished item was begun again. --out gets all lines.
"""

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import psutil

from dataset_tools.lib.clip_arrays import ClipJob, compute_clips
from dataset_tools.lib.core.cluster import choose_cluster
from dataset_tools.lib.core.layout import Layout
from dataset_tools.lib.core.schema import Row

CLIPS = 48
KINDS = ("process", "actor", "machine", "driver")
LIMIT = 300.0  # s for a run
ROOT = Path(__file__).parents[2]


def begin(job: ClipJob) -> np.random.Generator:
    return np.random.default_rng(int(job.clip.id))


def work(job: ClipJob, rng: np.random.Generator) -> None:
    note(job, "begun")
    time.sleep(rng.uniform(0.02, 0.3))
    job.keep(rng.random((50, 3)).astype(np.float32))
    note(job, "done")


def note(job: ClipJob, what: str) -> None:
    """Append a line to the log: one write, which those of other processes cannot divide."""
    with open(job.video / "log", "ab", buffering=0) as log:
        log.write(f"{what} {job.clip.id} {os.getpid()} {os.getppid()}\n".encode())


def measure(job: ClipJob) -> dict:
    return {}


def drive(root: Path, cluster: str) -> None:
    """The stage."""
    layout = Layout(root=root, corpus="c")
    clips = [Row(id=f"{number:02}", status="ok") for number in range(CLIPS)]
    jobs = [ClipJob(clip=clip, video=root, cache=layout.cache("i3d") / f"{clip.id}.npy") for clip in clips]
    choose_cluster(cluster)
    compute_clips(
        layout, "i3d", clips, jobs, Row, begin=begin, work=work, measure=measure, facts={}, workers=2, timeout=300.0
    )


def start_driver(root: Path, cluster: str) -> subprocess.Popen:
    command = [sys.executable, "-m", "tests.helpers.ray_kills", "--drive", root, "--cluster", cluster]
    root.mkdir(exist_ok=True)
    with open(root / "stderr", "ab") as errors:
        return subprocess.Popen(command, cwd=ROOT, stderr=errors)


def published(root: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in Layout(root=root, corpus="c").stage("i3d").iterdir()}


def read_log(root: Path) -> list[list[str]]:
    path = root / "log"
    return [line.split() for line in path.read_text().splitlines()] if path.is_file() else []


def in_work(root: Path) -> list[tuple[int, int]]:
    """(process, actor) of each item that has begun and is not done."""
    latest = {number: (what, int(pid), int(parent)) for what, number, pid, parent in read_log(root)}
    return [(pid, parent) for what, pid, parent in latest.values() if what == "begun" and psutil.pid_exists(pid)]


def kill(kind: str, cluster, root: Path, driver: subprocess.Popen, rng: random.Random) -> bool:
    """Kill a part of that kind if it works on something just now. Returns whether it did."""
    if kind == "driver":
        driver.kill()
        driver.wait()
        return True
    victims = in_work(root)
    raylets = {node.all_processes["raylet"][0].process.pid: node for node in cluster.worker_nodes}
    try:
        if kind == "machine":
            victims = [(pid, actor) for pid, actor in victims if psutil.Process(actor).ppid() in raylets]
        if not victims:
            return False
        process, actor = rng.choice(victims)
        if kind == "machine":
            cluster.remove_node(raylets[psutil.Process(actor).ppid()], allow_graceful=False)
        else:
            os.kill(process if kind == "process" else actor, signal.SIGKILL)
    except (psutil.NoSuchProcess, ProcessLookupError):
        return False
    return True


def run_disturbed(kind: str, cluster, root: Path, node: dict, expected: dict[str, bytes], rng: random.Random) -> dict:
    """One run in the new folder `root`, and what became of it. node: how a machine that was removed is added again."""
    driver = start_driver(root, "auto")
    after, until = rng.randrange(2, 2 * CLIPS - 12), time.monotonic() + LIMIT
    wait = rng.uniform(0, 0.05)
    killed = False
    while not killed and driver.poll() is None and time.monotonic() < until:
        time.sleep(wait)
        killed = len(read_log(root)) >= after and kill(kind, cluster, root, driver, rng)
    if kind == "driver":
        driver = start_driver(root, "auto")
    code = driver.wait(max(1.0, until - time.monotonic()))
    if kind == "machine" and killed:
        cluster.add_node(**node)
    begun: dict[str, int] = {}
    done: set[str] = set()
    again = 0
    for what, number, *_ in read_log(root):
        again += what == "begun" and number in done
        if what == "begun":
            begun[number] = begun.get(number, 0) + 1
        else:
            done.add(number)
    return {
        "kind": kind, "after_lines": after, "killed": killed, "exit": code, "equal": code == 0 and published(root) == expected,
        "begun": sum(begun.values()), "finished_begun_again": again,
    }  # fmt: skip


def is_sound(found: dict) -> bool:
    """Whether a disturbed run ended as an undisturbed one does."""
    return found["killed"] and found["equal"] and not found["finished_begun_again"]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--drive", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--cluster", default="", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.drive:
        drive(args.drive, args.cluster)
        return 0
    from tests.dataset_tools.lib.parallel.test_ray_cluster import NODE, SETTINGS, start_cluster

    os.environ |= SETTINGS
    cluster, rng = start_cluster(), random.Random(args.seed)
    os.environ["RAY_ADDRESS"] = cluster.address
    found = []
    with tempfile.TemporaryDirectory() as folder:
        try:
            assert start_driver(Path(folder, "undisturbed"), "local").wait(LIMIT) == 0
            expected = published(Path(folder, "undisturbed"))
            for number in range(args.runs):
                kind = KINDS[number % len(KINDS)]
                found.append(run_disturbed(kind, cluster, Path(folder, f"{number}"), NODE, expected, rng))
                print(json.dumps(found[-1]), flush=True)
        finally:
            cluster.shutdown()
    if args.out:
        args.out.write_text("[\n" + ",\n".join(map(json.dumps, found)) + "\n]\n")
    sound = sum(map(is_sound, found))
    print(f"{sound} of {len(found)} runs ended as an undisturbed one does")
    return 0 if sound == len(found) else 1


if __name__ == "__main__":
    sys.exit(main())
