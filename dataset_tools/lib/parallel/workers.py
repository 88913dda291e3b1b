"""Apply a function to many items in several processes: one outcome per item, in order, with a progress bar.

`run_all` does so in processes of this machine or, if a cluster was chosen (`lib/core/cluster.py`), on Ray (`ray_cluster.py`).

A process that crashes or hangs costs only its item. This matters because the decoders and networks are written in C++ and
process untrusted files, so a crash cannot be caught inside the process. No process outlives this one (`orphans.py`).

Why not an existing pool: `pebble` 5.2 survives crashes and timeouts, but leaves its busy workers behind when the parent is
killed. It gives a worker any item, one at a time, so nothing is prepared ahead, neighbouring items do not meet in one process,
and progress within an item is not shown. With `loky` 3.7 one crash costs all items.
"""

import atexit
import resource
import sys
import threading
import time
import traceback
import weakref
from collections.abc import Callable
from multiprocessing import connection
from typing import TYPE_CHECKING, Any, TypeVar

from dataset_tools.lib.core.cluster import chosen_cluster, chosen_storage
from dataset_tools.lib.core.errors import UserError, describe_disk_error, describe_missing_package
from dataset_tools.lib.core.progress import progress
from dataset_tools.lib.parallel.runs import Runs
from dataset_tools.lib.parallel.threads import run_in_threads
from dataset_tools.lib.parallel.worker_process import UNFINISHED, ProcessLost, WorkerProcess, outcome_calls

if TYPE_CHECKING:
    from dataset_tools.lib.parallel.carrier import ItemFiles

I = TypeVar("I")  # noqa: E741 - item
O = TypeVar("O")  # noqa: E741 - outcome
P = TypeVar("P")

MAX_WAIT = 3600.0  # seconds of one wait: the system call does not take arbitrarily large numbers


def run_all(
    function: Callable[..., O], items: list[I], workers: int, label: str, *,
    prepare: Callable[[I], P] | None = None, failed: Callable[[I, str], O] | None = None, timeout: float | None = None,
    steps: int | None = None, unit: str = "clip", gpus: float = 0.0, threads: bool = False, site: Callable[[I], str] | None = None,
    files: Callable[[I], "ItemFiles"] | None = None,
) -> list[O]:  # fmt: skip
    """[function(item) for item in items], computed by `workers` processes, or on the cluster that was chosen by `choose_cluster`.

    prepare: the call is then function(item, prepare(item)), and a process prepares its next item in a thread while it
    processes the current one.
    failed: failed(item, reason) replaces the outcome of an item whose function raises, whose process dies, or which takes more
    than `timeout` seconds. Without it such an item ends the run with its exception or ProcessLost, and a single worker runs in
    this process.
    steps: how often all items together call `report_step`; the progress bar then counts steps instead of items.
    unit: what the bar counts, in the singular.
    gpus: the share of a GPU that a process uses. Only a cluster looks at it; `workers` is for local processes only.
    threads: items wait for the network rather than compute. On this machine they run in `workers` threads of this process, which need
    less memory than processes, and a crash ends the run. `function` may call `report_bytes` and `pause` of `threads.py`.
    site: the web site that an item asks, '' for none. On a cluster, at most `workers` items of one site are worked on at once.

    files: the files of an item, for a cluster whose machines share no folder (`carrier.py`). Without it, the items of such a run stay in
    processes of this machine.

    On a cluster, items whose process or machine is lost are tried again (docs/cluster.md); all else is as in local processes.

    A process gets its items in order and, as far as possible, neighbouring ones, so that it can reuse what they share.
    """
    storage = chosen_storage()
    if items and chosen_cluster() and (files or not storage):
        from dataset_tools.lib.parallel.carrier import Carrier
        from dataset_tools.lib.parallel.ray_cluster import run_all_on_ray  # imports ray, which is an extra

        return run_all_on_ray(
            function, items, label, prepare=prepare, failed=failed, timeout=timeout, steps=steps, unit=unit, gpus=gpus,
            site_limit=(site, workers) if site else None, carrier=Carrier(storage, files) if storage and files else None,
        )  # fmt: skip

    def guarded(item: I) -> O:
        try:
            return function(item)
        except Exception as err:  # noqa: BLE001 - fails this item only, if there is `failed`
            return outcome_of_failure(err, failed, item)

    if threads:
        return run_in_threads(guarded, items, workers, label, unit)
    if failed is None and steps is None and (workers <= 1 or len(items) <= 1):
        return [
            outcome() for outcome in progress(outcome_calls(function, prepare, items), label, len(items), unit=unit)
        ]
    outcomes: list = [None] * len(items)
    waiting, busy, idle = Runs(len(items)), [], []
    suspects: set[int] = (
        set()
    )  # items of a process that was lost with two items: either may be the cause, so each runs alone
    try:
        with progress((), label, total=steps or len(items), unit=unit) as bar:
            while waiting.left or busy:
                while waiting.left and len(busy) < workers:
                    busy.append(worker := idle.pop() if idle else WorkerProcess(function, prepare))
                    (index,) = waiting.take(worker, 1)
                    worker.assign(index, items[index], timeout)
                for worker in busy if prepare else ():
                    if waiting.left and len(worker.assigned) == 1 and worker.assigned[0] not in suspects:
                        (index,) = waiting.take(worker, 1)
                        if index in suspects:
                            waiting.give_back([index])
                        else:
                            worker.assign(index, items[index], timeout)
                left = min(worker.deadline for worker in busy) - time.monotonic()
                connection.wait(
                    [worker.pipe for worker in busy], None if timeout is None else min(max(0.0, left), MAX_WAIT)
                )
                for worker in [w for w in busy if w.has_answer or time.monotonic() > w.deadline]:
                    kind, outcome = worker.receive()
                    if kind in UNFINISHED:
                        bar.update(kind == "step")
                        continue
                    if kind == "lost":
                        worker.stop()
                        waiting.release(worker)
                    if kind == "lost" and len(worker.assigned) > 1:
                        suspects.update(worker.assigned)
                        waiting.give_back(worker.assigned)
                        busy.remove(worker)
                        continue
                    index = worker.finish_item()
                    if not worker.assigned:
                        busy.remove(worker)
                        idle += [worker] if kind != "lost" else []
                    if kind != "done":
                        outcome = outcome_of_failure(outcome, failed, items[index])
                    outcomes[index] = outcome
                    bar.update(steps is None)
    finally:
        for worker in busy + idle:
            worker.stop()
    return outcomes


