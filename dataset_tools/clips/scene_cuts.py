"""Detect scene cuts inside a clip.

Two frames are compared by the correlation of their small, high-passed luma, which does not depend on exposure, tint and gain.
There is a cut where no frame of the last quarter of a second resembles any frame of the next quarter. After a strobe, a flash
or a light that changes colour, the same room comes back within that time, so they are no cuts; nor is fast motion, because
neighbouring frames resemble each other. Slow dissolves are not detected.
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
    """Watches the pictures of a clip or a whole film, one after the other, and keeps the last few."""

    def __init__(self):
        self._count = 0
        self._recent: deque[np.ndarray] = deque(maxlen=2 * REACH - 1)
        """Of the pictures that are not flat: what is flat is passed over, so that a fade can't hide a cut."""
        self._index: list[int] = []
        """Which pictures those are, of all that came."""
        self._bridge: list[float] = []
        """Of each, the best likeness of one of the `REACH` before it with one of the `REACH` from it on."""

    def add(self, luma: np.ndarray) -> None:
        """Add the next frame, luma (H, W) uint8."""
        small = cv2.resize(luma, (SMALL_SIDE, SMALL_SIDE), interpolation=cv2.INTER_AREA).astype(np.float32)
        fine = small - cv2.GaussianBlur(small, (0, 0), BLUR)
        norm = np.linalg.norm(fine)
        if norm > FLAT * SIDE:
            self._index.append(self._count)
            self._compare((fine / norm).ravel())
        self._count += 1

    def _compare(self, picture: np.ndarray) -> None:
        last = len(self._bridge)
        self._bridge.append(-1.0)
        if self._recent:
            alike = np.stack(self._recent) @ picture
            first = last - len(alike)
            for i in range(max(first + 1, last - REACH + 1), last + 1):
                best = float(alike[max(0, i - REACH - first) : i - first].max())
                self._bridge[i] = max(self._bridge[i], best)
        self._recent.append(picture)

    def cuts(self) -> list[int]:
        """Indices of the pictures that begin a new scene."""
        return [at for at, bridge in zip(self._index[1:], self._bridge[1:], strict=True) if bridge < ALIKE]
