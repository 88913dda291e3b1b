"""Apply a function to many items in several processes: one outcome per item, in order, with a progress bar.

A process that crashes or hangs costs only its item. This matters because the decoders and networks are written in C++ and
process untrusted files, so a crash cannot be caught inside the process. No process outlives this one (`orphans.py`).

Why not an existing pool: `pebble` 5.2 survives crashes and timeouts, but leaves its busy workers behind when the parent is
killed. It gives a worker any item, one at a time, so nothing is prepared ahead, neighbouring items do not meet in one process,
and progress within an item is not shown. With `loky` 3.7 one crash costs all items.
"""

import atexit
import multiprocessing
import pickle
import resource
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from functools import partial
from multiprocessing import connection
from typing import Any, NoReturn, TypeVar

from dataset_tools.lib.core.errors import UserError, describe_disk_error, describe_missing_package
from dataset_tools.lib.core.progress import progress
from dataset_tools.lib.parallel import orphans
from dataset_tools.lib.parallel.prefetch import prefetch

I = TypeVar("I")  # noqa: E741 - item
O = TypeVar("O")  # noqa: E741 - outcome
P = TypeVar("P")

STARTUP_SECONDS = 300.0  # time for a process to start, in addition to the time limit of its first item
MAX_WAIT = 3600.0  # seconds of one wait: the system call does not take arbitrarily large numbers
START_METHOD = "spawn"  # a new process inherits no threads or locks of libraries


def run_all(
    function: Callable[..., O], items: list[I], workers: int, label: str, *,
    prepare: Callable[[I], P] | None = None, failed: Callable[[I, str], O] | None = None, timeout: float | None = None,
    steps: int | None = None, unit: str = "clip",
) -> list[O]:  # fmt: skip
    """[function(item) for item in items], computed by `workers` processes.

    prepare: the call is then function(item, prepare(item)), and a process prepares its next item in a thread while it
    processes the current one.
    failed: failed(item, reason) replaces the outcome of an item whose function raises, whose process dies, or which takes more
    than `timeout` seconds. Without it such an item ends the run with its exception or ProcessLost, and a single worker runs in
    this process.
    steps: how often all items together call `report_step`; the progress bar then counts steps instead of items.
    unit: what the bar counts, in the singular.

    A process gets its items in order and, as far as possible, neighbouring ones, so that it can reuse what they share.
    """
    if failed is None and steps is None and (workers <= 1 or len(items) <= 1):
        return [
            outcome() for outcome in progress(_outcome_calls(function, prepare, items), label, len(items), unit=unit)
        ]
    outcomes: list = [None] * len(items)
    waiting, busy, idle = list(range(len(items))), [], []
    suspects: set[int] = (
        set()
    )  # items of a process that was lost with two items: either may be the cause, so they run alone now
    try:
        with progress((), label, total=steps or len(items), unit=unit) as bar:
            while waiting or busy:
                while waiting and len(busy) < workers:
                    busy.append(idle.pop() if idle else _Worker(function, prepare))
                    busy[-1].assign(_choose_next(waiting, busy[-1], busy), waiting, items, timeout)
                for worker in busy if prepare else ():
                    if waiting and len(worker.assigned) == 1:
                        index = _choose_next(waiting, worker, busy)
                        if suspects.isdisjoint((worker.assigned[0], index)):
                            worker.assign(index, waiting, items, timeout)
                left = min(worker.deadline for worker in busy) - time.monotonic()
                connection.wait(
                    [worker.pipe for worker in busy], None if timeout is None else min(max(0.0, left), MAX_WAIT)
                )
                for worker in [w for w in busy if w.has_answer or time.monotonic() > w.deadline]:
                    kind, outcome = worker.receive()
                    if kind in ("ready", "step"):
                        bar.update(kind == "step")
                        continue
                    if kind == "lost":
                        worker.stop()
                    if kind == "lost" and len(worker.assigned) > 1:
                        suspects.update(worker.assigned)
                        waiting = sorted(waiting + worker.assigned)
                        busy.remove(worker)
                        continue
                    index = worker.finish_item()
                    if not worker.assigned:
                        busy.remove(worker)
                        idle += [worker] if kind != "lost" else []
                    if kind != "done":
                        outcome = _outcome_of_failure(outcome, failed, items[index])
                    outcomes[index] = outcome
                    bar.update(steps is None)
    finally:
        for worker in busy + idle:
            worker.stop()
    return outcomes


