"""`run_all` on a Ray cluster: one actor per CPU or share of a GPU, each with one process in which the items run (`ray_actor.py`).

What passes is the function, items and outcomes, all of them small; files are on storage that all machines share. The driver sends
an actor only as many items as it finishes in half a second, so that little is done twice if the actor is lost.

Why actors and not Ray Data: an item is a job with files, not a row of a table, and its time limit, its crash and its steps are its
own. Ray's tasks would start a process's imports and models again, or share a process that a crash takes down.
"""

import pickle
import time
from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any, TypeVar

from dataset_tools.lib.core.cluster import chosen_cluster
from dataset_tools.lib.core.errors import UserError, one_line
from dataset_tools.lib.core.progress import ProgressBar, progress
from dataset_tools.lib.parallel import orphans
from dataset_tools.lib.parallel.carrier import CarriedCall, Carrier
from dataset_tools.lib.parallel.ray_actor import ItemActor, Message, PackedCall
from dataset_tools.lib.parallel.ray_connection import connect
from dataset_tools.lib.parallel.runs import Runs, Sites
from dataset_tools.lib.parallel.threads import describe_bytes
from dataset_tools.lib.parallel.worker_process import MachineFault, ProcessLost
from dataset_tools.lib.parallel.workers import outcome_of_failure

I = TypeVar("I")  # noqa: E741 - item
O = TypeVar("O")  # noqa: E741 - outcome

TRIES = 3  # of an item, until it counts as failed
FEW = 100  # items among which one is chosen to be tried again
AHEAD = 0.5  # s of work that an actor has
MOST_AHEAD = 500  # items
LONG = 30.0  # s after which the bar names the item that has run longest
SAY = 5.0  # s between two changes of that text
LOOK = 5.0  # s between two looks at the size of the cluster
FRUITLESS = 5  # actors that end before they work, one after the other, until the run ends


class _Actor:
    """What the driver knows about an actor."""

    def __init__(self, handle, least: int):
        self.handle = handle
        self.answer = handle.machine.remote()
        """The call that it works on, or None."""
        self.machine = ""
        """Name of its machine; '' until it has answered."""
        self.size = least
        """How many items it may have."""
        self.items: dict[int, None] = {}
        """Those it has, in their order; the first is being processed."""
        self.alone = False
        """Whether it has an item that must have no other beside it."""
        self.since = time.monotonic()
        """When the first of its items was begun, as far as the driver knows."""

    @property
    def ready(self) -> bool:
        return bool(self.machine)


