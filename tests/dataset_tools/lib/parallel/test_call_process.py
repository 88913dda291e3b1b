"""A process for calls: it tells what it does, may be stopped from another thread, and the next call has another one."""

import os
import threading
import time

import pytest

from dataset_tools.lib.core.errors import UserError
from dataset_tools.lib.parallel.worker_process import ProcessLost, report_step
from dataset_tools.lib.parallel.workers import CallProcess

MEMORY = 1 << 40


def process_id() -> int:
    return os.getpid()


def from_threads(count: int) -> None:
    """Report 0 to count - 1 from as many threads, each with a long text that would mix with the others'."""
    threads = [threading.Thread(target=report_step, args=((number, "x" * 100_000),)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def sleep() -> None:
    report_step("asleep")
    time.sleep(600)


def refuse() -> None:
    raise UserError("film.mp4: no picture")


@pytest.fixture
def process():
    found = CallProcess()
    yield found
    found.close()


def test_calls_use_one_process_and_hear_what_it_reports(process):
    first = process.call(process_id, timeout=60, memory=MEMORY)
    assert first != os.getpid() and process.call(process_id, timeout=60, memory=MEMORY) == first
    received = []
    process.call(from_threads, 8, timeout=60, memory=MEMORY, on_message=received.append)
    assert sorted(number for number, _ in received) == list(range(8)) and {len(text) for _, text in received} == {
        100_000
    }
    with pytest.raises(UserError, match="film.mp4: no picture"):
        process.call(refuse, timeout=60, memory=MEMORY)
    assert process.call(process_id, timeout=60, memory=MEMORY) == first, "an error ends no process"


def test_a_call_may_be_stopped_from_another_thread(process):
    first = process.call(process_id, timeout=60, memory=MEMORY)
    with pytest.raises(ProcessLost):  # as soon as it says that it sleeps
        process.call(
            sleep, timeout=600, memory=MEMORY, on_message=lambda what: threading.Thread(target=process.stop).start()
        )
    assert process.call(process_id, timeout=60, memory=MEMORY) != first


def test_a_call_that_was_stopped_before_its_process_was_there_does_not_begin(process):
    process.stop()
    with pytest.raises(ProcessLost, match="stopped"):
        process.call(sleep, timeout=600, memory=MEMORY, wanted=lambda: False)
    assert process.call(process_id, timeout=60, memory=MEMORY) != os.getpid()


def test_a_stop_after_a_call_has_ended_does_not_reach_the_next_one(process, monkeypatch):
    first = process.call(process_id, timeout=60, memory=MEMORY)
    process.stop()
    monkeypatch.setattr(process._worker.process, "is_alive", lambda: True)  # one with much memory dies slowly
    assert process.call(process_id, timeout=60, memory=MEMORY) != first


def test_a_call_may_say_nothing_for_longer_than_one_wait(process, monkeypatch):
    process.call(process_id, timeout=60, memory=MEMORY)
    monkeypatch.setattr("dataset_tools.lib.parallel.workers.MAX_WAIT", 0.05)
    assert process.call(time.sleep, 0.5, timeout=60, memory=MEMORY) is None


def test_a_call_that_takes_too_long_is_lost(process):
    process.call(process_id, timeout=60, memory=MEMORY)
    with pytest.raises(ProcessLost, match="took more than 0.2 s"):
        process.call(sleep, timeout=0.2, memory=MEMORY)
    assert process.call(process_id, timeout=60, memory=MEMORY) != os.getpid()
