"""Work ahead: what comes next is made in a thread of its own while what is there is used."""

import queue
import threading
from collections.abc import Iterable, Iterator
from contextlib import closing, nullcontext
from typing import TypeVar

T = TypeVar("T")


def ahead(items: Iterable[T], depth: int = 2) -> Iterator[T]:
    """The items in their order, made by a thread that is at most `depth` of them ahead.

    It pays where making an item leaves Python's lock: decoding, OpenCV, numpy and torch do. What the making raises is
    raised here, in its place. Left early (closed), the thread ends with the item it is making, and `items` is closed
    where it is a generator.
    """
    made: queue.Queue = queue.Queue(depth)
    left = threading.Event()

    def hand_over(*answer) -> bool:
        while not left.is_set():
            try:
                made.put(answer, timeout=0.1)
                return True
            except queue.Full:
                continue
        return False

    def work() -> None:
        try:
            with closing(items) if hasattr(items, "close") else nullcontext():
                for item in items:
                    if not hand_over(item, None):
                        return
            hand_over(None, StopIteration())
        except BaseException as err:  # noqa: BLE001 - raised again where the item was to come
            hand_over(None, err)

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    try:
        while True:
            item, err = made.get()
            if isinstance(err, StopIteration):
                return
            if err is not None:
                raise err
            yield item
    finally:
        left.set()
        thread.join()
