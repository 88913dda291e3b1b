"""Progress bars on stderr."""

import threading
from collections.abc import Iterable

from tqdm import tqdm

DELAY = 1.0
"""Seconds after which a bar appears: shorter work needs none."""


class ProgressBar(tqdm):
    """A bar on stderr that appears after `DELAY` seconds, even if no item is finished by then.

    unit: what the bar counts, in the singular, such as 'clip'. Other settings are those of `tqdm`.
    """

    start_t: float
    last_print_t: float

    def __init__(self, *args, unit: str, **settings):
        self._first = threading.Timer(DELAY, self._show)
        super().__init__(*args, unit=unit, delay=DELAY, dynamic_ncols=True, mininterval=0.5, **settings)
        if not self.disable:
            self._first.daemon = True
            self._first.start()

    def _show(self) -> None:
        with self.get_lock():
            if self.last_print_t == self.start_t:  # `close` ends only the line of a bar that was printed
                self.last_print_t = self._time()
                self.refresh()

    def close(self) -> None:
        """End the bar."""
        self._first.cancel()
        super().close()


def progress(items: Iterable, label: str, total: int | None = None, *, unit: str) -> ProgressBar:
    """Iterate over `items` with a progress bar, which appears after `DELAY` seconds."""
    return ProgressBar(items, desc=label, total=total, unit=unit)