def _choose_next(waiting: list[int], worker: "_Worker", busy: list["_Worker"]) -> int:
    """Index of the item for a worker: the one after its last item. If that one is taken, the first of the longest run of waiting
    items, or its middle if another worker is about to reach the first."""
    if worker.next_index in waiting:
        return worker.next_index
    runs: list[list[int]] = []
    for index in waiting:
        if runs and index == runs[-1][-1] + 1:
            runs[-1].append(index)
        else:
            runs.append([index])
    longest = max(runs, key=len)
    return longest[len(longest) // 2] if longest[0] in {other.next_index for other in busy} else longest[0]


def _outcome_calls(function: Callable, prepare: Callable | None, items: Iterable[I]) -> Iterator[Callable[[], O]]:
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


def _outcome_of_failure(error: Exception, failed: Callable[[I, str], O] | None, item: I) -> O:
    if failed is None or describe_missing_package(error):  # every other item would fail too
        raise error
    reason = describe_disk_error(error, full_path=False)
    if reason is None:
        known = isinstance(error, (ProcessLost, UserError))
        reason = str(error) if known else f"{type(error).__name__}: {error}"
        if not known:  # it may be a bug of ours as well as a strange file, so show more than the one line of the row
            print("".join(traceback.format_exception(error)), file=sys.stderr)
    return failed(item, " ".join(reason.split()))


class ProcessLost(RuntimeError):
    """The process of an item died, or was stopped because it took too long."""


_thread_local = threading.local()
"""`worker`: the process that waits for this thread's next `call_in_process`. Not shared: on Linux it ends with its thread."""
_live_workers: set["_Worker"] = set()
"""The processes of `call_in_process` of all threads."""


def call_in_process(function: Callable[..., O], *args, timeout: float, memory: int) -> O:
    """function(*args), called in another process, which later calls of the same thread reuse. Thread-safe.

    timeout: seconds. memory: bytes of address space that the process may use, if the system can limit it.

    Raises whatever the function raises, and ProcessLost if the process dies or takes longer than `timeout`.
    """
    worker, _thread_local.worker = getattr(_thread_local, "worker", None), None
    if worker and not worker.process.is_alive():
        _discard(worker)
        worker = None
    if worker is None:
        worker = _Worker(_call_with_memory_limit, None)
        _live_workers.add(worker)
    worker.timeout, worker.assigned = timeout, [0]
    worker.start_clock()
    try:
        worker.send((function, args, memory))
        kind = "ready"
        while kind in ("ready", "step"):
            connection.wait([worker.pipe], max(0.0, worker.deadline - time.monotonic()))
            kind, outcome = worker.receive()
    except BaseException:
        _discard(worker)
        raise
    if kind == "lost":
        _discard(worker)
    else:
        _thread_local.worker = worker
    if kind != "done":
        raise outcome
    return outcome


def _call_with_memory_limit(call: tuple):
    function, args, memory = call
    try:
        resource.setrlimit(resource.RLIMIT_AS, (memory, resource.getrlimit(resource.RLIMIT_AS)[1]))
    except (ValueError, OSError):  # the system has no such limit, or a lower one is set already
        pass
    return function(*args)


def _discard(worker: "_Worker") -> None:
    worker.stop()
    _live_workers.discard(worker)


@atexit.register
def _stop_kept() -> None:
    for worker in tuple(_live_workers):
        _discard(worker)


class _Worker:
    """A process that computes outcomes one at a time and sends them over a pipe."""

    def __init__(self, function: Callable, prepare: Callable | None):
        self.pipe, theirs = multiprocessing.Pipe()
        self.process = orphans.start_process(START_METHOD, _serve_items, function, prepare, theirs)
        theirs.close()  # so that the pipe closes when the process ends
        self.ready = False
        self.assigned: list[int] = []
        """Indices of its items; the first is being processed."""
        self.next_index: int | None = None
        """Index of the item after those."""

    def assign(self, index: int, waiting: list[int], items: list, timeout: float | None) -> None:
        waiting.remove(index)
        self.assigned.append(index)
        self.next_index = index + 1
        self.timeout = timeout
        if len(self.assigned) == 1:
            self.start_clock()
        self.send(items[index])

    def send(self, item) -> None:
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
        ('step', None)."""
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

    def stop(self) -> None:
        self.process.kill()
        self.process.join()
        self.pipe.close()


_parent_pipe = None  # in a process of `run_all`: the pipe to the parent


def report_step() -> None:
    """Report that one step of the current item is done. Called by a function that `run_all` runs."""
    if _parent_pipe is not None:
        _parent_pipe.send(("step", None))


def _serve_items(function: Callable, prepare: Callable | None, pipe) -> None:
    """Compute the outcomes of items from the pipe until the parent is gone."""
    global _parent_pipe
    _parent_pipe = pipe
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent handles Ctrl-C: it stops its workers
    try:
        pipe.send(("ready", None))
    except BrokenPipeError:
        return
    for outcome in _outcome_calls(function, prepare, _receive_items(pipe)):
        try:
            answer = ("done", outcome())
        except Exception as err:  # noqa: BLE001 - the parent handles it
            answer = ("raised", _make_picklable(err))
        try:
            pipe.send(answer)
        except BrokenPipeError:
            return


def _receive_items(pipe) -> Iterator:
    while True:
        try:
            yield pipe.recv()
        except EOFError:
            return


def _make_picklable(err: Exception) -> Exception:
    """The exception with its traceback as a note, or a RuntimeError with its text if its class cannot be pickled."""
    err.add_note(f"in a worker process:\n{traceback.format_exc()}")
    try:
        return pickle.loads(pickle.dumps(err))
    except Exception:  # noqa: BLE001 - a foreign class may raise anything when it is unpickled
        return RuntimeError(f"{type(err).__name__}: {err}\n{traceback.format_exc()}")