class _Run:
    """One call of `run_all_on_ray`."""

    def __init__(
        self, call: PackedCall, items: list, timeout: float | None, gpus: float, site_limit: tuple[Callable, int] | None,
        carrier: Carrier | None,
    ):  # fmt: skip
        import ray

        self.ray, self.items, self.gpus, self.carrier = ray, items, gpus, carrier
        self.arguments = (ray.put(call), timeout)
        shares: dict[str, Any] = {"num_cpus": 1, "scheduling_strategy": "SPREAD"} | ({"num_gpus": gpus} if gpus else {})
        self.remote = ray.remote(**shares)(ItemActor)
        self.least = 1 + call.prepares
        self.runs: Runs | Sites = Runs(len(items))
        if site_limit:
            self.runs = Sites([site_limit[0](item) for item in items], site_limit[1])
        self.most_ahead = self.least if site_limit else MOST_AHEAD
        self.left, self.received = len(items), 0
        """Items that have no outcome yet; bytes that items have received."""
        self.actors: list[_Actor] = []
        self.again: dict[int, None] = {}
        """Items that wait to be tried again."""
        self.tried: dict[int, list[_Actor]] = {}
        """Item -> the actors that failed with it: they or their process was lost, or it raised what another machine may not raise."""
        self.begun = time.monotonic()
        self.looked = self.said = float("-inf")
        """When the cluster's size was looked at, and when the bar's text was changed."""
        self.fruitless = 0
        """How many actors have ended before they worked, one after the other."""

    def start_actors(self) -> None:
        """One for each share of the cluster that has none, but not more than items are left; at least one."""
        if time.monotonic() < self.looked + LOOK:
            return
        self.looked = time.monotonic()
        found = self.ray.cluster_resources()
        room = min(found.get("CPU", 0), found.get("GPU", 0) / self.gpus if self.gpus else float("inf"))
        for _ in range(min(max(1, int(room + 1e-9)), self.left, self.runs.most_at_once) - len(self.actors)):
            self.actors.append(_Actor(self.remote.remote(*self.arguments), self.least))

    def feed(self, actor: _Actor) -> None:
        """Send an actor items, and ask it for news if it has any."""
        chosen = self._choose(actor)
        if chosen and not actor.items:
            actor.since = time.monotonic()
        actor.items.update(dict.fromkeys(chosen))
        if actor.items:
            items = [self.items[index] for index in chosen]
            sent = self.carrier.dispatch(items) if self.carrier else items
            actor.answer = actor.handle.exchange.remote(list(zip(chosen, map(pickle.dumps, sent), strict=True)))

    def _choose(self, actor: _Actor) -> list[int]:
        if actor.alone:
            return []
        if not actor.items:
            for index in islice(self.again, FEW):
                if may_try_again(actor, self.tried[index], self.actors):
                    del self.again[index]
                    actor.alone = True
                    return [index]
        fair = max(self.least, self.runs.left // (2 * len(self.actors)))  # so that at the end all have some
        room = min(actor.size, fair) - len(actor.items)
        return self.runs.take(actor, room) if room > 0 else []

    def news(self) -> Iterator[tuple[_Actor, list[Message] | None]]:
        """The actors that have answered, with their messages; None for an actor that was lost. Waits up to a second."""
        ray = self.ray
        calls = {actor.answer: actor for actor in self.actors if actor.answer is not None}
        if not calls:
            time.sleep(0.1)
        found = ray.wait(list(calls), num_returns=1, timeout=1.0)[0] if calls else []
        for answer in found and ray.wait(list(calls), num_returns=len(calls), timeout=0)[0]:
            actor = calls[answer]
            actor.answer = None
            try:
                told = ray.get(answer)
            except ray.exceptions.RayTaskError:
                raise
            except ray.exceptions.RayError as err:
                if not actor.ready:
                    self.fruitless += 1
                if self.fruitless >= FRUITLESS:
                    raise UserError(
                        f"cluster: {FRUITLESS} actors ended before they worked; the last: {one_line(str(err))[:500]}"
                    ) from None
                yield actor, None
                continue
            self.fruitless = 0
            if not actor.ready:
                actor.machine, told = told, []
            yield actor, told

    def note(self, actor: _Actor, messages: list[Message]) -> None:
        """Remember how quick an actor is."""
        finished = sum(kind == "done" for kind, _, _ in messages)
        now = time.monotonic()
        if finished:
            pace = finished / max(now - actor.since, 1e-6)
            actor.size = max(self.least, min(int(pace * AHEAD), 2 * actor.size, self.most_ahead))
            actor.since = now

    def end_item(self, actor: _Actor, index: int) -> None:
        """An actor is done with an item, in whatever way."""
        del actor.items[index]
        actor.alone = actor.alone and bool(actor.items)

    def try_again(self, actor: _Actor, index: int) -> bool:
        """Note that an actor failed with an item. Returns whether it is tried again; not if that was the last time."""
        tried = self.tried.setdefault(index, [])
        tried.append(actor)
        if len(tried) < TRIES:
            self.again[index] = None
            return True
        return False

    def lose_actor(self, actor: _Actor) -> list[int]:
        """Note that an actor is lost. Returns the items that it may have been working on; its others wait again."""
        self.actors.remove(actor)
        self.ray.kill(actor.handle)
        self.looked = float("-inf")
        held = list(actor.items)
        self.runs.release(actor)
        self.runs.give_back(held[self.least :])
        return held[: self.least]

    def stop(self) -> None:
        """End all actors, and with each its process."""
        for actor in self.actors:
            self.ray.kill(actor.handle)


def may_differ(error: Exception) -> bool:
    """Whether what an item raised may be another on another machine: not what its own file is blamed for."""
    return isinstance(error, MachineFault) or not isinstance(error, UserError)


def may_try_again(actor: _Actor, tried: list[_Actor], actors: list[_Actor]) -> bool:
    """Whether `actor` may be given an item with which the actors `tried` failed: if it is on another machine than these, or if none of
    `actors` is, as another actor than these, or if there is none, in any case."""
    machines = {other.machine for other in tried}
    if actor.machine not in machines:
        return True
    ready = [other for other in actors if other.ready]
    if any(other.machine not in machines for other in ready):
        return False
    return actor not in tried or all(other in tried for other in ready)


def run_all_on_ray(
    function: Callable[..., O], items: list[I], label: str, *,
    prepare: Callable[[I], Any] | None = None, failed: Callable[[I, str], O] | None = None, timeout: float | None = None,
    steps: int | None = None, unit: str = "clip", gpus: float = 0.0, site_limit: tuple[Callable[[I], str], int] | None = None,
    carrier: Carrier | None = None,
) -> list[O]:  # fmt: skip
    """`run_all` of `workers.py` on the cluster that was chosen, with the same arguments and outcomes.

    site_limit: (the site of an item, '' for none; how many items of one site may be worked on at once). carrier: carries the items' files,
    if the machines share no folder.

    Beyond that: an item that fails is tried again, alone and on another machine if there is one; the third failure is its outcome. The first
    one is, if it raises UserError, as for a damaged file. Raises UserError if there is no such cluster.
    """
    orphans.refuse_while_importing()
    call = PackedCall(function, prepare)
    if carrier:
        carried = CarriedCall(function, prepare)
        call = PackedCall(carried, carried.prepare)
    outcomes: list = [None] * len(items)
    with connect(chosen_cluster()), progress((), label, total=steps or len(items), unit=unit) as bar:
        run = _Run(call, items, timeout, gpus, site_limit, carrier)

        def finish(index: int, outcome: Any) -> None:
            outcomes[index] = outcome
            run.left -= 1
            run.runs.end(index)
            bar.update(steps is None)

        def fail(index: int, error: Exception) -> None:
            finish(index, outcome_of_failure(error, failed, items[index]))

        try:
            while run.left:
                run.start_actors()
                for actor in run.actors:
                    if actor.ready and actor.answer is None:
                        run.feed(actor)
                for actor, messages in run.news():
                    if messages is None:
                        for index in run.lose_actor(actor):
                            if not run.try_again(actor, index):
                                fail(index, ProcessLost("the machine or actor that worked on it was lost"))
                        continue
                    run.note(actor, messages)
                    for kind, index, payload in messages:
                        if kind == "step":
                            bar.update(1)
                            continue
                        if kind == "bytes":
                            run.received += payload
                            continue
                        run.end_item(actor, index)
                        if kind == "done":
                            kind, outcome = pickle.loads(payload)
                            if kind == "raised":
                                if not (may_differ(outcome) and run.try_again(actor, index)):
                                    fail(index, outcome)
                                continue
                            if carrier:
                                outcome, written = outcome
                                carrier.collect(items[index], written)
                            finish(index, outcome)
                        elif kind == "back":
                            run.runs.give_back([index])
                        elif not run.try_again(actor, index):
                            fail(index, ProcessLost(payload))
                _show_longest(bar, run)
            if carrier:
                carrier.finish()
        finally:
            run.stop()
            if carrier:
                carrier.stop()
    return outcomes


def _show_longest(bar: ProgressBar, run: _Run) -> None:
    """Name in the bar the item that has run longest, if that is long; or say that the cluster has no room."""
    if not any(actor.ready for actor in run.actors):
        text = "waiting for a free share of the cluster" if time.monotonic() > run.begun + LONG else ""
    else:
        begun = [(actor.since, next(iter(actor.items))) for actor in run.actors if actor.items]
        since, index = min(begun, default=(float("inf"), 0))
        seconds = time.monotonic() - since
        received = [describe_bytes(run.received)] if run.received else []
        slow = [f"{name_item(run.items[index], index)} has run for {seconds:.0f} s"] if seconds > LONG else []
        text = ", ".join(received + slow)
    if (text or bar.postfix) and time.monotonic() > run.said + SAY:
        run.said = time.monotonic()
        bar.set_postfix_str(text)


def name_item(item: object, index: int) -> str:
    """The id of an item or of the row in it, for people; its number if it has none."""
    for part in (item, getattr(item, "clip", None), *(item if isinstance(item, tuple) else ())):
        for name in ("id", "clip_id", "video_id"):
            if isinstance(found := getattr(part, name, None), str):
                return found
    return f"item {index + 1}"
