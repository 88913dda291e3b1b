"""Cache of decoded frames that are inspected first and used afterwards. If they fit into memory, they are decoded only once."""

from collections import deque
from collections.abc import Generator, Iterator

from dataset_tools.clips.open_video import OpenVideo, TimedFrame


class FrameCache:
    """Frames of a video from `start` seconds on, after the two frames before `start`. The times of these two say how long the second
    of them is shown.

    Frames that `peek` yields are cached until `take` yields them. If they need more than `memory` bytes, nothing is cached and
    `take` decodes them again. expected: number of frames that will be peeked at, so that frames which cannot fit are not cached
    at all: the process would keep the memory that they took.
    """

    def __init__(self, video: OpenVideo, start: float, memory: int, expected: int = 1):
        self._video, self._start, self._memory, self._expected = video, start, memory, expected
        self._free = memory
        self._cache: list[TimedFrame] | None = []
        self._rest = self._decode()

    @property
    def fits(self) -> bool:
        """Whether the frames that `peek` yielded fit into memory."""
        return self._cache is not None

    def peek(self) -> Iterator[TimedFrame]:
        """Yield the frames from the first on. May be called several times before `take`."""
        if self._cache is None:
            yield from self._decode()
            return
        yield from self._cache
        for timed in self._rest:
            size = sum(plane.buffer_size for plane in timed[1].planes)
            self._free -= size
            if self._free < 0 or size * self._expected > self._memory:
                self._cache = None
            if self._cache is not None:
                self._cache.append(timed)
            yield timed

    def take(self) -> Iterator[TimedFrame]:
        """Yield the frames from the first on, for the last time. Each is dropped from the cache when it is yielded."""
        if self._cache is None:
            self._rest.close()  # a decoder keeps the memory of all frames that were alive at once, until it is closed
            yield from self._decode()
            return
        frames, self._cache = deque(self._cache), None
        while frames:
            yield frames.popleft()
        yield from self._rest

    def _decode(self) -> Generator[TimedFrame, None, None]:
        run_up: deque[TimedFrame] = deque(maxlen=3)  # decoding starts at a key frame, which may be seconds too early
        for timed in self._video.frames(self._start):
            run_up.append(timed)
            if timed[0] >= self._start:
                yield from run_up
                run_up.clear()
        yield from run_up
