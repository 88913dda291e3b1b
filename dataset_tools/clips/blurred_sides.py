"""Find a picture that stands between blurred, enlarged copies of itself: how phone videos are often put into wide frames,
and wide ones, turned by a quarter, into phones'.

What moves in the sides must be what moves in the middle, enlarged until it fills the frame: no other picture has that.
"""

import cv2
import numpy as np

SMALL = 160  # px: width at which candidates are compared
BLUR = 4.0  # px of it: blurs both alike, however much the sides were blurred before
ALIKE = 0.75  # correlation of the sides' motion with that of the enlarged middle
DETAIL = 0.5  # fine structure of the sides over that of the middle, at most
STILL = 1.0  # grey levels of motion in the sides, at least: still sides are for `panels`
NARROW, WIDE = 0.2, 0.94  # widths of the middle that are tried, in frames
NEAR = 0.02  # of the frame: around the best candidate the border's edge is looked for
CLEAR = 1.6  # edge at the border over the strongest of the lines about it: elsewhere the picture merely goes on


def blurred_sides(frames: np.ndarray) -> tuple[int, int] | None:
    """First and one-past-last column of the middle of (N, H, W) uint8 luma, N at least 2; None where the sides are no
    blurred copies of it."""
    width = frames.shape[2]
    height = max(8, round(frames.shape[1] * SMALL / width))
    small = np.stack([cv2.resize(f, (SMALL, height), interpolation=cv2.INTER_AREA) for f in frames]).astype(np.float32)
    fine = np.abs(small - np.stack([cv2.GaussianBlur(f, (0, 0), 2) for f in small])).mean(axis=(0, 1))
    moving = small - small.mean(axis=0)
    smooth = np.stack([cv2.blur(f, (1, 5)) for f in moving])
    best, found = ALIKE, 0
    for x in range(round((1 - WIDE) / 2 * SMALL), round((1 - NARROW) / 2 * SMALL)):
        sides = np.r_[0 : x - 1, SMALL - x + 1 : SMALL]
        if fine[sides].mean() > DETAIL * fine[x : SMALL - x].mean():
            break  # further in, only more of the middle would count as sides
        likeness = _likeness(moving, smooth, x, sides)
        if likeness > best:
            best, found = likeness, x
    if not found:
        return None
    near = max(2, round(NEAR * width))
    at, mean = round(found * width / SMALL), frames.mean(axis=0, dtype=np.float32)
    edge = np.abs(np.diff(frames.astype(np.float32), axis=2)).mean(axis=(0, 1)) + np.abs(np.diff(mean, axis=1)).mean(
        axis=0
    )
    pairs = range(max(at - near, 1), at + near + 1)  # a border between columns x - 1 and x has its edge at x - 1
    left = max(pairs, key=lambda x: edge[x - 1])  # each by itself: the middle may be a pixel or two off
    right = max((width - x for x in pairs), key=lambda x: edge[x - 1])
    clear = min(_clearness(edge, left - 1, near), _clearness(edge, right - 1, near)) >= CLEAR
    return (left, right) if clear else None


def _clearness(edge: np.ndarray, at: int, near: int) -> float:
    """Edge at a line over the strongest of those about it; its own neighbours, into which the codec spreads it, aside."""
    about = np.r_[edge[max(0, at - 2 - 2 * near) : max(0, at - 2)], edge[at + 3 : at + 3 + 2 * near]]
    return float(edge[at] / max(about.max(), 1e-6))


def _likeness(moving: np.ndarray, smooth: np.ndarray, x: int, sides: np.ndarray) -> float:
    """Correlation of the motion (N, H, W), blurred alike as `smooth`, in the columns `sides` with that between x and W - x,
    enlarged to W and blurred."""
    _, height, width = moving.shape
    seen = _without_mean(smooth[:, :, sides])
    if seen.std() < STILL:
        return 0.0
    tall = max(height, round(height * width / (width - 2 * x)))
    down = _enlarged(height, tall, slice((tall - height) // 2, (tall - height) // 2 + height))
    across = _enlarged(width - 2 * x, width, slice(width))[sides]
    expected = _without_mean(down @ (moving[:, :, x : width - x] @ across.T))
    norm = np.linalg.norm(seen) * np.linalg.norm(expected)
    return float(np.vdot(seen, expected) / norm) if norm else 0.0


def _enlarged(size: int, to: int, part: slice) -> np.ndarray:
    """(part, size) matrix that enlarges a line of `size` to `to` pixels, takes a part and blurs it: all of it is linear."""
    lines = cv2.resize(np.eye(size, dtype=np.float32), (size, to), interpolation=cv2.INTER_LINEAR)[part]
    return cv2.GaussianBlur(lines, (1, 2 * round(4 * BLUR) + 1), BLUR)


def _without_mean(motion: np.ndarray) -> np.ndarray:
    """What brightens or darkens everything at once, a lamp or the camera's exposure, makes nothing alike."""
    return motion - motion.mean(axis=(1, 2), keepdims=True)
