"""Items that wait for the network rather than compute: `run_all` works on them in threads of this process (`threads=True`)."""

import threading
import time
from collections.abc import Callable
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from typing import TypeVar

from dataset_tools.lib.core.progress import ProgressBar, progress
from dataset_tools.lib.parallel.worker_process import send_bytes

I = TypeVar("I")  # noqa: E741 - item
O = TypeVar("O")  # noqa: E741 - outcome

_of_thread = threading.local()
"""`run`: the `_Run` for which this thread works."""


class _Run:
    """One call of `run_in_threads`."""

    def __init__(self, bar: ProgressBar):
        self.bar, self.lock = bar, threading.Lock()
        self.received = 0
        """Bytes, of all items."""
        self.stopped = threading.Event()
        """Set when the threads should end."""

    def receive(self, count: int) -> None:
        with self.lock:
            self.received += count
            self.bar.set_postfix_str(describe_bytes(self.received), refresh=False)

    def done(self) -> None:
        with self.lock:
            self.bar.update()


def describe_bytes(count: int) -> str:
    """A number of bytes, for the progress bar."""
    return f"{count / 1e6:.1f} MB"


def run_in_threads(function: Callable[[I], O], items: list[I], workers: int, label: str, unit: str) -> list[O]:
    """[function(item) for item in items], computed by `workers` threads. An exception ends the run, and the other threads at their
    next call of `report_bytes` or `pause`."""
    with progress((), label, total=len(items), unit=unit) as bar:
        run = _Run(bar)

        def one(item: I) -> O:
            _of_thread.run = run
            outcome = function(item)
            run.done()
            return outcome

        pool = ThreadPoolExecutor(workers)
        try:
            futures = [pool.submit(one, item) for item in items]
            for future in wait(futures, return_when=FIRST_EXCEPTION).done:
                future.result()
        except BaseException:
            run.stopped.set()
            pool.shutdown(wait=False, cancel_futures=True)
            raise
        pool.shutdown()
    return [future.result() for future in futures]


def report_bytes(count: int) -> None:
    """Report that an item has received `count` bytes more; the progress bar shows the sum. Called by the function of `run_all`, wherever it
    runs. Raises KeyboardInterrupt in a thread that should end."""
    run = getattr(_of_thread, "run", None)
    if run is None:
        send_bytes(count)
        return
    run.receive(count)
    if run.stopped.is_set():
        raise KeyboardInterrupt


def pause(seconds: float) -> None:
    """Wait. Raises KeyboardInterrupt in a thread that should end."""
    run = getattr(_of_thread, "run", None)
    if run is None:
        time.sleep(seconds)
    elif run.stopped.wait(seconds):
        raise KeyboardInterrupt
