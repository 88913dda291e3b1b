"""Scene cuts inside a clip: instants after which nothing of what was seen before comes back.

Two pictures are compared by the correlation of their small, high-passed luma, which forgets exposure, tint and gain. A cut
is an instant where no picture of the last quarter of a second resembles any of the next. A strobe, a flash or a light that
changes colour returns to the same room within that time and is none; nor is fast motion, whose neighbours resemble each
other. A slow dissolve is not found.
"""

from collections import deque

import cv2
import numpy as np

SIDE = 32  # px of the small picture
BLUR = 4.0  # px of it: coarser structure, light and dark corners, is common to unlike scenes and is left out
REACH = 8  # pictures on either side that are compared: a strobe of 4 Hz comes back within them
ALIKE = 0.35  # correlation from which two pictures may show the same scene
FLAT = 1.0  # grey levels (of 255): pictures with less structure, black or blown out, say nothing


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

    def see(self, luma: np.ndarray) -> None:
        """The next picture, (H, W) uint8."""
        small = cv2.resize(luma, (SIDE, SIDE), interpolation=cv2.INTER_AREA).astype(np.float32)
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
