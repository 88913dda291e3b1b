"""Draw the skeletons of tracked dancers over the frames of a clip."""

from collections.abc import Iterable, Iterator

import cv2
import numpy as np

COLOURS = ((255, 210, 0), (0, 200, 255), (255, 80, 160), (120, 255, 90), (190, 140, 255))
"""RGB colours of the slots; the primary dancer is yellow."""
MIN_HEIGHT = 480  # px; smaller frames are enlarged by a whole factor, so that thin lines can be distinguished

HEAD = ((0, 1), (0, 2), (1, 3), (2, 4))
BODY = ((5, 6), (5, 7), (7, 9), (6, 8), (8, 10), (5, 11), (6, 12), (11, 12), (11, 13), (13, 15), (12, 14), (14, 16))
BODY25_BONES = (
    (0, 1), (1, 2), (2, 3), (3, 4), (1, 5), (5, 6), (6, 7), (1, 8), (8, 9), (9, 10), (10, 11), (8, 12), (12, 13),
    (13, 14), (0, 15), (15, 17), (0, 16), (16, 18), (14, 19), (19, 20), (14, 21), (11, 22), (22, 23), (11, 24),
)  # fmt: skip
BONES = {17: HEAD + BODY, 25: BODY25_BONES}
"""Number of joints J -> pairs of joints that are connected by a line."""


def draw_dancers(frame: np.ndarray, people: np.ndarray) -> np.ndarray:
    """A copy of `frame`, uint8 (H, W, 3) RGB, with the dancers `people` (P, J, 3): x px, y px, confidence.

    The opacity of lines and joints is their confidence. Slot 0, the primary dancer, is drawn last, with thicker lines and a box
    around it. The slot number is above each head. Frames less than 480 px high are enlarged.
    """
    factor = -(-MIN_HEIGHT // frame.shape[0])
    out = cv2.resize(frame, None, fx=factor, fy=factor, interpolation=cv2.INTER_CUBIC) if factor > 1 else frame.copy()
    for slot in reversed(range(len(people))):
        dancer = people[slot]
        seen = dancer[:, 2] > 0
        if not seen.any():
            continue
        at = np.rint((dancer[:, :2] + 0.5) * factor - 0.5).astype(int)
        colour, thick = COLOURS[slot % len(COLOURS)], 4 if slot == 0 else 2
        for a, b in BONES[len(dancer)]:
            if seen[a] and seen[b]:
                _draw_line(out, at[a], at[b], colour, thick, min(dancer[a, 2], dancer[b, 2]))
        for joint in np.flatnonzero(seen):
            _draw_line(out, at[joint], at[joint], colour, 2 * thick, dancer[joint, 2])
        (left, top), (right, bottom) = at[seen].min(axis=0) - 8, at[seen].max(axis=0) + 8
        if slot == 0:
            cv2.rectangle(out, (int(left), int(top)), (int(right), int(bottom)), colour, 1, cv2.LINE_AA)
        label = "0 primary" if slot == 0 else str(slot)
        where = max(2, int(left)), max(14, int(top) - 4)
        cv2.putText(out, label, where, cv2.FONT_HERSHEY_SIMPLEX, 0.5, colour, 1, cv2.LINE_AA)
    return out


def _draw_line(image: np.ndarray, a: np.ndarray, b: np.ndarray, colour: tuple, thick: int, opacity: float) -> None:
    """Draw a line `thick` px wide from a to b (x, y), or a dot if they are equal, with `opacity` 0..1."""
    height, width = image.shape[:2]
    low, high = np.maximum(np.minimum(a, b) - thick, 0), np.maximum(a, b) + thick + 1
    part = image[low[1] : min(high[1], height), low[0] : min(high[0], width)]
    if part.size:
        drawn = part.copy()
        cv2.line(drawn, tuple(map(int, a - low)), tuple(map(int, b - low)), colour, thick, cv2.LINE_AA)
        part[:] = cv2.addWeighted(drawn, float(opacity), part, 1 - float(opacity), 0)


def overlay_frames(frames: Iterable[np.ndarray], pose: np.ndarray) -> Iterator[np.ndarray]:
    """Yield each frame of a clip with its dancers; `pose` (T, P, J, 3). Odd sides lose a pixel, because video encoders need even ones."""
    for frame, people in zip(frames, pose, strict=True):
        drawn = draw_dancers(frame, people)
        yield drawn[: drawn.shape[0] // 2 * 2, : drawn.shape[1] // 2 * 2]
