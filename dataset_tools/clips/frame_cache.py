"""Frames of a video that are looked at first and taken afterwards, decoded once where they fit into memory."""

from collections import deque
from collections.abc import Iterator

from dataset_tools.clips.open_video import OpenVideo, Timed


class FrameCache:
    """The frames of a video from `start` seconds on, and the two before, which say how long the last of them was shown.

    What was looked at is held, as decoded, until it is taken. Where that needs more than `memory` bytes nothing is held, and
    taking decodes anew.
    """

    def __init__(self, video: OpenVideo, start: float, memory: int):
        self._video, self._start, self._left = video, start, memory
        self._held: list[Timed] | None = []
        self._coming = self._decoded()

    @property
    def held(self) -> bool:
        """Whether what was looked at did fit."""
        return self._held is not None

    def look(self) -> Iterator[Timed]:
        """The frames from the first on, as often as one likes before they are taken."""
        if self._held is None:
            yield from self._decoded()
            return
        yield from self._held
        for timed in self._coming:
            self._left -= sum(plane.buffer_size for plane in timed[1].planes)
            if self._left < 0:
                self._held = None
            if self._held is not None:
                self._held.append(timed)
            yield timed

    def take(self) -> Iterator[Timed]:
        """The frames from the first on, for the last time: each is given up as it comes."""
        if self._held is None:
            yield from self._decoded()
            return
        held, self._held = deque(self._held), None
        while held:
            yield held.popleft()
        yield from self._coming

    def _decoded(self) -> Iterator[Timed]:
        run_up: deque[Timed] = deque(maxlen=3)  # decoding begins at a key frame, seconds too early
        for timed in self._video.frames(self._start):
            run_up.append(timed)
            if timed[0] >= self._start:
                yield from run_up
                run_up.clear()
        yield from run_up
