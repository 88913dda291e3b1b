"""On a cluster of three machines of one CPU each, `run_all` gives what it gives in local processes, whatever is lost meanwhile."""

import errno
import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path

import psutil
import pytest

from dataset_tools.audio import __main__ as audio_command
from dataset_tools.download.params import Params as DownloadParams
from dataset_tools.download.stage import download
from dataset_tools.lib.core.cluster import choose_cluster
from dataset_tools.lib.core.errors import UserError
from dataset_tools.lib.parallel.threads import report_bytes
from dataset_tools.lib.parallel.worker_process import ProcessLost, report_step
from dataset_tools.lib.parallel.workers import run_all
from tests.conftest import ROOT
from tests.dataset_tools.audio.test_audio import layout  # noqa: F401 - a fixture
from tests.helpers import ray_kills
from tests.helpers.film_site import corpus
from tests.helpers.within import run_within, until

ray = pytest.importorskip("ray")

NODE = {"num_cpus": 1, "object_store_memory": 80_000_000}
SETTINGS = {
    "RAY_worker_niceness": "0",
    "RAY_AUTH_MODE": "disabled",
    "RAY_USAGE_STATS_ENABLED": "0",
    "PYTHONPATH": str(ROOT),
}
CLIENT_PORT = 23001
DOWNLOAD = DownloadParams(workers=2, retries=1, retry_wait=0, sleep_requests=0, sleep_min=0, sleep_max=0, min_ok=0)
GATED = 30  # items from this on wait for a file