def outcome_of_failure(error: Exception, failed: Callable[[I, str], O] | None, item: I) -> O:
    """What replaces the outcome of an item that failed. Raises the error if there is no `failed`, and for a missing package."""
    if failed is None or describe_missing_package(error):  # every other item would fail too
        raise error
    reason = describe_disk_error(error, full_path=False)
    if reason is None:
        known = isinstance(error, (ProcessLost, UserError))
        reason = str(error) if known else f"{type(error).__name__}: {error}"
        if not known:  # it may be a bug of ours as well as a strange file, so show more than the one line of the row
            print("".join(traceback.format_exception(error)), file=sys.stderr)
    return failed(item, " ".join(reason.split()))


_thread_local = threading.local()
"""`process`: the CallProcess of this thread's `call_in_process`. Not shared: on Linux a process ends with the thread that started it."""
_call_processes: "weakref.WeakSet[CallProcess]" = weakref.WeakSet()


class CallProcess:
    """A process for calls, one at a time. It is started by the first call and reused. On Linux it ends with the thread of that call."""

    def __init__(self):
        self._worker: WorkerProcess | None = None
        _call_processes.add(self)

    def call(
        self, function: Callable[..., O], *args, timeout: float, memory: int,
        on_message: Callable[[Any], object] = lambda what: None, wanted: Callable[[], bool] = lambda: True,
    ) -> O:  # fmt: skip
        """function(*args), called in the process.

        timeout: seconds. memory: bytes of address space that the process may use, if the system can limit it. on_message: called with
        everything that the function reports by `report_step`. wanted: False once another thread has called `stop`, which may have been
        before the process was there.

        Raises whatever the function raises, and ProcessLost if the process dies, is stopped or takes longer than `timeout`.
        """
        if self._worker and (self._worker.stopped or not self._worker.process.is_alive()):
            self.close()
        worker = self._worker = self._worker or WorkerProcess(_call_with_memory_limit, None)
        worker.timeout, worker.assigned = timeout, [0]
        worker.start_clock()
        try:
            if not wanted():
                raise ProcessLost("was stopped before it began")
            worker.send((function, args, memory))
            kind: str = "ready"
            outcome: Any = None
            while kind in UNFINISHED:
                if kind == "step":
                    on_message(outcome)
                while (left := worker.deadline - time.monotonic()) > 0 and not worker.has_answer:
                    connection.wait([worker.pipe], min(MAX_WAIT, left))
                kind, outcome = worker.receive()
        except BaseException:
            self.close()
            raise
        if kind == "lost":
            self.close()
        if kind != "done":
            raise outcome
        return outcome

    def stop(self) -> None:
        """Kill the process, from any thread: a call that it works on raises ProcessLost. The next call starts another process."""
        if worker := self._worker:
            worker.kill()

    def close(self) -> None:
        """End the process, between two calls."""
        worker, self._worker = self._worker, None
        if worker:
            worker.stop()


def call_in_process(function: Callable[..., O], *args, timeout: float, memory: int) -> O:
    """`CallProcess.call` in a process that later calls of the same thread reuse. Thread-safe."""
    if not hasattr(_thread_local, "process"):
        _thread_local.process = CallProcess()
    return _thread_local.process.call(function, *args, timeout=timeout, memory=memory)


def _call_with_memory_limit(call: tuple):
    function, args, memory = call
    try:
        resource.setrlimit(resource.RLIMIT_AS, (memory, resource.getrlimit(resource.RLIMIT_AS)[1]))
    except (ValueError, OSError):  # the system has no such limit, or a lower one is set already
        pass
    return function(*args)


@atexit.register
def _close_call_processes() -> None:
    for process in tuple(_call_processes):
        process.close()
