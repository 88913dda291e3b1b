"""Compute the next items of an iterable in a background thread while the current one is used."""

import queue
import threading
from collections.abc import Iterable, Iterator
from contextlib import closing, nullcontext, suppress
from typing import Generic, TypeVar

T = TypeVar("T")


class Feed(Iterator[T], Generic[T]):
    """Items that one thread puts and another reads, at most `depth` of them waiting. Either side may end it."""

    def __init__(self, depth: int):
        self._queue: queue.Queue = queue.Queue(depth)
        self._closed = threading.Event()

    def __next__(self) -> T:
        if self._closed.is_set():
            raise StopIteration
        item, err = self._queue.get()
        if err is not None:
            self._closed.set()
            raise err
        return item

    def close(self) -> None:
        """Take no more items. May be called from any thread."""
        self._closed.set()
        with suppress(queue.Full):  # then nobody waits in __next__
            self._queue.put_nowait((None, StopIteration()))

    @property
    def closed(self) -> bool:
        """Whether no more items are taken."""
        return self._closed.is_set()

    def put(self, item: T | None, err: BaseException | None = None) -> None:
        """Give the reader an item, or an error to raise in its place; waits while `depth` items wait. Nothing happens once it is closed."""
        while not self._closed.is_set():
            try:
                return self._queue.put((item, err), timeout=0.1)
            except queue.Full:
                continue


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
        self._feed: Feed[T] = Feed(depth)
        self._thread = threading.Thread(target=fill, args=(items, [self._feed]), daemon=True)
        self._thread.start()

    def __next__(self) -> T:
        return next(self._feed)

    def close(self) -> None:
        """Stop computing items and wait for the thread."""
        self._feed.close()
        self._thread.join()

    def __del__(self):
        self._feed.close()


def fill(items: Iterable[T], feeds: list[Feed[T]]) -> None:
    """Put all items into each of the feeds, and how they end; stops early once all feeds are closed."""
    end: BaseException = StopIteration()
    try:
        with closing(items) if hasattr(items, "close") else nullcontext():  # type: ignore[type-var]  # it has
            for item in items:
                for feed in feeds:
                    feed.put(item)
                if all(feed.closed for feed in feeds):
                    return
    except BaseException as err:  # noqa: BLE001 - raised again by each reader
        end = err
    for feed in feeds:
        feed.put(None, end)
