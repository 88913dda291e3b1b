"""Items that run in threads: outcomes in order, the bytes in the bar, and an end for all of them."""

import threading
import time

import pytest

from dataset_tools.lib.core.errors import UserError
from dataset_tools.lib.parallel import threads
from dataset_tools.lib.parallel.workers import run_all


def test_outcomes_are_in_order_and_the_bar_shows_the_bytes(monkeypatch):
    barrier, texts = threading.Barrier(3), []
    monkeypatch.setattr(threads.ProgressBar, "set_postfix_str", lambda self, text, refresh=True: texts.append(text))

    def fetch(number):
        barrier.wait(20)  # three at once
        threads.report_bytes(500_000)
        return number

    assert run_all(fetch, list(range(6)), 3, "test", threads=True) == list(range(6))
    assert texts == ["0.5 MB", "1.0 MB", "1.5 MB", "2.0 MB", "2.5 MB", "3.0 MB"]


def fetch(number):
    if number == 1:
        raise UserError("gone")
    return number


def test_an_item_that_fails_costs_itself_or_ends_the_run():
    found = run_all(fetch, [0, 1, 2], 2, "test", threads=True, failed=lambda item, reason: f"{item}: {reason}")
    assert found == [0, "1: gone", 2]
    with pytest.raises(UserError, match="gone"):
        run_all(fetch, [0, 1, 2], 2, "test", threads=True)


@pytest.mark.parametrize("wait", [lambda: threads.pause(1000), lambda: time.sleep(0.05) or threads.report_bytes(1)])
def test_an_end_of_the_run_ends_its_threads(wait):
    begun, ended = threading.Event(), threading.Event()

    def fetch(number):
        if number:
            begun.wait(20)
            raise UserError("the end")
        begun.set()
        try:
            while True:
                wait()
        finally:
            ended.set()

    with pytest.raises(UserError, match="the end"):
        threads.run_in_threads(fetch, [0, 1], 2, "test", "item")
    assert ended.wait(20)
