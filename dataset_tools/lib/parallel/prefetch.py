"""Compute the next items of an iterable in a background thread while the current one is used."""

import queue
import threading
from collections.abc import Iterable, Iterator
from contextlib import closing, nullcontext
from typing import TypeVar

T = TypeVar("T")


def prefetch(items: Iterable[T], depth: int = 2) -> "Prefetcher[T]":
    """Iterate over `items` in order, computed by a thread that starts now and is at most `depth` items ahead.

    It is useful if computing an item releases Python's global lock, as decoding, OpenCV, numpy and torch do. An exception of
    `items` is raised here, in its place. If the iterator is closed or dropped early, the thread ends after the item that it is
    computing, and `items` is closed if it is a generator.
    """
    return Prefetcher(items, depth)


class Prefetcher(Iterator[T]):
    """See `prefetch`."""

    def __init__(self, items: Iterable[T], depth: int):
        self._queue: queue.Queue = queue.Queue(depth)
        self._closed = threading.Event()
        self._thread = threading.Thread(target=_fill_queue, args=(items, self._queue, self._closed), daemon=True)
        self._thread.start()

    def __next__(self) -> T:
        if self._closed.is_set():
            raise StopIteration
        item, err = self._queue.get()
        if err is not None:
            self.close()
            raise err
        return item

    def close(self) -> None:
        """Stop computing items and wait for the thread."""
        self._closed.set()
        self._thread.join()

    def __del__(self):
        self._closed.set()


def _fill_queue(items: Iterable, results: queue.Queue, closed: threading.Event) -> None:
    def put(*result) -> bool:
        while not closed.is_set():
            try:
                results.put(result, timeout=0.1)
                return True
            except queue.Full:
                continue
        return False

    try:
        with closing(items) if hasattr(items, "close") else nullcontext():  # type: ignore[type-var]  # it has
            for item in items:
                if not put(item, None):
                    return
        put(None, StopIteration())
    except BaseException as err:  # noqa: BLE001 - raised again by __next__, in place of the item
        put(None, err)
