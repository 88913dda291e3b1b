"""Progress and messages for a listener other than the terminal."""

import sys
from threading import Thread

import pytest

from dataset_tools.lib.core import progress as bars
from dataset_tools.lib.core.cli import say, watch_messages
from dataset_tools.lib.core.progress import ProgressBar, progress, watch_progress


@pytest.fixture
def clock(monkeypatch):
    """The time that bars read for their listeners: `clock[0]` seconds."""
    now = [100.0]
    monkeypatch.setattr(bars, "monotonic", lambda: now[0])
    return now


@pytest.fixture
def heard():
    """What a listener hears during the test, as (label, done, total, unit)."""
    calls = []
    with watch_progress(lambda *facts: calls.append(facts)):
        yield calls


def test_a_listener_hears_the_start_a_step_every_fifth_of_a_second_and_the_end(clock, heard):
    for _ in progress(range(10), "clips", unit="clip"):
        clock[0] += 0.07
    steps = [("clips", done, 10, "clip") for done in (0, 3, 6, 9, 10)]
    assert heard == steps


@pytest.mark.parametrize("hidden", [False, True])
def test_a_bar_that_is_moved_by_hand_or_hidden_is_heard_as_well(clock, heard, hidden):
    with ProgressBar(total=90, initial=10, desc="train", unit="step", disable=hidden) as bar:
        clock[0] += 1
        bar.update(30)
        clock[0] += 1
        bar.update(80 - bar.n)
        bar.update(10)
    assert heard == [("train", done, 90, "step") for done in (10, 40, 80, 90)]


@pytest.mark.parametrize("hidden", [False, True])
def test_a_hidden_bar_passes_its_items_on(clock, heard, hidden):
    made = ProgressBar(iter("abc"), desc="letters", unit="letter", disable=hidden)
    assert list(made) == ["a", "b", "c"]
    assert heard[0] == ("letters", 0, None, "letter") and heard[-1] == ("letters", 3, None, "letter")
    made.close()
    assert len([call for call in heard if call[1] == 3]) == 1, "the end is told once"


def test_work_that_stops_in_between_ends_where_it_stood(clock, heard):
    with pytest.raises(ZeroDivisionError), progress(range(5), "clips", unit="clip") as bar:
        for number in bar:
            1 / (2 - number)
    assert heard == [("clips", 0, 5, "clip"), ("clips", 2, 5, "clip")]


def test_an_error_of_the_listener_ends_the_work(clock):
    done = []

    def listen(label, count, total, unit):
        if count == 2:
            raise InterruptedError("enough")

    with watch_progress(listen), pytest.raises(InterruptedError, match="enough"):
        for item in progress(range(9), "clips", unit="clip"):
            clock[0] += 1
            done.append(item)
    assert done == [0, 1]


def test_bars_of_several_threads_are_heard_and_none_after_the_block():
    calls = []
    with watch_progress(lambda *facts: calls.append(facts)):
        threads = [Thread(target=lambda n=n: list(progress(range(50), str(n), unit="item"))) for n in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert {call[0] for call in calls if call[1] == 50} == {"0", "1", "2", "3"}
    count = len(calls)
    list(progress(range(3), "later", unit="item"))
    assert len(calls) == count


def test_the_terminal_still_gets_its_bar(monkeypatch, capsys):
    monkeypatch.setattr(bars, "DELAY", 0)
    with ProgressBar(range(3), desc="clips", unit="clip") as bar:
        bar._show()
        list(bar)
    assert "clips: 100%" in capsys.readouterr().err and not sys.stderr.isatty()


def test_what_is_said_is_printed_and_heard(capsys):
    calls = []
    with watch_messages(lambda *words: calls.append(words)):
        say("generate", "warning: dark")
    say("generate", "later")
    assert calls == [("generate", "warning: dark")]
    assert capsys.readouterr().out == "generate: warning: dark\ngenerate: later\n"
