"""Progress bars on stderr, and their progress for other listeners."""

import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from time import monotonic

from tqdm import tqdm

DELAY = 1.0
"""Seconds after which a bar appears: shorter work needs none."""
EVERY = 0.2
"""Least seconds between two calls of a listener for the same bar, but for its start and its end."""
Listener = Callable[[str, float, float | None, str], object]
"""Is called with the label of a bar, how much is done, the total (None if unknown) and the unit, in the singular."""

_listeners: list[Listener] = []


@contextmanager
def watch_progress(callback: Listener) -> Iterator[None]:
    """Until the block ends, each `ProgressBar` of this process calls `callback` when it starts, at most once in `EVERY` seconds while it
    moves, and when it ends; also a bar that is disabled, or that is not on the screen yet.

    A bar calls from the thread that moves it, so two bars may call at once. An error that `callback` raises reaches whoever moves the
    bar: so a listener can end the work.
    """
    _listeners.append(callback)
    try:
        yield
    finally:
        _listeners.remove(callback)


class ProgressBar(tqdm):
    """A bar on stderr that appears after `DELAY` seconds, even if no item is finished by then.

    desc: its label. unit: what the bar counts, in the singular, such as 'clip'. Other settings are those of `tqdm`.
    """

    start_t: float
    last_print_t: float

    def __init__(self, *args, desc: str = "", unit: str, **settings):
        self._first = threading.Timer(DELAY, self._show)
        self._facts, self._told, self._ended = (desc, unit), monotonic(), True
        super().__init__(*args, desc=desc, unit=unit, delay=DELAY, dynamic_ncols=True, mininterval=0.5, **settings)
        self._ended = False
        if not self.disable:
            self._first.daemon = True
            self._first.start()
        self._tell()

    def _show(self) -> None:
        with self.get_lock():
            if self.last_print_t == self.start_t:  # `close` ends only the line of a bar that was printed
                self.last_print_t = self._time()
                self.refresh()

    def __iter__(self):
        """As in `tqdm`, but each item counts when it is finished."""
        try:
            for item in self.iterable:
                yield item
                self.update()
        finally:
            self.close()

    def update(self, n: float | None = 1) -> bool | None:
        """Count `n` more."""
        if self.disable:  # `tqdm` does not count then
            self.n += n
        shown = super().update(n)
        if monotonic() - self._told >= EVERY:
            self._tell()
        return shown

    def close(self) -> None:
        """End the bar."""
        self._first.cancel()
        super().close()
        if not self._ended:
            self._ended = True
            self._tell()

    def _tell(self) -> None:
        self._told = monotonic()
        label, unit = self._facts
        for listener in tuple(_listeners):
            listener(label, self.n, self.total, unit)


def progress(items: Iterable, label: str, total: int | None = None, *, unit: str) -> ProgressBar:
    """Iterate over `items` with a progress bar, which appears after `DELAY` seconds."""
    return ProgressBar(items, desc=label, total=total, unit=unit)
