"""Several readers of the items of one iterable, which are computed once."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from d2m_model.generate.tee import tee


def test_each_reader_gets_all_items_and_they_are_computed_once():
    computed = []

    def items():
        for n in range(50):
            computed.append(n)
            yield n

    with ThreadPoolExecutor(2) as pool, tee(items(), 2) as readers:
        assert [future.result() for future in [pool.submit(list, reader) for reader in readers]] == [
            list(range(50))
        ] * 2
    assert computed == list(range(50))


def test_an_error_is_raised_in_each_reader():
    def items():
        yield 1
        raise OSError("damaged")

    with tee(items(), 2) as readers:
        for reader in readers:
            assert next(reader) == 1
            with pytest.raises(OSError, match="damaged"):
                next(reader)
            assert list(reader) == []


def test_the_slowest_reader_bounds_how_far_the_items_go():
    computed = []

    def items():
        for n in range(1000):
            computed.append(n)
            yield n

    with tee(items(), 2, depth=3) as (quick, slow):
        assert [next(quick) for _ in range(3)] == [0, 1, 2]
        assert len(computed) <= 6
        slow.close()
        assert len(list(quick)) == 997


def test_a_reader_that_waits_ends_when_the_context_is_left():
    go_on = threading.Event()

    def items():
        yield 1
        go_on.wait(30)

    with ThreadPoolExecutor(1) as pool:
        with pytest.raises(KeyError), tee(items(), 2) as (_, reader):
            read = pool.submit(list, reader)
            go_on.set()
            raise KeyError("the other reader's error")
        assert read.result(timeout=20) in ([], [1])
