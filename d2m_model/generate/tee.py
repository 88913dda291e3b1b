"""Give the items of one iterable to several readers that work at the same time."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from threading import Thread
from typing import TypeVar

from dataset_tools.lib.parallel.prefetch import Feed, fill

T = TypeVar("T")


@contextmanager
def tee(items: Iterable[T], readers: int, depth: int = 4) -> Iterator[list[Feed[T]]]:
    """A context with `readers` iterators over the same items, which are computed once, in a thread.

    Each reader must be read in a thread of its own, or closed, and then the others go on without it: they are at most `depth`
    items ahead of it. An exception of `items` is raised in each reader. When the context is left, readers are closed.
    """
    feeds: list[Feed[T]] = [Feed(depth) for _ in range(readers)]
    thread = Thread(target=fill, args=(items, feeds), daemon=True)
    thread.start()
    try:
        yield feeds
    finally:
        for feed in feeds:
            feed.close()
        thread.join()
