"""Items come in order, errors in their place, and an iterator that is left early leaves no thread and no open generator."""

import threading

import pytest

from dataset_tools.lib.parallel.prefetch import prefetch


def numbers(ended):
    """0 to 99; sets the event `ended` when it is closed."""
    try:
        yield from range(100)
    finally:
        ended.set()


def test_items_come_in_order_and_an_error_in_its_place():
    def items():
        yield from range(5)
        raise OSError("damaged")

    found = prefetch(items(), depth=2)
    assert [next(found) for _ in range(5)] == [0, 1, 2, 3, 4]
    with pytest.raises(OSError, match="damaged"):
        next(found)
    assert list(found) == []


def test_no_more_than_depth_items_are_computed_ahead():
    computed, reached = [], threading.Event()

    def items():
        for n in range(100):
            computed.append(n)
            if n == 3:
                reached.set()
            yield n

    found = prefetch(items(), depth=2)
    assert next(found) == 0 and reached.wait(10)
    assert not any(n > 4 for n in computed), "one is read, two wait, one is being put"
    found.close()


def test_an_iterator_that_is_closed_early_closes_its_generator():
    ended = threading.Event()
    found = prefetch(numbers(ended), depth=1)
    next(found)
    found.close()
    assert ended.is_set() and list(found) == []
    del found


def test_an_iterator_that_is_dropped_ends_its_thread():
    ended = threading.Event()
    next(prefetch(numbers(ended), depth=1))
    assert ended.wait(10)
