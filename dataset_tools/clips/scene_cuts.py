"""Scene cuts inside a clip: instants after which nothing of what was seen before comes back.

Two pictures are compared by the correlation of their small, high-passed luma, which forgets exposure, tint and gain. A cut
is an instant where no picture of the last quarter of a second resembles any of the next. A strobe, a flash or a light that
changes colour returns to the same room within that time and is none; nor is fast motion, whose neighbours resemble each
other. A slow dissolve is not found.
"""

import cv2
import numpy as np

SIDE = 32  # px of the small picture
BLUR = 4.0  # px of it: coarser structure, light and dark corners, is common to unlike scenes and is left out
REACH = 8  # pictures on either side that are compared: a strobe of 4 Hz comes back within them
ALIKE = 0.35  # correlation from which two pictures may show the same scene
FLAT = 1.0  # grey levels (of 255): pictures with less structure, black or blown out, say nothing


class CutFinder:
    """Watches the pictures of a clip, one after the other."""

    def __init__(self):
        self._seen: list[np.ndarray] = []

    def see(self, luma: np.ndarray) -> None:
        """The next picture, (H, W) uint8."""
        small = cv2.resize(luma, (SIDE, SIDE), interpolation=cv2.INTER_AREA).astype(np.float32)
        fine = small - cv2.GaussianBlur(small, (0, 0), BLUR)
        norm = np.linalg.norm(fine)
        self._seen.append((fine / norm if norm > FLAT * SIDE else 0 * fine).ravel())

    def cuts(self) -> list[int]:
        """Indices of the pictures that begin a new scene."""
        seen = np.array(self._seen)
        known = seen.any(axis=1) if len(seen) else np.zeros(0, bool)
        seen, index = seen[known], np.flatnonzero(known)  # what is flat is passed over, so that a fade can't hide a cut
        count = len(seen)
        bridge = np.full(count, -1.0)  # the best likeness of a picture before i, at most REACH, with one from i on
        for lag in range(1, min(2 * REACH, count)):
            alike = np.einsum("tp,tp->t", seen[:-lag], seen[lag:])
            for before in range(max(1, lag - REACH + 1), min(lag, REACH) + 1):  # pair (i - before, i - before + lag)
                at = slice(before, count - lag + before)
                bridge[at] = np.maximum(bridge[at], alike)
        return [int(index[i]) for i in range(1, count) if bridge[i] < ALIKE]
