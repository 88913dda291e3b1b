"""Work ahead: what comes next is made in a thread of its own while what is there is used."""

import queue
import threading
from collections.abc import Iterable, Iterator
from contextlib import closing, nullcontext
from typing import TypeVar

T = TypeVar("T")


def prefetch(items: Iterable[T], depth: int = 2) -> "Prefetcher[T]":
    """The items in their order, made by a thread that is at most `depth` of them ahead, from now on.

    It pays where making an item leaves Python's lock: decoding, OpenCV, numpy and torch do. What the making raises is
    raised here, in its place. Closed or dropped early, the thread ends with the item it is making, and `items` is
    closed where it is a generator.
    """
    return Prefetcher(items, depth)


class Prefetcher(Iterator[T]):
    """See `prefetch`."""

    def __init__(self, items: Iterable[T], depth: int):
        self._made: queue.Queue = queue.Queue(depth)
        self._left = threading.Event()
        self._thread = threading.Thread(target=_make, args=(items, self._made, self._left), daemon=True)
        self._thread.start()

    def __next__(self) -> T:
        if self._left.is_set():
            raise StopIteration
        item, err = self._made.get()
        if err is not None:
            self.close()
            raise err
        return item

    def close(self) -> None:
        """Make no more; wait for the thread."""
        self._left.set()
        self._thread.join()

    def __del__(self):
        self._left.set()


def _make(items: Iterable, made: queue.Queue, left: threading.Event) -> None:
    def hand_over(*answer) -> bool:
        while not left.is_set():
            try:
                made.put(answer, timeout=0.1)
                return True
            except queue.Full:
                continue
        return False

    try:
        with closing(items) if hasattr(items, "close") else nullcontext():  # type: ignore[type-var]  # it has
            for item in items:
                if not hand_over(item, None):
                    return
        hand_over(None, StopIteration())
    except BaseException as err:  # noqa: BLE001 - raised again where the item was to come
        hand_over(None, err)
