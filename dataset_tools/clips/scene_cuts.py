"""Detect scene cuts inside a clip.

Two frames are compared by the correlation of their small, high-passed luma, which does not depend on exposure, tint and gain.
There is a cut where no frame of the last quarter of a second resembles any frame of the next quarter. After a strobe, a flash
or a light that changes colour, the same room comes back within that time, so they are not cuts. Fast motion is not a cut either,
because neighbouring frames resemble each other. Slow dissolves are not detected.
"""

from collections import deque

import cv2
import numpy as np

SMALL_SIDE = 32  # px of the small frame
BLUR = 4.0  # px of the small frame: coarser structure (bright or dark corners) is left out, because different scenes share it
COMPARED_FRAMES = 8  # frames compared on each side; a strobe of 4 Hz comes back within them
SAME_SCENE = 0.35  # from this correlation on, two frames may show the same scene
MIN_STRUCTURE = 1.0  # grey levels (of 255): frames with less structure, black or overexposed, are skipped


class CutFinder:
    """Finds the scene cuts of a clip or a whole video from its frames in order. Only the last few frames are in memory."""

    def __init__(self):
        self._count = 0
        self._recent: deque[np.ndarray] = deque(maxlen=2 * COMPARED_FRAMES - 1)
        """The last frames that are not flat. Flat frames are skipped, so that a fade can't hide a cut."""
        self._index: list[int] = []
        """Index of each frame that is not flat."""
        self._bridge: list[float] = []
        """For each frame of `_index`: the highest correlation of one of the `COMPARED_FRAMES` before it with one from it on."""

    def add(self, luma: np.ndarray) -> None:
        """Add the next frame, luma (H, W) uint8."""
        small = cv2.resize(luma, (SMALL_SIDE, SMALL_SIDE), interpolation=cv2.INTER_AREA).astype(np.float32)
        fine = small - cv2.GaussianBlur(small, (0, 0), BLUR)
        norm = np.linalg.norm(fine)
        if norm > MIN_STRUCTURE * SMALL_SIDE:
            self._index.append(self._count)
            self._compare((fine / norm).ravel())
        self._count += 1

    def _compare(self, frame: np.ndarray) -> None:
        last = len(self._bridge)
        self._bridge.append(-1.0)
        if self._recent:
            alike = np.stack(self._recent) @ frame
            first = last - len(alike)
            for i in range(max(first + 1, last - COMPARED_FRAMES + 1), last + 1):
                best = float(alike[max(0, i - COMPARED_FRAMES - first) : i - first].max())
                self._bridge[i] = max(self._bridge[i], best)
        self._recent.append(frame)

    def cuts(self) -> list[int]:
        """Indices of the frames that start a new scene."""
        return [at for at, bridge in zip(self._index[1:], self._bridge[1:], strict=True) if bridge < SAME_SCENE]
