"""A process that computes outcomes one at a time and sends them over a pipe: the worker of `workers.py`."""

import multiprocessing
import pickle
import signal
import threading
import time
import traceback
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from functools import partial
from typing import Any, NoReturn, TypeVar

from dataset_tools.lib.core.errors import UserError
from dataset_tools.lib.parallel import orphans
from dataset_tools.lib.parallel.prefetch import prefetch

I = TypeVar("I")  # noqa: E741 - item
O = TypeVar("O")  # noqa: E741 - outcome

STARTUP_SECONDS = 300.0  # time for a process to start, in addition to the time limit of its first item
START_METHOD = "spawn"  # a new process inherits no threads or locks of libraries
UNFINISHED = ("ready", "step", "bytes")  # messages of a process that has not finished its item
SEND = 0.5  # s between two messages about received bytes


class ProcessLost(RuntimeError):
    """The process of an item died, or was stopped because it took too long."""


class MachineFault(UserError):
    """A machine lacks what an item needs; another may have it."""


def outcome_calls(function: Callable, prepare: Callable | None, items: Iterable[I]) -> Iterator[Callable[[], O]]:
    """Yield, for each item, a function that returns its outcome or raises. Meanwhile the next item is prepared."""
    if prepare is None:
        for item in items:
            yield partial(function, item)
        return

    def prepared(item: I) -> Callable[[], O]:
        try:
            ready = prepare(item)
        except Exception as err:  # noqa: BLE001 - raised again when it is the item's turn
            return partial(_raise, err)
        return partial(function, item, ready)

    with closing(prefetch((prepared(item) for item in items), depth=1)) as ready:
        yield from ready


def _raise(err: Exception) -> NoReturn:
    raise err


class WorkerProcess:
    """A process that computes outcomes one at a time and sends them over a pipe."""

    def __init__(self, function: Callable, prepare: Callable | None):
        self.pipe, theirs = multiprocessing.Pipe()
        self.process = orphans.start_process(START_METHOD, _serve_items, function, prepare, theirs)
        theirs.close()  # so that the pipe closes when the process ends
        self.ready = False
        self.stopped = False
        """Whether it was killed."""
        self.assigned: list[int] = []
        """Indices of its items; the first is being processed."""

    def assign(self, index: int, item, timeout: float | None) -> None:
        """Give it an item, whose index is `index`."""
        self.assigned.append(index)
        self.timeout = timeout
        if len(self.assigned) == 1:
            self.start_clock()
        self.send(item)

    def send(self, item) -> None:
        """Send an item; if the process has died, `receive` says so."""
        try:
            self.pipe.send(item)
        except BrokenPipeError:  # it died since its last answer: receive() will say how
            pass

    def start_clock(self) -> None:
        """Start the time limit of an item. A process that is not ready yet gets `STARTUP_SECONDS` more for its imports."""
        left = float("inf") if self.timeout is None else self.timeout
        self.deadline = time.monotonic() + left + (0.0 if self.ready else STARTUP_SECONDS)

    def finish_item(self) -> int:
        """Index of the item that is finished. The next one is now being processed."""
        self.start_clock()
        return self.assigned.pop(0)

    @property
    def has_answer(self) -> bool:
        """Whether there is an answer, or the process has ended without one."""
        return self.pipe.poll()

    def receive(self) -> tuple[str, Any]:
        """The next message: ('done', outcome), ('raised', exception) or ('lost', ProcessLost), or before them ('ready', None) or
        ('step', what was reported) or ('bytes', how many more an item has received)."""
        if not self.has_answer:
            return "lost", ProcessLost(f"took more than {self.timeout:g} s and was stopped")
        try:
            kind, outcome = self.pipe.recv()
        except (EOFError, OSError, pickle.UnpicklingError):
            self.process.join()
            code = self.process.exitcode
            how = f"was killed by {signal.Signals(-code).name}" if code and code < 0 else f"ended with exit code {code}"
            return "lost", ProcessLost(f"the process that worked on it {how}")
        if kind == "ready":
            self.ready = True
            self.start_clock()
        return kind, outcome

    def kill(self) -> None:
        """Kill the process, from any thread. It may live on for a moment."""
        self.stopped = True
        self.process.kill()

    def stop(self) -> None:
        """Kill the process, and wait until it has ended."""
        self.kill()
        self.process.join()
        self.pipe.close()


_parent_pipe = None  # in a worker process: the pipe to the parent
_sending = threading.Lock()  # a pipe must not be written by two threads at once


def report_step(what: object = None) -> None:
    """Report that one step of the current item is done. Called by a function that runs in a worker, in any of its threads.

    what: for `CallProcess.call`, whose `on_message` receives it.
    """
    if _parent_pipe is not None:
        with _sending:
            _parent_pipe.send(("step", what))


_bytes, _sent = 0, float("-inf")  # received and not reported yet; when they were reported last


def send_bytes(count: int) -> None:
    """Report that an item has received `count` bytes more (`threads.report_bytes`), from time to time."""
    global _bytes, _sent
    _bytes += count
    if _parent_pipe is not None and time.monotonic() > _sent + SEND:
        with _sending:
            _parent_pipe.send(("bytes", _bytes))
        _bytes, _sent = 0, time.monotonic()


def _serve_items(function: Callable, prepare: Callable | None, pipe) -> None:
    """Compute the outcomes of items from the pipe until the parent is gone."""
    global _parent_pipe
    _parent_pipe = pipe
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent handles Ctrl-C: it stops its workers
    try:
        pipe.send(("ready", None))
    except BrokenPipeError:
        return
    for outcome in outcome_calls(function, prepare, _receive_items(pipe)):
        try:
            answer = ("done", outcome())
        except Exception as err:  # noqa: BLE001 - the parent handles it
            answer = ("raised", make_picklable(err))
        try:
            with _sending:
                pipe.send(answer)
        except BrokenPipeError:
            return


def _receive_items(pipe) -> Iterator:
    while True:
        try:
            yield pipe.recv()
        except EOFError:
            return


def make_picklable(err: Exception) -> Exception:
    """The exception with its traceback as a note, or a RuntimeError with its text if its class cannot be pickled."""
    err.add_note(f"in a worker process:\n{traceback.format_exc()}")
    try:
        return pickle.loads(pickle.dumps(err))
    except Exception:  # noqa: BLE001 - a foreign class may raise anything when it is unpickled
        return RuntimeError(f"{type(err).__name__}: {err}\n{traceback.format_exc()}")
