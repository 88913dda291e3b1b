"""Items' files go through an object store to processes that share no folder with the driver, and come back."""

import os
import re
import signal
import sys
import tempfile
from concurrent.futures import wait
from pathlib import Path

import pytest

from dataset_tools.clips import __main__ as clips_command
from dataset_tools.lib.core.addresses import as_path, find_files
from dataset_tools.lib.core.cli import layout_of, stage_parser
from dataset_tools.lib.core.cluster import choose_cluster, choose_storage, read_storage
from dataset_tools.lib.core.errors import UserError
from dataset_tools.lib.core.file_memo import FileMemo
from dataset_tools.lib.core.layout import Layout
from dataset_tools.lib.core.packs import local_file, stored_names
from dataset_tools.lib.parallel.carrier import CarriedCall, Carrier, ItemFiles
from dataset_tools.lib.parallel.workers import run_all
from dataset_tools.split.kept_prints import keep_prints
from tests.conftest import ROOT, command
from tests.helpers.object_store import object_store
from tests.helpers.within import run_within
from tests.integration.test_kill import for_clips

STORAGE = "s3://exchange/run"
SHARED = Path("weights/net.pt")
STAGES = ("clips", "i3d", "audio")


@pytest.fixture
def store(tmp_path_factory):
    with object_store(tmp_path_factory.mktemp("store"), "exchange") as store:
        yield store


@pytest.fixture
def machines(tmp_path, monkeypatch):
    """Working folders of the driver and of a process; called with 'driver' or 'process', this test goes there."""
    for name in ("driver", "process", "worker of driver", "worker of process"):
        (tmp_path / name).mkdir()
    go = lambda name: monkeypatch.chdir(tmp_path / name)
    go("driver")
    return go


def put(name: str, text: str) -> None:
    Path(name).parent.mkdir(parents=True, exist_ok=True)
    Path(name).write_text(text)


def files_of(number: int) -> ItemFiles:
    return ItemFiles((Path(f"in/{number}.txt"), SHARED, Path(os.devnull)), (Path(f"out/{number}.txt"), Path("out/log")))


def shout(number: int) -> str:
    text = Path(f"in/{number}.txt").read_text() + SHARED.read_text()
    put(f"out/{number}.txt", text.upper())
    return f"did {number}"


def test_files_go_there_and_back(store, machines):
    for number in range(5):
        put(f"in/{number}.txt", f"item {number}, ")
    put(str(SHARED), "weights")
    carrier = Carrier(as_path(STORAGE), files_of)
    carried = carrier.dispatch([0, 1, 2]) + carrier.dispatch([3, 4])
    assert store.requests["PUT"] == 1 + 6  # the bucket; each file once
    machines("process")
    call = CarriedCall(shout, None)
    outcomes = []
    for number, item in enumerate(carried):
        outcomes.append(call(item, call.prepare(item)))
        there = {str(path) for path in Path().rglob("*.*") if path.is_file()}
        assert there == {str(SHARED), *(f"in/{n}.txt" for n in (number - 1, number) if n >= 0)}
    machines("driver")
    for number, (said, written) in enumerate(outcomes):
        assert said == f"did {number}" and list(written) == [Path(f"out/{number}.txt")]
        carrier.collect(number, written)
    carrier.finish()
    assert [Path(f"out/{n}.txt").read_text() for n in range(5)] == [f"ITEM {n}, WEIGHTS" for n in range(5)]
    assert not list((as_path(STORAGE) / "outputs").rglob("*.txt"))
    store.forget()
    Carrier(as_path(STORAGE), files_of).dispatch([0, 1, 2, 3, 4])
    assert not store.requests["PUT"]  # what is there is not sent again


