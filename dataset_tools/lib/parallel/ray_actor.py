"""The part of `ray_cluster.py` that works on the machines of the cluster: an actor with one process, in which the items run.

The actor itself sees only bytes: functions, items and outcomes are unpickled in the item's process and in the driver, as with
local processes. So a native crash costs the actor nothing, and it needs none of the packages that a stage needs.
"""

import os
import pickle
import sys
import time
from collections import deque
from collections.abc import Callable
from contextlib import ExitStack
from multiprocessing import connection
from typing import Any

from dataset_tools.lib.core.scratch import scratch_folder
from dataset_tools.lib.parallel import orphans
from dataset_tools.lib.parallel.carrier import CarriedCall
from dataset_tools.lib.parallel.worker_process import MachineFault, WorkerProcess, make_picklable

PATIENCE = 1.0  # s after which an exchange ends without news, so that the driver can see that the actor lives
GAP = 0.005  # s without news after which those at hand are sent
HOLD = 0.1  # s that news may wait for more: quick items are sent many at a time

_own_folder = ExitStack()
"""Of an item's process: its folder, if it does not share the driver's."""
Message = tuple[str, int, Any]
"""(kind, index of the item, payload): 'done' and the outcome as `ItemCall.compute` packs it; 'lost' or 'late' and the reason, if the
process died or was stopped after the time limit; 'back', for an item that a stopped process had not begun; 'step', for one step; 'bytes' and how
many more the item has received."""


class PackedCall:
    """The function of `run_all` and its `prepare` as bytes, with what their process needs of the driver: its main module, its working
    folder, where it finds modules, and the variables D2M_... of its environment."""

    def __init__(self, function: Callable, prepare: Callable | None):
        self.packed = pickle.dumps((function, prepare))
        self.shares_folder = not isinstance(function, CarriedCall)
        """Whether the process works in the driver's folder; else it has a folder of its own."""
        self.main = orphans.main_module_data()
        self.folder, self.path = os.getcwd(), list(sys.path)
        self.settings = {name: value for name, value in os.environ.items() if name.startswith("D2M_")}
        self.prepares = prepare is not None


class ItemCall:
    """A `PackedCall` over items as bytes. It is unpacked where this object is unpickled: in the process of the items."""

    def __init__(self, call: PackedCall):
        self._call = call
        self._function: Callable | None = None
        self._prepare: Callable | None = None
        self._error: Exception | None = None

    def __reduce__(self):
        return _load, (self._call,)

    def load(self) -> None:
        """Make this process like the driver's, and unpickle the functions. An error is raised by the first item."""
        call = self._call
        try:
            os.environ.update(call.settings)
            if not call.shares_folder:
                os.chdir(_own_folder.enter_context(scratch_folder()))
            elif not os.path.isdir(call.folder):
                raise MachineFault(
                    f"{call.folder}: no such folder on the machine {os.uname().nodename}, but all machines of the cluster must share it; "
                    "see docs/cluster.md"
                )
            else:
                os.chdir(call.folder)
            theirs = [path for path in call.path if os.path.isdir(path)]
            sys.path[:] = theirs + [path for path in sys.path if path not in theirs]
            orphans.import_main_module(call.main)
            self._function, self._prepare = pickle.loads(call.packed)
        except Exception as err:  # noqa: BLE001
            self._error = err

    def prepare(self, packed: bytes) -> tuple[Any, Any, Exception | None]:
        """(item, what `prepare` made of it, None), or (None, None, its exception)."""
        try:
            item = self._unpack(packed)
            assert self._prepare
            return item, self._prepare(item), None
        except Exception as err:  # noqa: BLE001 - raised when it is the item's turn
            return None, None, err

    def compute(self, packed: bytes, prepared: tuple[Any, Any, Exception | None] | None = None) -> bytes:
        """('done', outcome) or ('raised', exception), as bytes."""
        try:
            if prepared is None:
                return pickle.dumps(("done", self._apply(self._unpack(packed))))
            item, ready, error = prepared
            if error:
                raise error
            return pickle.dumps(("done", self._apply(item, ready)))
        except Exception as err:  # noqa: BLE001 - the driver handles it
            return pickle.dumps(("raised", make_picklable(err)))

    def _unpack(self, packed: bytes) -> Any:
        if self._error:
            raise self._error
        return pickle.loads(packed)

    def _apply(self, *args) -> Any:
        assert self._function
        return self._function(*args)


def _load(call: PackedCall) -> ItemCall:
    loaded = ItemCall(call)
    loaded.load()
    return loaded


class ItemActor:
    """Works on items, one after the other, in one process of its own. It is used by one caller, one call at a time.

    call: what is computed. timeout: seconds per item, or None.
    """

    def __init__(self, call: PackedCall, timeout: float | None):
        sys.modules["__main__"].__file__ = None  # Ray's own main module, which the process must not import
        self._call, self._timeout = call, timeout
        self._waiting: deque[tuple[int, bytes]] = deque()
        self._worker: WorkerProcess | None = None

    def machine(self) -> str:
        """Name of the machine on which it is, as the cluster has it."""
        import ray

        return ray.get_runtime_context().get_node_id()

    def exchange(self, items: list[tuple[int, bytes]]) -> list[Message]:
        """Take more items, and return what has happened since the last call; wait for it up to `PATIENCE` seconds."""
        self._waiting += items
        messages: list[Message] = []
        begun = time.monotonic()
        until = begun + PATIENCE
        while self._fill() and (now := time.monotonic()) < until:
            worker = self._worker
            assert worker
            wait = GAP if messages else until - now
            connection.wait([worker.pipe], max(0.0, min(wait, worker.deadline - now)))
            if worker.has_answer or time.monotonic() > worker.deadline:
                messages += self._receive(worker)
                until = min(until, time.monotonic() + HOLD) if len(messages) == 1 else until
            elif messages:
                break
        return messages

    def _fill(self) -> bool:
        """Give the process items, one more than it works on if it prepares them. Returns whether it has any."""
        while self._waiting and (self._worker is None or len(self._worker.assigned) < 1 + self._call.prepares):
            worker = self._worker
            if worker and not worker.assigned and not worker.process.is_alive():
                worker.stop()
                worker = None
            if worker is None:
                worker = self._worker = self._start()
            index, packed = self._waiting.popleft()
            worker.assigned.append(index)
            if len(worker.assigned) == 1:
                worker.timeout = self._timeout
                worker.start_clock()
            worker.send(packed)
        return self._worker is not None and bool(self._worker.assigned)

    def _start(self) -> WorkerProcess:
        call = ItemCall(self._call)
        return WorkerProcess(call.compute, call.prepare if self._call.prepares else None)

    def _receive(self, worker: WorkerProcess) -> list[Message]:
        late = not worker.has_answer
        kind, payload = worker.receive()
        if kind == "ready":
            return []
        if kind == "step":
            return [("step", worker.assigned[0], None)]
        if kind == "bytes":
            return [("bytes", worker.assigned[0], payload)]
        if kind == "done":
            return [("done", worker.finish_item(), payload)]
        worker.stop()  # lost
        self._worker = None
        first, *others = worker.assigned
        if late:
            return [("late", first, str(payload)), *(("back", index, None) for index in others)]
        return [("lost", index, str(payload)) for index in (first, *others)]  # either may be the cause
