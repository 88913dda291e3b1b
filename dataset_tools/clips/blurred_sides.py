"""Detect a video that is shown between blurred, enlarged copies of itself, as portrait videos often are in landscape frames.
Transposed, the same code detects landscape videos in portrait frames.

The motion in the sides must be the motion in the middle, enlarged until it fills the frame. No other video looks like this.
"""

import cv2
import numpy as np

SMALL_WIDTH = 160  # px, width at which candidates are compared
BLUR = 4.0  # px of the small frame: blurs sides and middle to the same degree
MIN_CORRELATION = 0.75  # of the motion in the sides with that of the enlarged middle
MAX_DETAIL = 0.5  # fine structure of the sides relative to that of the middle
MIN_MOTION = 1.0  # grey levels of motion in the sides; `panels` handles still sides
MIN_WIDTH, MAX_WIDTH = 0.2, 0.94  # widths of the middle that are tried, relative to the frame
SEARCH_WIDTH = 0.02  # relative to the frame: the exact border is searched this close to the best candidate
MIN_EDGE_RATIO = 1.6  # edge at the border over the strongest edge near it; elsewhere the image just continues


def find_blurred_sides(frames: np.ndarray) -> tuple[int, int] | None:
    """(first column, column after the last) of the middle of luma frames (N, H, W) uint8, N at least 2; None if the sides are not blurred
    copies of it."""
    width = frames.shape[2]
    height = max(8, round(frames.shape[1] * SMALL_WIDTH / width))
    small = np.stack([cv2.resize(f, (SMALL_WIDTH, height), interpolation=cv2.INTER_AREA) for f in frames]).astype(
        np.float32
    )
    fine = np.abs(small - np.stack([cv2.GaussianBlur(f, (0, 0), 2) for f in small])).mean(axis=(0, 1))
    moving = small - small.mean(axis=0)
    smooth = np.stack([cv2.blur(f, (1, 5)) for f in moving])
    best, found = MIN_CORRELATION, 0
    for x in range(round((1 - MAX_WIDTH) / 2 * SMALL_WIDTH), round((1 - MIN_WIDTH) / 2 * SMALL_WIDTH)):
        sides = np.r_[0 : x - 1, SMALL_WIDTH - x + 1 : SMALL_WIDTH]
        if fine[sides].mean() > MAX_DETAIL * fine[x : SMALL_WIDTH - x].mean():
            break  # further in, the sides would only include more of the middle
        likeness = _correlate_motion(moving, smooth, x, sides)
        if likeness > best:
            best, found = likeness, x
    if not found:
        return None
    near = max(2, round(SEARCH_WIDTH * width))
    at, mean = round(found * width / SMALL_WIDTH), frames.mean(axis=0, dtype=np.float32)
    edge = np.abs(np.diff(frames.astype(np.float32), axis=2)).mean(axis=(0, 1)) + np.abs(np.diff(mean, axis=1)).mean(
        axis=0
    )
    pairs = range(max(at - near, 1), at + near + 1)  # a border between columns x - 1 and x has its edge at x - 1
    left = max(pairs, key=lambda x: edge[x - 1])  # each side by itself: the middle may be off-centre by a pixel or two
    right = max((width - x for x in pairs), key=lambda x: edge[x - 1])
    clear = min(_edge_ratio(edge, left - 1, near), _edge_ratio(edge, right - 1, near)) >= MIN_EDGE_RATIO
    return (left, right) if clear else None


def _edge_ratio(edge: np.ndarray, at: int, near: int) -> float:
    """Edge at a line over the strongest edge near it. The lines next to it are skipped, because the codec spreads the edge into them."""
    about = np.r_[edge[max(0, at - 2 - 2 * near) : max(0, at - 2)], edge[at + 3 : at + 3 + 2 * near]]
    return float(edge[at] / max(about.max(), 1e-6))


def _correlate_motion(moving: np.ndarray, smooth: np.ndarray, x: int, sides: np.ndarray) -> float:
    """Correlation of the motion in the columns `sides` with the motion between columns x and W - x, enlarged to W. `moving` is the
    motion (N, H, W), `smooth` the same, blurred vertically."""
    _, height, width = moving.shape
    seen = _remove_mean(smooth[:, :, sides])
    if seen.std() < MIN_MOTION:
        return 0.0
    tall = max(height, round(height * width / (width - 2 * x)))
    down = _enlarging_matrix(height, tall, slice((tall - height) // 2, (tall - height) // 2 + height))
    across = _enlarging_matrix(width - 2 * x, width, slice(width))[sides]
    expected = _remove_mean(down @ (moving[:, :, x : width - x] @ across.T))
    norm = np.linalg.norm(seen) * np.linalg.norm(expected)
    return float(np.vdot(seen, expected) / norm) if norm else 0.0


def _enlarging_matrix(size: int, to: int, part: slice) -> np.ndarray:
    """Matrix (part, size) that enlarges a line of `size` pixels to `to` pixels, takes a part of it and blurs it."""
    lines = cv2.resize(np.eye(size, dtype=np.float32), (size, to), interpolation=cv2.INTER_LINEAR)[part]
    return cv2.GaussianBlur(lines, (1, 2 * round(4 * BLUR) + 1), BLUR)


def _remove_mean(motion: np.ndarray) -> np.ndarray:
    """Motion without changes of the whole frame's brightness (a lamp, the exposure), which would correlate everywhere."""
    return motion - motion.mean(axis=(1, 2), keepdims=True)
