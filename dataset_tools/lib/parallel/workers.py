"""Run one function over many items in processes, with a progress bar, in order, one outcome per item.

A process that dies or hangs costs the item it had, not the run: the decoders and networks underneath are C++, they
meet files from anywhere, and what they do to a process cannot be caught inside it. Nor does a process outlive this one
(`orphans.py`).

Why not a pool of others: `pebble` 5.2 (crashes and timeouts cost the item) leaves its busy workers behind when the parent is
killed, and gives a worker one item at a time and any: nothing prepared ahead, no neighbours, no steps. With `loky` 3.7 one
crash costs every item.
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

from dataset_tools.lib.core.errors import UserError, disk_trouble, missing_package
from dataset_tools.lib.core.progress import progress
from dataset_tools.lib.parallel import orphans
from dataset_tools.lib.parallel.prefetch import prefetch

I = TypeVar("I")  # noqa: E741 - item
O = TypeVar("O")  # noqa: E741 - outcome
P = TypeVar("P")

STARTING = 300.0  # seconds that a process may take to start, beside the time of its first item
LONGEST_WAIT = 3600.0  # seconds; the system takes no number of any size, and who waited looks again
START = "spawn"  # how processes start: fresh, so that no library's threads or locks are inherited


def run_all(
    function: Callable[..., O], items: list[I], workers: int, label: str, *,
    prepare: Callable[[I], P] | None = None, failed: Callable[[I, str], O] | None = None, timeout: float | None = None,
    steps: int | None = None, unit: str = "clip",
) -> list[O]:  # fmt: skip
    """[function(item) for item in items] over `workers` processes.

    With `prepare` it is function(item, prepare(item)), and a process prepares its next item in a thread while it works
    on the present one. A process has items in their order, as far as it goes neighbours, so that it may keep what they share.

    `function` should return its failure as a value. Where it does not, because it raises, its process dies, or it takes
    more than `timeout` seconds for one item, failed(item, reason) stands for the outcome. Without `failed` such an item
    ends the run (with what it raised, or RuntimeError), and a single worker needs no process of its own. With `steps`,
    the number of times that all items together call `step`, the progress bar counts those instead of items. unit: what the bar counts, in the singular.
    """
    if failed is None and steps is None and (workers <= 1 or len(items) <= 1):
        return [outcome() for outcome in progress(_outcomes(function, prepare, items), label, len(items), unit=unit)]
    outcomes: list = [None] * len(items)
    waiting, busy, spare = list(range(len(items))), [], []
    alone: set[int] = set()  # items whose process was lost while it had two: either may be to blame
    try:
        with progress((), label, total=steps or len(items), unit=unit) as bar:
            while waiting or busy:
                while waiting and len(busy) < workers:
                    busy.append(spare.pop() if spare else _Worker(function, prepare))
                    busy[-1].give(_next(waiting, busy[-1], busy), waiting, items, timeout)
                for worker in busy if prepare else ():
                    if waiting and len(worker.given) == 1:
                        index = _next(waiting, worker, busy)
                        if alone.isdisjoint((worker.given[0], index)):
                            worker.give(index, waiting, items, timeout)
                left = min(worker.deadline for worker in busy) - time.monotonic()
                connection.wait(
                    [worker.pipe for worker in busy], None if timeout is None else min(max(0.0, left), LONGEST_WAIT)
                )
                for worker in [w for w in busy if w.answered or time.monotonic() > w.deadline]:
                    outcome: Any
                    kind, outcome = worker.take()
                    if kind in ("ready", "step"):
                        bar.update(kind == "step")
                        continue
                    if kind == "lost":
                        worker.stop()
                    if kind == "lost" and len(worker.given) > 1:
                        alone.update(worker.given)
                        waiting = sorted(waiting + worker.given)
                        busy.remove(worker)
                        continue
                    index = worker.done()
                    if not worker.given:
                        busy.remove(worker)
                        spare += [worker] if kind != "lost" else []
                    if kind != "done":
                        outcome = _without(outcome, failed, items[index])
                    outcomes[index] = outcome
                    bar.update(steps is None)
    finally:
        for worker in busy + spare:
            worker.stop()
    return outcomes


def _next(waiting: list[int], worker: "_Worker", busy: list["_Worker"]) -> int:
    """The item after the worker's last; where that is taken, the first of the longest run of those that wait or, where
    another worker is coming to it, the middle."""
    if worker.next in waiting:
        return worker.next
    runs: list[list[int]] = []
    for index in waiting:
        if runs and index == runs[-1][-1] + 1:
            runs[-1].append(index)
        else:
            runs.append([index])
    longest = max(runs, key=len)
    return longest[len(longest) // 2] if longest[0] in {other.next for other in busy} else longest[0]


def _outcomes(function: Callable, prepare: Callable | None, items: Iterable[I]) -> Iterator[Callable[[], O]]:
    """For each item what gives, or raises, its outcome; the items after it are prepared meanwhile."""
    if prepare is None:
        for item in items:
            yield partial(function, item)
        return

    def prepared(item: I) -> Callable[[], O]:
        try:
            ready = prepare(item)
        except Exception as err:  # noqa: BLE001 - raised again in the item's turn
            return partial(_raise, err)
        return partial(function, item, ready)

    with closing(prefetch((prepared(item) for item in items), depth=1)) as ready:
        yield from ready


def _raise(err: Exception) -> NoReturn:
    raise err


def _without(trouble: Exception, failed: Callable[[I, str], O] | None, item: I) -> O:
    if failed is None or missing_package(trouble):  # without it no item would do better
        raise trouble
    reason = disk_trouble(trouble, full_path=False)
    if reason is None:
        known = isinstance(trouble, (ProcessLost, UserError))
        reason = str(trouble) if known else f"{type(trouble).__name__}: {trouble}"
        if not known:  # a bug of ours as likely as a strange file: the row has one line, here is the rest
            print("".join(traceback.format_exception(trouble)), file=sys.stderr)
    return failed(item, " ".join(reason.split()))


class ProcessLost(RuntimeError):
    """The process that worked on an item died, or was stopped because it took too long."""


_own = threading.local()
"""`worker`: the process of `apart` that waits for this thread's next call. No other thread's: on Linux it ends with the thread."""
_kept: set["_Worker"] = set()
"""Those of all threads."""


def apart(function: Callable[..., O], *args, timeout: float, memory: int) -> O:
    """function(*args) in a process of its own, which a later call may use again; many threads may call this at once.

    What it raises is raised here; ProcessLost where the process dies or takes more than `timeout` seconds. It may take `memory`
    bytes, where the system can hold it to that: beyond, it is refused memory.
    """
    worker, _own.worker = getattr(_own, "worker", None), None
    if worker and not worker.process.is_alive():
        _let_go(worker)
        worker = None
    if worker is None:
        worker = _Worker(_called, None)
        _kept.add(worker)
    worker.timeout, worker.given = timeout, [0]
    worker.begin()
    try:
        worker.send((function, args, memory))
        kind = "ready"
        while kind in ("ready", "step"):
            connection.wait([worker.pipe], max(0.0, worker.deadline - time.monotonic()))
            kind, outcome = worker.take()
    except BaseException:
        _let_go(worker)
        raise
    if kind == "lost":
        _let_go(worker)
    else:
        _own.worker = worker
    if kind != "done":
        raise outcome
    return outcome


def _called(call: tuple):
    function, args, memory = call
    try:
        resource.setrlimit(resource.RLIMIT_AS, (memory, resource.getrlimit(resource.RLIMIT_AS)[1]))
    except (ValueError, OSError):  # no such limit here, or a lower one holds already
        pass
    return function(*args)


def _let_go(worker: "_Worker") -> None:
    worker.stop()
    _kept.discard(worker)


@atexit.register
def _stop_kept() -> None:
    for worker in tuple(_kept):
        _let_go(worker)


class _Worker:
    """A process that answers one item at a time over a pipe."""

    def __init__(self, function: Callable, prepare: Callable | None):
        self.pipe, theirs = multiprocessing.Pipe()
        self.process = orphans.start(START, _serve, function, prepare, theirs)
        theirs.close()  # so that the pipe ends when the process does
        self.ready = False
        self.given: list[int] = []
        """Indices of the items that it has, the one it works on first."""
        self.next: int | None = None
        """Index of the item after those."""

    def give(self, index: int, waiting: list[int], items: list, timeout: float | None) -> None:
        waiting.remove(index)
        self.given.append(index)
        self.next = index + 1
        self.timeout = timeout
        if len(self.given) == 1:
            self.begin()
        self.send(items[index])

    def send(self, item) -> None:
        try:
            self.pipe.send(item)
        except BrokenPipeError:  # it died since its last answer: take() will say how
            pass

    def begin(self) -> None:
        """The item's time begins; a process that is not ready yet has `STARTING` more, for its imports are no item's."""
        left = float("inf") if self.timeout is None else self.timeout
        self.deadline = time.monotonic() + left + (0.0 if self.ready else STARTING)

    def done(self) -> int:
        """The index of the item that it worked on; from here on it works on the next."""
        self.begin()
        return self.given.pop(0)

    @property
    def answered(self) -> bool:
        """Whether there is an answer, or never will be."""
        return self.pipe.poll()

    def take(self) -> tuple[str, Any]:
        """('done', outcome), ('raised', exception), ('lost', ProcessLost) or, on the way to them, ('ready' or 'step', None)."""
        if not self.answered:
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
            self.begin()
        return kind, outcome

    def stop(self) -> None:
        self.process.kill()
        self.process.join()
        self.pipe.close()


_parent = None  # in a process of `run_all`: the pipe to who wants to know of steps


def step() -> None:
    """Called by a function that `run_all` runs: one of the steps of its item is done."""
    if _parent is not None:
        _parent.send(("step", None))


def _serve(function: Callable, prepare: Callable | None, pipe) -> None:
    """Answer items until the parent is gone."""
    global _parent
    _parent = pipe
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle: it stops its workers
    try:
        pipe.send(("ready", None))
    except BrokenPipeError:
        return
    for outcome in _outcomes(function, prepare, _received(pipe)):
        try:
            answer = ("done", outcome())
        except Exception as err:  # noqa: BLE001 - the parent decides what becomes of it
            answer = ("raised", _sendable(err))
        try:
            pipe.send(answer)
        except BrokenPipeError:
            return


def _received(pipe) -> Iterator:
    while True:
        try:
            yield pipe.recv()
        except EOFError:
            return


def _sendable(err: Exception) -> Exception:
    """The exception with its traceback as a note, or its text where the class cannot be rebuilt in another process."""
    err.add_note(f"in a worker process:\n{traceback.format_exc()}")
    try:
        return pickle.loads(pickle.dumps(err))
    except Exception:  # noqa: BLE001 - whatever a foreign class does when it is rebuilt
        return RuntimeError(f"{type(err).__name__}: {err}\n{traceback.format_exc()}")