@pytest.mark.parametrize("late", [False, True])
def test_two_items_may_write_the_same_file(store, machines, late):
    """As two clips with the same content do, whose array in the cache is one file."""
    same = lambda number: ItemFiles((Path("in/0.txt"), SHARED), (Path("out/0.txt"),))
    put("in/0.txt", "item ")
    put(str(SHARED), "weights")
    carrier = Carrier(as_path(STORAGE), same)
    items = carrier.dispatch([0, 0])
    machines("process")
    call = CarriedCall(shout, None)
    for done, item in enumerate(items, start=1):
        machines("process")
        _, written = call(item, call.prepare(item))
        machines("driver")
        for _ in range(1 if late else 2 * (done == 2)):  # each when it is done, or both when both are
            carrier.collect(0, written)
            wait(carrier._arriving)
    carrier.finish()
    assert Path("out/0.txt").read_text() == "ITEM WEIGHTS"
    assert not list((as_path(STORAGE) / "outputs").rglob("*.txt"))


def test_two_runs_may_use_a_storage_at_once(store, machines):
    """Two folders of a corpus with the same paths and other contents: each run gets its own results."""
    runs = {}
    for name in ("driver", "process"):
        machines(name)
        put("in/0.txt", f"of the {name}, ")
        put(str(SHARED), "weights")
        carrier = Carrier(as_path(STORAGE), files_of)
        runs[name] = carrier, carrier.dispatch([0])[0]
    written = {}
    for name in runs:
        machines(f"worker of {name}")
        call = CarriedCall(shout, None)
        written[name] = call(runs[name][1], call.prepare(runs[name][1]))[1]
    for name, (carrier, _) in runs.items():
        machines(name)
        carrier.collect(0, written[name])
        carrier.finish()
        assert Path("out/0.txt").read_text() == f"OF THE {name.upper()}, WEIGHTS"
    assert not list((as_path(STORAGE) / "outputs").rglob("*.txt"))


def test_a_process_can_write_only_what_its_item_may(store, machines):
    """What a process says is not trusted: other paths are left, and other bytes are refused."""
    put("in/0.txt", "item")
    put("precious.txt", "mine")
    carrier = Carrier(as_path(STORAGE), files_of)
    (item,) = carrier.dispatch([0])
    machines("process")
    put(str(SHARED), "!")
    call = CarriedCall(shout, None)
    _, written = call(item, call.prepare(item))
    machines("driver")
    digest = written[Path("out/0.txt")]
    carrier.collect(0, {Path("precious.txt"): digest, Path("../outside.txt"): digest})
    assert Path("precious.txt").read_text() == "mine" and not Path("out").exists()
    carrier.collect(0, {Path("out/0.txt"): "0" * 64})
    with pytest.raises(
        UserError, match=f"{STORAGE}/outputs/[0-9a-f]+/out/0.txt: its bytes are not those that were sent"
    ):
        carrier.finish()
    assert not Path("out/0.txt").exists()


def test_a_damaged_input_is_refused(store, machines):
    put("in/0.txt", "item")
    (item,) = Carrier(as_path(STORAGE), files_of).dispatch([0])
    (there,) = find_files(as_path(STORAGE) / "inputs", "*")
    there.write_text("another")
    machines("process")
    with pytest.raises(UserError, match="its bytes are not those that were sent"):
        CarriedCall(shout, None).prepare(item)
    assert not list(Path().rglob("*.txt"))


def shout_or_die(number: int) -> str:
    """As `shout`; but the first process that works on item 2 is killed when it has written its output."""
    said = shout(number)
    marker = Path(os.environ["D2M_TEST_MARKER"])
    if number == 2 and not marker.exists():
        marker.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return said


def run_on_ray() -> None:
    """In a process of its own: `shout_or_die` on a cluster that is started for it."""
    choose_cluster("auto")
    choose_storage(as_path(STORAGE))
    said = run_all(shout_or_die, list(range(6)), 2, "test", failed=lambda item, reason: reason, files=files_of)
    assert said == [f"did {number}" for number in range(6)], said


@pytest.fixture
def ray_alone(monkeypatch):
    """No other cluster of this machine is seen. The folder's name is short: sockets in it may have 107 letters."""
    pytest.importorskip("ray")
    with tempfile.TemporaryDirectory(prefix="r", dir="/tmp", ignore_cleanup_errors=True) as folder:
        monkeypatch.setenv("RAY_TMPDIR", folder)
        yield


