"""Batches filled from several streams: always full, results in order, and each stream's errors its own."""

import threading
import time

import pytest

from dataset_tools.lib.video.shared_batches import SharedBatches


class Squares:
    """Squares numbers, and keeps the batches that it got."""

    def __init__(self):
        self.batches = []

    def __call__(self, items):
        self.batches.append(items)
        if -1 in items:
            raise ValueError("negative")
        return [item * item for item in items]


def gated(items, gate):
    """The items, the first not before the gate is open."""
    gate.wait(20)
    yield from items


@pytest.fixture
def squares():
    return Squares()


def test_the_end_of_one_stream_and_the_start_of_the_next_share_a_batch(squares):
    gate = threading.Event()
    batches = SharedBatches(squares, 4, lambda item: None)
    first, second = batches.start(gated(range(6), gate)), batches.start(range(100, 105))
    gate.set()
    assert list(first) == [number**2 for number in range(6)]
    assert list(second) == [number**2 for number in range(100, 105)]
    assert squares.batches == [[0, 1, 2, 3], [4, 5, 100, 101], [102, 103, 104, 104]]


def test_items_that_differ_share_no_batch(squares):
    gate = threading.Event()
    batches = SharedBatches(squares, 3, lambda item: item > 50)
    first, second = batches.start(gated([1, 2, 3, 4], gate)), batches.start([60, 61])
    gate.set()
    assert (list(first), list(second)) == ([1, 4, 9, 16], [3600, 3721])
    assert squares.batches == [[1, 2, 3], [4, 4, 4], [60, 61, 61]]


def test_a_stream_ends_although_no_other_comes_and_though_it_is_empty(squares):
    batches = SharedBatches(squares, 4, lambda item: None)
    assert list(batches.start([3])) == [9] and list(batches.start([])) == [] and list(batches.start([4])) == [16]


def test_long_streams_wait_for_their_readers(squares):
    batches = SharedBatches(squares, 4, lambda item: None)
    first, second = batches.start(range(100)), batches.start(range(100))
    time.sleep(0.5)
    assert len(squares.batches) <= 4
    assert list(first) == list(second) == [number**2 for number in range(100)]


def test_a_stream_ends_before_the_next_one_has_room_for_all_its_results(squares):
    """A process reads the clips one after the other, and begins the next one before."""
    gate = threading.Event()
    batches = SharedBatches(squares, 4, lambda item: None)
    first, second = batches.start(gated(range(6), gate)), batches.start(range(100))
    gate.set()
    assert list(first) == [number**2 for number in range(6)]
    assert list(second) == [number**2 for number in range(100)]


def broken():
    yield 2
    raise OSError("damaged")


def test_errors_are_of_their_stream(squares):
    batches = SharedBatches(squares, 2, lambda item: None)
    stream = batches.start(broken())
    assert next(stream) == 4
    with pytest.raises(OSError, match="damaged"):
        next(stream)
    with pytest.raises(ValueError, match="negative"):
        list(batches.start([-1]))
    assert list(batches.start([5, 6])) == [25, 36]


def test_a_stream_that_is_closed_holds_nothing_up(squares):
    batches = SharedBatches(squares, 2, lambda item: None)
    left = batches.start(iter(int, 1))  # without end
    assert next(left) == 0
    left.close()
    assert list(batches.start([7])) == [49]
