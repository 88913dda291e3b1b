"""A video that stays open from one span to the next: what lies between neighbours is decoded on, not again from a key frame."""

import math
from collections import deque
from collections.abc import Iterator
from pathlib import Path

import av

from dataset_tools.lib.video.decoding import find_key_frame_time, timed_frames
from dataset_tools.lib.video.media import probe, read_timeline

Timed = tuple[float, av.VideoFrame]
"""Time stamp in seconds, frame."""
RECENT = 4  # frames: the two before a span that begins where the last one ended, and its first, and one to spare


class OpenVideo:
    """Frames of a video, fastest in spans one after the other. What a span has does not depend on those before it.

    For one thread, and one span at a time: the next call of `frames` ends the last. Raises UserError where the video cannot
    be read, and is of no use afterwards. `damaged` are the times of the frames so far that were decoded with errors.
    """

    def __init__(self, path: Path):
        self.path, self.info, self.timeline = Path(path), probe(path), read_timeline(path)
        self.damaged_times: set[float] = set()
        self._recent: deque[Timed] = deque(maxlen=RECENT)
        self._coming: Iterator[Timed] = iter(())

    def frames(self, start: float) -> Iterator[Timed]:
        """`timed_frames` from `start` seconds on, one thread's: where several clips are cut at once, more of them cost a
        quarter more processor time."""
        follows = len(self._recent) > 1 and self._recent[1][0] < start  # the two frames before `start` are still there
        key = find_key_frame_time(self.path, start) if follows else math.inf
        passed = [timed for timed in self._recent if timed[0] >= key]
        if not passed:  # a key frame is nearer, or what is wanted is gone
            self._coming = timed_frames(self.path, start, threads=1, damaged=self.damaged_times)
            self._recent.clear()
        yield from passed
        for timed in self._coming:
            self._recent.append(timed)
            yield timed
