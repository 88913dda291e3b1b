"""A video that stays open from one span to the next, so that decoding can continue instead of starting again at a key frame."""

import math
from collections import deque
from collections.abc import Iterator
from pathlib import Path

import av

from dataset_tools.lib.video.decoding import find_key_frame_time, timed_frames
from dataset_tools.lib.video.media import probe, read_timeline

TimedFrame = tuple[float, av.VideoFrame]
"""(timestamp in seconds, frame)"""
RECENT_FRAMES = 4  # the two frames before a span that starts where the last one ended, its first frame, and one more


class OpenVideo:
    """Reads frames of a video, fastest if spans are read in order. The frames of a span do not depend on the spans before it.

    Use it in one thread and for one span at a time: a call of `frames` ends the span before. `damaged_times` has the times of the
    damaged frames so far. Raises UserError if the video cannot be read; the object cannot be used after that.
    """

    def __init__(self, path: Path, threads: int = 1):
        """threads: of the decoder. If several clips are cut at once, more than one cost a quarter more processor time."""
        self.threads = threads
        self.path, self.info, self.timeline = Path(path), probe(path), read_timeline(path)
        self.damaged_times: set[float] = set()
        self._recent: deque[TimedFrame] = deque(maxlen=RECENT_FRAMES)
        self._rest: Iterator[TimedFrame] = iter(())

    def frames(self, start: float) -> Iterator[TimedFrame]:
        """`timed_frames` from `start` seconds on."""
        follows = (
            len(self._recent) > 1 and self._recent[1][0] < start
        )  # the two frames before `start` are still available
        key = find_key_frame_time(self.path, start) if follows else math.inf
        reused = [timed for timed in self._recent if timed[0] >= key]
        if not reused:  # a key frame is closer, or the needed frames are gone
            self._rest = timed_frames(self.path, start, threads=self.threads, damaged=self.damaged_times)
            self._recent.clear()
        yield from reused
        for timed in self._rest:
            self._recent.append(timed)
            yield timed