@pytest.fixture(scope="module")
def cluster():
    """Three machines in this one; this process is connected."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in SETTINGS.items():
            patch.setenv(name, value)
        made = start_cluster()
        try:
            ray.init(address=made.address, logging_level="warning", log_to_driver=False)
            yield made
        finally:
            ray.shutdown()
            made.shutdown()


def start_cluster(tries: int = 3):
    """Ray gives a machine 30 s to start, which beside other work may be too few: then once more."""
    from ray.cluster_utils import Cluster

    made = Cluster()
    try:
        made.add_node(**NODE, num_gpus=2, include_dashboard=False, ray_client_server_port=CLIENT_PORT)
        for _ in range(2):
            made.add_node(**NODE)
    except Exception:
        made.shutdown()
        if tries == 1:
            raise
        return start_cluster(tries - 1)
    return made


@pytest.fixture
def on_ray(cluster):
    choose_cluster("auto")
    yield cluster
    choose_cluster("")


def work(item):
    """Say by a file in `folder`, named by the item, its process and the actor, that it begins; then do what `how` says."""
    number, how, folder = item
    attempt = f"{number}.{os.getpid()}.{os.getppid()}"
    Path(folder, "begun", attempt).touch()
    match how:
        case "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        case "hang":
            time.sleep(1000)
        case "raise":
            raise UserError("the file is\nodd")
        case "bug":
            raise KeyError("pts")
        case "full disk" if len(list(Path(folder, "begun").glob(f"{number}.*"))) == 1:
            raise OSError(errno.ENOSPC, "no room")
        case "gate":
            while not Path(folder, "gate").exists():
                time.sleep(0.02)
    Path(folder, "done", attempt).touch()
    return number * number, how


def failed(item, reason):
    return f"{item[0]}: {reason}"


def prepare(item):
    return work(item) if item[1] == "kill" else item[0]


def work_prepared(item, ready):
    assert ready == item[0]
    return work(item)


def stepping(count):
    for _ in range(count):
        report_step()
    return -count


@pytest.fixture
def items(tmp_path):
    """60 items; `how` says what some of them do."""

    def make(**how):
        folder = tmp_path / f"{len(list(tmp_path.iterdir()))}"
        for part in ("begun", "done"):
            (folder / part).mkdir(parents=True)
        return [(number, how.get(f"n{number}", ""), str(folder)) for number in range(60)], folder

    return make


def attempts(folder: Path, part: str) -> Counter:
    return Counter(int(path.name.split(".")[0]) for path in (folder / part).iterdir())


ODD = {"n7": "kill", "n20": "hang", "n33": "raise", "n40": "bug"}


def test_all_outcomes_are_those_of_local_processes(on_ray, items):
    mine, folder = items(**ODD)
    found = run_all(work, mine, 2, "test", failed=failed, timeout=6.0)
    choose_cluster("")
    assert found == run_all(work, items(**ODD)[0], 2, "test", failed=failed, timeout=6.0)
    assert found[7] == "7: the process that worked on it was killed by SIGKILL"
    assert found[20] == "20: took more than 6 s and was stopped"
    assert attempts(folder, "begun") == {number: 3 if number in (7, 20, 40) else 1 for number in range(60)}
    for number in (7, 20, 40):
        actors = {path.name.split(".")[2] for path in (folder / "begun").glob(f"{number}.*")}
        assert len(actors) == 3, "once on each machine"
    until(60, lambda: not living(folder))
    assert print.__module__ == "builtins", "Ray has put no function of its own in place of Python's"


def test_prepared_items_and_steps_too(on_ray, items):
    mine, folder = items(n9="kill", n33="raise")
    found = run_all(work_prepared, mine, 2, "test", prepare=prepare, failed=failed)
    choose_cluster("")
    assert found == run_all(work_prepared, items(n9="kill", n33="raise")[0], 2, "test", prepare=prepare, failed=failed)
    assert found[9] == "9: the process that worked on it was killed by SIGKILL"
    choose_cluster("auto")
    assert run_all(stepping, [3, 0, 4], 2, "steps", steps=7) == [-3, 0, -4]


def asking(item):
    """A request to a site, which notes when it begins and ends."""
    number, site, folder = item
    begun = time.monotonic()
    time.sleep(0.1)
    report_bytes(1_000_000)
    if number == 4 and not (folder / "killed").exists():
        (folder / "killed").touch()
        os.kill(os.getpid(), signal.SIGKILL)
    (folder / f"{number}").write_text(f"{begun} {time.monotonic()}")
    return number


def site_of(item):
    return item[1]


def test_a_site_is_asked_by_few_over_all_machines(on_ray, tmp_path):
    """At most two at once, though there are three machines; also when a process is lost. (test_runs.py: two, where two can be.)"""
    items = [(number, ("tiktok.com", "tiktok.com", "youtube.com", "")[number % 4], tmp_path) for number in range(24)]
    found = run_all(asking, items, 2, "test", failed=failed, threads=True, site=site_of)
    assert found == list(range(24))
    spans = {number: tuple(map(float, (tmp_path / f"{number}").read_text().split())) for number in range(24)}
    at_once = [
        sum(begin <= start < end for other, (begin, end) in spans.items() if items[other][1] == "tiktok.com")
        for number, (start, _) in spans.items()
        if items[number][1] == "tiktok.com"
    ]
    assert max(at_once) <= 2
    assert len({(begin, end) for begin, end in spans.values()}) == 24


def where(item):
    return os.getppid(), os.environ.get("CUDA_VISIBLE_DEVICES")


def test_a_stage_that_uses_gpus_has_an_actor_for_each_share(on_ray):
    """The head has two of them, though only one CPU; that they are no real ones, Ray does not know."""
    found = run_all(where, list(range(6)), 2, "gpu", gpus=1)
    assert len({actor for actor, _ in found}) == 1 and {gpus for _, gpus in found} <= {"0", "1"}


@pytest.mark.parametrize(("how", "error"), [("raise", UserError), ("kill", ProcessLost)])
def test_without_a_stand_in_the_run_ends(on_ray, items, how, error):
    mine, folder = items(n5=how)
    with pytest.raises(error):
        run_all(work, mine, 2, "test")
    until(60, lambda: not living(folder))


def alive(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def living(folder: Path) -> list[int]:
    """The processes that have begun an item, and their actors, if they still run."""
    return [
        pid for pid in {int(p) for path in (folder / "begun").iterdir() for p in path.name.split(".")[1:]} if alive(pid)
    ]


def kill_actor(cluster, actor: int) -> None:
    os.kill(actor, signal.SIGKILL)


def remove_node(cluster, actor: int) -> None:
    raylet = psutil.Process(actor).ppid()
    (node,) = (n for n in cluster.list_all_nodes() if n.all_processes["raylet"][0].process.pid == raylet)
    cluster.remove_node(node, allow_graceful=False)


@pytest.mark.parametrize("disturb", [kill_actor, remove_node])
def test_what_had_finished_is_not_done_again_when_an_actor_or_a_machine_is_lost(on_ray, items, disturb):
    mine, folder = items(**{f"n{number}": "gate" for number in range(GATED, 60)})
    lost, errors = [], []

    def waiting():
        done = {path.name for path in (folder / "done").iterdir()}
        return [
            p.name for p in (folder / "begun").iterdir() if p.name not in done and int(p.name.split(".")[0]) >= GATED
        ]

    def disturb_when_all_wait():
        try:
            until(300, lambda: len(waiting()) == 3)
            time.sleep(2)  # the driver hears what has finished
            raylets = {n.all_processes["raylet"][0].process.pid for n in on_ray.worker_nodes}
            of_actor = {int(name.split(".")[2]): int(name.split(".")[0]) for name in waiting()}
            actor = next(actor for actor in of_actor if psutil.Process(actor).ppid() in raylets)  # not the head's
            disturb(on_ray, actor)
            until(60, lambda: not any(alive(int(name.split(".")[1])) for name in waiting() if f".{actor}" in name))
            lost.append(of_actor[actor])
        except BaseException as err:  # noqa: BLE001
            errors.append(err)
        finally:
            (folder / "gate").touch()

    thread = threading.Thread(target=disturb_when_all_wait)
    thread.start()
    found = run_all(work, mine, 2, "test", failed=failed)
    thread.join()
    assert not errors and len(lost) == 1
    assert found == [(number * number, how) for number, how, _ in mine]
    assert attempts(folder, "done") == dict.fromkeys(range(60), 1)
    assert attempts(folder, "begun") == {number: 2 if number == lost[0] else 1 for number in range(60)}
    until(60, lambda: not living(folder))


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """What the stage of `ray_kills` publishes on one machine."""
    root = tmp_path_factory.mktemp("undisturbed")
    ray_kills.drive(root, "")
    return ray_kills.published(root)


@pytest.mark.parametrize("kind", ray_kills.KINDS)
def test_a_part_that_is_killed_at_a_random_instant_changes_nothing(cluster, undisturbed, tmp_path, monkeypatch, kind):
    """One run of each kind; `python -m tests.helpers.ray_kills` does more."""
    for name, value in {**SETTINGS, "RAY_ADDRESS": cluster.address}.items():
        monkeypatch.setenv(name, value)
    found = ray_kills.run_disturbed(kind, cluster, tmp_path, NODE, undisturbed, random.Random(kind))
    assert ray_kills.is_sound(found), found


def test_a_killed_driver_goes_on_from_the_cache(cluster, tmp_path):
    (tmp_path / "begun").mkdir()
    command = [sys.executable, ROOT / "tests" / "helpers" / "ray_driver.py", tmp_path]
    environment = os.environ | SETTINGS | {"RAY_ADDRESS": cluster.address}
    cache = tmp_path / "data" / ".cache" / "i3d"
    driver = subprocess.Popen(command, env=environment)
    until(300, lambda: len(list(cache.glob("*.npy"))) >= 10 and len(list((tmp_path / "begun").iterdir())) > 12)
    driver.kill()
    driver.wait()
    until(60, lambda: not living(tmp_path))
    (tmp_path / "gate").touch()
    before = {path.stem for path in cache.glob("*.npy")}
    for path in (tmp_path / "begun").iterdir():
        path.unlink()
    done = run_within(400, command, env=environment)
    assert done.returncode == 0, done.stderr[-3000:]
    assert attempts(tmp_path, "begun") == {number: 1 for number in range(40) if str(number) not in before}
    assert len(list((tmp_path / "data" / "c" / "i3d").glob("*.npy"))) == 40
    until(60, lambda: not living(tmp_path))


def test_no_process_outlives_a_killed_driver_that_started_ray_itself(tmp_path):
    (tmp_path / "begun").mkdir()
    with tempfile.TemporaryDirectory(
        prefix="ray", dir="/tmp", ignore_cleanup_errors=True
    ) as folder:  # a short path, for sockets
        environment = {k: v for k, v in os.environ.items() if k != "RAY_ADDRESS"} | SETTINGS | {"RAY_TMPDIR": folder}
        driver = subprocess.Popen(
            [sys.executable, ROOT / "tests" / "helpers" / "ray_driver.py", tmp_path], env=environment
        )
        until(300, lambda: len(list((tmp_path / "begun").iterdir())) > 3)
        assert of_folder(folder)
        driver.kill()
        driver.wait()
        until(60, lambda: not living(tmp_path) and not of_folder(folder))


def of_folder(folder: str) -> list[str]:
    """The processes of the Ray whose files are in a folder."""
    commands = [" ".join(p.info["cmdline"] or ()) for p in psutil.process_iter(["cmdline"])]
    return [command for command in commands if f"{folder}/" in command]


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def test_the_stage_audio_writes_the_same_bytes_on_a_cluster(cluster, layout):  # noqa: F811
    """The cluster is reached as from a machine that is no part of it."""
    (layout.root / "params.yaml").write_text("audio: {min_ok: 0.5}\n")
    assert audio_command.main(["--corpus", "c", "--root", str(layout.root)]) == 0
    local = files(layout.stage("audio"))
    command = [
        sys.executable,
        "-m",
        "dataset_tools.audio",
        "--corpus",
        "c",
        "--cluster",
        f"ray://127.0.0.1:{CLIENT_PORT}",
    ]
    for path in layout.stage("audio").iterdir():
        path.unlink()
    done = run_within(500, command, cwd=layout.root, env=os.environ | SETTINGS)
    assert done.returncode == 0, done.stderr[-3000:]
    assert files(layout.stage("audio")) == local and {"a.wav", "rows.csv"} <= local.keys()


def test_the_stage_download_fetches_the_same_on_a_cluster(on_ray, site, movie, tmp_path):
    """Two films, one of which breaks off once, a page that is gone, and a file beside the manifest."""
    found = {}
    for place in ("auto", ""):
        choose_cluster(place)
        urls = {
            "a": f"{site.url}/a.mp4",
            "cut": f"{site.url}/cut.mp4",
            "gone": f"{site.url}/404.mp4",
            "mine": "mine.mp4",
        }
        made = corpus(tmp_path / f"on{place}", urls)
        (made.stage("sources") / "mine.mp4").write_bytes(movie)
        site.asked.clear()
        rows = download(made, DOWNLOAD)
        found[place] = [(row.id, row.status, row.sha256) for row in rows], files(made.stage("download"))
    assert found["auto"] == found[""]
    assert [status for _, status, _ in found["auto"][0]] == ["ok", "ok", "permanent", "ok"]
    assert found["auto"][1]["cut.mp4"] == movie


def test_what_one_machine_could_not_do_another_may(on_ray, items):
    mine, folder = items(n5="full disk")
    found = run_all(work, mine, 2, "test", failed=failed)
    assert found == [(number * number, how) for number, how, _ in mine]
    assert attempts(folder, "begun") == {number: 2 if number == 5 else 1 for number in range(60)}
    assert len({path.name.split(".")[2] for path in (folder / "begun").glob("5.*")}) == 2