def test_an_item_whose_process_is_killed_is_done_elsewhere(store, machines, ray_alone, tmp_path):
    for number in range(6):
        put(f"in/{number}.txt", f"item {number}, ")
    put(str(SHARED), "weights")
    code = f"from {run_on_ray.__module__} import run_on_ray; run_on_ray()"
    settings = {"PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path]), "D2M_TEST_MARKER": str(tmp_path / "killed")}
    done = run_within(300, [sys.executable, "-c", code], env=os.environ | settings)
    assert done.returncode == 0 and (tmp_path / "killed").exists(), done.stderr[-3000:]
    assert [Path(f"out/{n}.txt").read_text() for n in range(6)] == [f"ITEM {n}, WEIGHTS" for n in range(6)]


def tree(folder: Path) -> dict[str, bytes]:
    """Stage/name -> bytes of every file of the data stages, in a pack or not, and of their tables."""
    found = {}
    for word in STAGES:
        names = [name for suffix in (".mp4", ".npy", ".wav") for name in stored_names(folder / word, suffix)]
        for name in (*names, "rows.csv"):
            with local_file(folder / word / name) as file:
                found[f"{word}/{name}"] = file.read_bytes()
    return found


def print_clips() -> None:
    """In a process of its own: the fingerprints of the corpus in this folder, as `split` keeps them, where params.yaml says."""
    layout = layout_of(stage_parser("dataset_tools.split", "").parse_args([]))
    names = stored_names(layout.stage("audio"), ".wav")
    keep_prints({name: layout.stage("audio") / name for name in names}, Path("prints"), FileMemo(Path("memo")), 2)


def test_stages_on_ray_without_a_shared_folder_give_the_same_bytes(store, ray_alone, tmp_path, monkeypatch):
    """The processes work in folders of their own. There is nothing but what came through the store."""
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT), *sys.path]))
    found = {}
    for place, pack, more in (("near", 0, ""), ("far", 2, f"cluster: auto\nstorage: {STORAGE}\n")):
        folder = tmp_path / place
        (folder / "manifests" / "c").mkdir(parents=True)
        layout = Layout(root=folder, corpus="c")
        for_clips(layout)
        (folder / "params.yaml").write_text(
            f"corpus: c\nclips: {{workers: 2, min_ok: 0.5, pack: {pack}}}\n"
            f"i3d: {{weights: i3d_demo, frame_size: 32, min_ok: 0, pack: {pack}}}\naudio: {{min_ok: 0.5, pack: {pack}}}\n{more}"
        )
        for word in STAGES:
            done = command(folder, "python", "-m", f"dataset_tools.{word}")
            assert done.returncode == 0, done.stderr[-3000:]
        done = command(folder, "python", "-c", f"from {print_clips.__module__} import print_clips; print_clips()")
        assert done.returncode == 0, done.stderr[-3000:]
        prints = {path.name: path.read_bytes() for path in folder.glob("prints/*.npy")}
        assert len(prints) == 3
        found[place] = tree(layout.root / "data" / "c") | prints
    assert found["far"] == found["near"] and len(found["near"]) > 6
    sent = find_files(as_path(STORAGE) / "inputs", "*")
    assert len(sent) == 2 + 3 + 3  # the videos, the clips and their audio; the weights belong to the program
    store.forget()
    assert command(folder, "python", "-m", "dataset_tools.i3d").returncode == 0
    assert not store.requests["PUT"]  # from the cache


def test_a_storage_must_be_an_address_and_the_folder_relative(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "manifests" / "demo").mkdir(parents=True)
    path = tmp_path / "params.yaml"
    for value in ("data/there", "file:///there", "7"):
        path.write_text(f"storage: {value}\ncluster: auto\nclips: {{}}\n")
        with pytest.raises(UserError, match="params.yaml: storage must be an address such as s3://bucket/folder"):
            read_storage(path)
    path.write_text("storage: memory://there\ncluster: auto\nclips: {}\n")
    try:
        for root in (str(tmp_path), f"../{tmp_path.name}"):
            with pytest.raises(UserError, match=f"--root {re.escape(root)}: with `storage` in params.yaml"):
                clips_command.main(["--root", root])
    finally:
        choose_cluster("")
        choose_storage(None)
