"""A process that dies, hangs or raises costs the item it had; the others are done, in order."""

import ctypes
import faulthandler
import itertools
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from dataset_tools.lib.core.errors import UserError
from dataset_tools.lib.core.progress import progress
from dataset_tools.lib.parallel import workers
from dataset_tools.lib.parallel.worker_process import report_step
from dataset_tools.lib.parallel.workers import run_all
from tests.helpers.within import until


def square_unless_told_otherwise(item):
    """What a decoder can do to the process it is in."""
    match item:
        case "segfault":
            faulthandler.disable()  # pytest's would print a traceback amid the results
            ctypes.string_at(0)
        case "exit":
            os._exit(7)
        case "hang":
            time.sleep(1000)
        case "raise":
            raise UserError("the file is\nodd")
        case "bug":
            raise KeyError("pts")
        case "full":
            raise OSError(28, "No space left on device", "/somewhere/a.npy")
    return item * item


def test_every_item_has_an_outcome_whatever_happens_to_its_process(capfd):
    items = [2, "segfault", "exit", 3, "hang", "raise", "bug", "full", 4]
    found = run_all(
        square_unless_told_otherwise, items, 2, "test", failed=lambda item, reason: f"{item}: {reason}", timeout=10.0
    )
    assert [found[i] for i in (0, 3, 8)] == [4, 9, 16]
    assert found[1] == "segfault: the process that worked on it was killed by SIGSEGV"
    assert found[2] == "exit: the process that worked on it ended with exit code 7"
    assert found[4] == "hang: took more than 10 s and was stopped"
    assert found[5] == "raise: the file is odd"
    assert found[6] == "bug: KeyError: 'pts'" and "square_unless_told_otherwise" in capfd.readouterr().err
    assert found[7].startswith("full: a.npy: No space left on device; make room")


@pytest.mark.parametrize("timeout", [1e300, 2**62, 1e9])
def test_a_timeout_may_be_any_number(timeout):
    assert run_all(
        square_unless_told_otherwise, [2, 3], 1, "test", failed=lambda item, reason: reason, timeout=timeout
    ) == [4, 9]


def square_while_preparing(item):
    return square_unless_told_otherwise(item) if item != "dies later" else item


def add(item, square):
    if item == "dies later":
        os._exit(8)
    return item + square


def test_a_process_that_is_lost_with_two_items_costs_only_the_one_to_blame():
    items = [1, 2, "segfault", 3, "dies later", 4, "raise", 5]
    found = run_all(
        add, items, 2, "test", prepare=square_while_preparing, failed=lambda item, reason: f"{item}: {reason}"
    )
    assert [found[i] for i in (0, 1, 3, 5, 7)] == [2, 6, 12, 20, 30]
    assert found[2] == "segfault: the process that worked on it was killed by SIGSEGV"
    assert found[4] == "dies later: the process that worked on it ended with exit code 8"
    assert found[6] == "raise: the file is odd"


def test_the_next_item_is_prepared_while_one_is_worked_on():
    prepared = {item: threading.Event() for item in (1, 2, 3)}

    def work(item, ready):
        assert ready == -item and (item == 3 or prepared[item + 1].wait(60))
        return item

    assert run_all(work, [1, 2, 3], 1, "test", prepare=lambda item: prepared[item].set() or -item) == [1, 2, 3]


def who(item, _):
    time.sleep(0.02)
    return os.getpid()


@pytest.mark.parametrize("processes", [1, 2, 3])
def test_a_process_has_neighbours_one_after_the_other(processes):
    found = run_all(who, list(range(24)), processes, "test", prepare=str, failed=lambda item, reason: reason)
    changes = sum(a != b for a, b in itertools.pairwise(found))
    assert len(set(found)) <= processes and changes <= 4 * (processes - 1)


@pytest.mark.parametrize(("item", "error"), [("raise", UserError), ("exit", RuntimeError)])
def test_without_a_stand_in_the_run_ends(item, error):
    with pytest.raises(error):
        run_all(square_unless_told_otherwise, [1, item, 2], 2, "test")


def test_one_worker_alone_is_this_process():
    assert run_all(lambda item: (item, os.getpid()), [1, 2], 1, "test") == [(1, os.getpid()), (2, os.getpid())]


PARENT = """
import os, sys, time
from dataset_tools.lib.parallel.worker_process import report_step
from dataset_tools.lib.parallel.workers import run_all
def wait(path):
    open(path, "w").write(str(os.getpid()))
    time.sleep(1000)
if __name__ == "__main__":
    run_all(wait, sys.argv[1:], 2, "wait", failed=lambda item, reason: reason)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
def test_workers_do_not_outlive_a_killed_parent(tmp_path):
    (tmp_path / "parent.py").write_text(PARENT)
    files = [tmp_path / "one", tmp_path / "two"]
    root = str(Path(__file__).resolve().parents[4])
    parent = subprocess.Popen([sys.executable, tmp_path / "parent.py", *files], env=os.environ | {"PYTHONPATH": root})
    until(60, lambda: all(file.exists() and file.read_text() for file in files))
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    until(60, lambda: not any(running(int(file.read_text())) for file in files))


def running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def stepping(count):
    for _ in range(count):
        report_step()
    return -count


@pytest.mark.parametrize("processes", [1, 2])
def test_the_bar_counts_the_steps_of_all_processes(monkeypatch, processes):
    shown = []
    monkeypatch.setattr(workers, "progress", lambda *args, **more: shown.append(progress(*args, **more)) or shown[-1])
    assert run_all(stepping, [3, 0, 4], processes, "steps", steps=7) == [-3, 0, -4]
    assert [(bar.n, bar.total) for bar in shown] == [(7, 7)]
