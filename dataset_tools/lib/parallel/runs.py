"""Which items a worker gets next, so that neighbouring items meet in one worker and no choice looks at all items."""

from collections.abc import Hashable, Iterable

Run = list[int]  # [first, end): neighbouring items that wait


class Runs:
    """The items 0, 1, ... that wait. Each worker has a run of neighbouring items of its own; one without takes half of the longest."""

    def __init__(self, count: int):
        self.left = count
        """Number of items that wait."""
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
