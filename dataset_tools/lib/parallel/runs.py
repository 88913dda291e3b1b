"""Which items a worker gets next: neighbouring ones, so that they can share what they need, or such that no web site is asked for too many
at once. No choice looks at all items."""

from collections import Counter, deque
from collections.abc import Hashable, Iterable

Run = list[int]  # [first, end): neighbouring items that wait


class Runs:
    """The items 0, 1, ... that wait. Each worker has a run of neighbouring items of its own; one without takes half of the longest."""

    def __init__(self, count: int):
        self.left = self.most_at_once = count
        """Number of items that wait; how many workers can have an item at once."""
        self._free: list[Run] = [[0, count]] if count else []
        self._own: dict[Hashable, Run] = {}

    def take(self, worker: Hashable, most: int) -> list[int]:
        """At most `most` items for `worker`, which then wait no more: the next ones of its run. Empty if none wait."""
        run = self._own.get(worker)
        if run is None or run[0] == run[1]:
            run = self._own[worker] = self._find_run()
        first = run[0]
        run[0] = min(first + most, run[1])
        self.left -= run[0] - first
        return list(range(first, run[0]))

    def give_back(self, indices: Iterable[int]) -> None:
        """Let items wait again that were taken."""
        for index in sorted(indices):
            if self._free and self._free[-1][1] == index:
                self._free[-1][1] += 1
            else:
                self._free.append([index, index + 1])
            self.left += 1

    def end(self, index: int) -> None:
        """An item that was taken is finished."""

    def release(self, worker: Hashable) -> None:
        """A worker is gone: its run is anyone's."""
        run = self._own.pop(worker, None)
        if run and run[0] < run[1]:
            self._free.append(run)

    def _find_run(self) -> Run:
        """A run that nobody has, or else the second half of the longest that another worker has."""
        if self._free:
            self._free.remove(run := max(self._free, key=_length))
            return run
        longest = max(self._own.values(), key=_length, default=[0, 0])
        middle = (longest[0] + longest[1]) // 2
        found = [middle, longest[1]]
        longest[1] = middle
        return found


def _length(run: Run) -> int:
    return run[1] - run[0]


class Sites:
    """The items 0, 1, ... that wait, as in `Runs`. Of one site, at most some are taken and not ended; of the site '', any number."""

    def __init__(self, site_of: list[str], most: int):
        """site_of: the site of each item. most: items of one site at once."""
        sizes = Counter(site_of)
        self.left = len(site_of)
        """Number of items that wait."""
        self.most_at_once = sum(min(size, most) if site else size for site, size in sizes.items())
        """How many workers can have an item at once."""
        self._site_of, self._most = site_of, most
        self._waiting: dict[str, deque[int]] = {site: deque() for site in sizes}
        for index, site in enumerate(site_of):
            self._waiting[site].append(index)
        self._taken: Counter[str] = Counter()
        self._open = dict.fromkeys(sizes)
        """The sites from which an item can be taken, in the order of their turns."""

    def take(self, worker: Hashable, most: int) -> list[int]:
        """One item; none if `most` is 0 or no site has one that may be begun."""
        site = next(iter(self._open), None)
        if site is None or most < 1:
            return []
        index = self._waiting[site].popleft()
        self.left -= 1
        self._taken[site] += 1
        del self._open[site]
        self._open_if_possible(site)
        return [index]

    def give_back(self, indices: Iterable[int]) -> None:
        """Let items wait again that were taken."""
        for index in sorted(indices, reverse=True):
            self._waiting[self._site_of[index]].appendleft(index)
            self.left += 1
            self.end(index)

    def end(self, index: int) -> None:
        """An item that was taken is finished."""
        site = self._site_of[index]
        self._taken[site] -= 1
        self._open_if_possible(site)

    def release(self, worker: Hashable) -> None:
        """A worker is gone."""

    def _open_if_possible(self, site: str) -> None:
        if self._waiting[site] and (not site or self._taken[site] < self._most):
            self._open[site] = None
