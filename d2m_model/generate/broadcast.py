"""Give the items of one iterable to several readers that work at the same time."""

import queue
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from threading import Event, Thread
from typing import Generic, TypeVar

T = TypeVar("T")


class Reader(Iterator[T], Generic[T]):
    """One reader's view of the items. If it is closed, the others go on without it."""

    def __init__(self, depth: int):
        self._queue: queue.Queue = queue.Queue(depth)
        self._closed = Event()

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
        """Whether this reader takes no more items."""
        return self._closed.is_set()

    def put(self, item: T | None, err: BaseException | None = None) -> None:
        """Give this reader an item, or an error to raise; waits while it is busy with the items before."""
        while not self._closed.is_set():
            try:
                return self._queue.put((item, err), timeout=0.1)
            except queue.Full:
                continue


@contextmanager
def broadcast(items: Iterable[T], readers: int, depth: int = 4) -> Iterator[list[Reader[T]]]:
    """A context with `readers` iterators over the same items, which are computed once, in a thread.

    Each reader must be read in a thread of its own, or closed: the others are at most `depth` items ahead of it. An exception of
    `items` is raised in each reader. When the context is left, readers are closed.
    """
    feeds: list[Reader[T]] = [Reader(depth) for _ in range(readers)]
    thread = Thread(target=_feed, args=(items, feeds), daemon=True)
    thread.start()
    try:
        yield feeds
    finally:
        for feed in feeds:
            feed.close()
        thread.join()


def _feed(items: Iterable[T], feeds: list[Reader[T]]) -> None:
    end: BaseException = StopIteration()
    try:
        for item in items:
            for feed in feeds:
                feed.put(item)
            if all(feed.closed for feed in feeds):
                return
    except BaseException as err:  # noqa: BLE001 - raised again by each reader
        end = err
    for feed in feeds:
        feed.put(None, end)
