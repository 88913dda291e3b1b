"""Batches that are filled from several streams of items, so that a GPU gets full ones although clips end anywhere."""

import queue
import threading
from collections.abc import Callable, Hashable, Iterable, Iterator
from contextlib import closing
from typing import Generic, TypeVar

from dataset_tools.lib.parallel.prefetch import Feed, prefetch

X = TypeVar("X")
Y = TypeVar("Y")


class _Stream(Iterator[Y], Generic[X, Y]):
    """The results of one stream, in the order of its items."""

    def __init__(self, items: Iterable[X], depth: int):
        self.items = prefetch(items, depth)
        self.results: Feed[Y] = Feed(depth)
        self.end: BaseException | None = None
        """How the items ended: StopIteration or an error; None while there may be more."""

    def __next__(self) -> Y:
        return next(self.results)

    def close(self) -> None:
        """Take no more results."""
        self.results.close()


class SharedBatches(Generic[X, Y]):
    """Applies `function` to batches of exactly `size` items: of the stream that was started first, then of the next one, and so on.

    If all started streams have ended, or the next item differs in `alike` (as the size of a frame does), the last item is repeated until
    the batch is full. So the sizes are always the same, and if `function` computes an item by itself, its result does not depend on
    which items share its batch. On a CPU this was measured for the networks of pose and i3d: other items and other places
    change nothing, and sizes from 2 on neither; a batch of one item differs by rounding.
    """

    def __init__(self, function: Callable[[list[X]], list[Y]], size: int, alike: Callable[[X], Hashable]):
        """function: from items to as many results. It is called in one thread, which ends with the process."""
        self._function, self._size, self._alike = function, size, alike
        self._started: queue.SimpleQueue[_Stream[X, Y]] = queue.SimpleQueue()
        threading.Thread(target=self._run, daemon=True).start()

    def start(self, items: Iterable[X]) -> Iterator[Y]:
        """The results for `items`, which a thread reads from now on, at most two batches ahead."""
        stream: _Stream[X, Y] = _Stream(items, 2 * self._size)
        self._started.put(stream)
        return stream

    def _run(self) -> None:
        batch: list[tuple[_Stream[X, Y], X]] = []
        while True:
            stream = self._next_stream(wait=not batch)
            if stream is None:
                self._compute(batch)
                batch = []
                continue
            end: BaseException = StopIteration()
            with closing(stream.items):
                try:
                    for item in stream.items:
                        if batch and self._alike(item) != self._alike(batch[-1][1]):
                            self._compute(batch)
                            batch = []
                        batch.append((stream, item))
                        if len(batch) == self._size:
                            self._compute(batch)
                            batch = []
                        if stream.results.closed:
                            break
                except Exception as err:  # noqa: BLE001 - raised again by the reader
                    end = err
            stream.end = end
            if all(other is not stream for other, _ in batch):
                stream.results.put(None, end)

    def _next_stream(self, wait: bool) -> _Stream[X, Y] | None:
        """The next stream that was started; None if there is none."""
        try:
            return self._started.get(block=wait)
        except queue.Empty:
            return None

    def _compute(self, batch: list[tuple[_Stream[X, Y], X]]) -> None:
        """Give each stream its results, or the exception of the function, and tell those whose items have ended that these were the last."""
        items = [item for _, item in batch]
        try:
            results = self._function(items + items[-1:] * (self._size - len(items)))
        except Exception as err:  # noqa: BLE001 - raised again by the readers
            for stream, _ in batch:
                stream.results.put(None, err)
            return
        for place, ((stream, _), result) in enumerate(zip(batch, results), start=1):
            stream.results.put(result)
            # at once: the next stream may have no room for its results until its reader has read this one to the end
            if stream.end and (place == len(batch) or batch[place][0] is not stream):
                stream.results.put(None, stream.end)
