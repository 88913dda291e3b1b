"""Find the moving picture inside a frame: static side panels and letterbox bars around it are cropped away.

A phone video in a landscape compilation stands between two still panels. Two signs tell where it begins:

- *motion*: nothing moves in the panel and much does right beside it (a camera in the hand, a textured scene);
- *edges*: with a still camera the scene does not move either, only the dancer does; then a straight edge over the
  whole height, at the same distance from both sides and outside everything that moves, is the border.

Either is enough; where neither is clear nothing is cropped.
"""

from dataclasses import dataclass

import cv2
import numpy as np

NOISE = 8  # grey levels (of 255) by which codec noise may move a still pixel
STILL_SHARE = 0.02  # a line in which fewer pixels move is still
MOVING_SHARE = 0.5  # a line in which more pixels move, right beside still ones, is a border
EDGE_STEP = 5  # grey levels across a border, at least
EDGE_SHARE = 0.6  # of the line's length that must show the step
SPREAD = 0.006  # of the frame: over how much blur and the codec spread a border
SYMMETRY = 0.01  # of the frame: how far the two borders' distances from the sides may differ
MIN_PANEL = 0.03  # of the frame: narrower strips are left alone
MIN_PICTURE = 0.2  # of the frame: a smaller picture is not believed


@dataclass(frozen=True, kw_only=True)
class Crop:
    """A rectangle in pixels; x, y, width and height are even, as 4:2:0 video needs."""

    x: int
    y: int
    width: int
    height: int


def moving_rectangle(frames: np.ndarray) -> Crop:
    """Rectangle of the moving picture in (N, H, W) uint8 luma sampled over a clip, N at least 2.

    Returns the whole frame (cut to even sizes) where there are no still panels, or nothing to tell them by.
    """
    height, width = frames.shape[1:]
    smooth = np.stack([cv2.blur(frame, (3, 3)) for frame in frames])
    moving = smooth.max(axis=0) - smooth.min(axis=0) > NOISE
    picture = frames.mean(axis=0, dtype=np.float32)
    left, right = _borders(moving, picture)
    top, bottom = _borders(moving[:, left:right].T, picture[:, left:right].T)
    left, top = left + left % 2, top + top % 2
    return Crop(x=left, y=top, width=(right - left) // 2 * 2, height=(bottom - top) // 2 * 2)


def _borders(moving: np.ndarray, picture: np.ndarray) -> tuple[int, int]:
    """First and one-past-last column of the picture in (H, W) maps: which pixels move, and the mean frame."""
    width = moving.shape[1]
    spread = max(3, round(SPREAD * width))
    share = moving.mean(axis=0)
    active = np.flatnonzero(share > STILL_SHARE)
    if len(active) == 0:
        return 0, width
    first, last = int(active[0]), int(active[-1]) + 1
    left = _motion_step(share[first : first + spread])
    right = _motion_step(share[last - spread : last][::-1])
    left = None if left is None else first + left
    right = None if right is None else last - right
    if left is None or right is None:
        left, right = _edge_pair(picture, (first + spread, last - spread), (left, right), spread)
    left = left if left >= MIN_PANEL * width else 0
    right = right if width - right >= MIN_PANEL * width else width
    return (left, right) if right - left >= MIN_PICTURE * width else (0, width)


def _motion_step(share: np.ndarray) -> int | None:
    """Index at which `share`, read inwards from the first active line, has jumped to nearly its highest; None: no jump."""
    if len(share) == 0 or share.max() < MOVING_SHARE:
        return None
    return int(np.argmax(share > 0.8 * share.max()))


def _edge_pair(
    picture: np.ndarray, inner: tuple[int, int], known: tuple[int | None, int | None], spread: int
) -> tuple[int, int]:
    """Best mirrored pair of full-length edges, left of column inner[0] and right of inner[1]; the whole width if none.

    A border that motion has shown already (not None in `known`) stays, and only its mirror image is looked for.
    """
    width = picture.shape[1]
    left, right = known
    sharp = np.zeros(width + 1)  # sharp[x]: part of the line between columns x - 1 and x that shows a step
    sharp[1:width] = (np.abs(np.diff(picture, axis=1)) > EDGE_STEP).mean(axis=0)
    lefts = np.arange(1, inner[0]) if left is None else np.array([left])
    rights = np.arange(max(1, inner[1]), width) if right is None else np.array([right])
    if len(lefts) == 0 or len(rights) == 0:
        return left or 0, right or width
    score = np.minimum(
        sharp[lefts] if left is None else np.ones(1), (sharp[rights] if right is None else np.ones(1))[:, None]
    )
    off_centre = np.abs(lefts - (width - rights[:, None])) > max(2, round(SYMMETRY * width))
    score = np.where(off_centre, 0, score)
    if score.max() < EDGE_SHARE:
        return left or 0, right or width
    row, column = np.unravel_index(np.argmax(score), score.shape)
    if left is None:
        near = lefts[column] + np.arange(spread)
        left = int(near[sharp[np.minimum(near, width)] > 0.5 * sharp[lefts[column]]].max())
    if right is None:
        near = np.maximum(rights[row] - np.arange(spread), 0)
        right = int(near[sharp[near] > 0.5 * sharp[rights[row]]].min())
    return left, right
