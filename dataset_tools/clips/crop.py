"""Detect the moving part of a video's frames, inside still side panels and letterbox bars.

A portrait video in a landscape compilation is shown between two still panels. Two cues show its border:

- *motion* jumps from nothing to much within a few columns (a hand-held camera, a textured scene);
- an *edge* runs straight over the whole height. With a fixed camera only the dancer moves, and this is the only cue.

The cues are added. A border must lie outside nearly all motion. Borders come in pairs, at equal distances from both sides of the
frame, unless motion alone is enough evidence. Bars above and below have a single colour. The sides may also be blurred copies
of the video (`find_blurred_sides`), left and right or above and below. If nothing is clear, nothing is cropped.
"""

from dataclasses import dataclass
from functools import cached_property

import cv2
import numpy as np

from dataset_tools.clips.blurred_sides import find_blurred_sides
from dataset_tools.lib.video.upright import Crop

NOISE = 8  # grey levels (of 255): codec noise of a still pixel
STRAY_MOTION = 0.01  # fraction of all motion that may lie outside a border: codec noise around captions
EDGE_STEP = 5  # least difference across a border, in grey levels
PAIR_EVIDENCE = (
    0.6  # evidence for each border of a pair: fraction of the line with an edge + jump of the moving fraction
)
LONE_EVIDENCE = 0.6  # jump of the moving fraction for a border without a counterpart
BORDER_SPREAD = 0.006  # of the frame: blur and the codec spread a border over this width
SYMMETRY = 0.01  # of the frame: tolerance between the distances of the two borders from the sides
MIN_PANEL = 0.03  # of the frame: narrower strips are not cropped
MIN_PICTURE = 0.2  # of the frame: a smaller moving part is not plausible


def find_moving_rectangle(frames: np.ndarray, tints: np.ndarray | None = None) -> Crop:
    """Rectangle of the moving part of luma frames (N, H, W) uint8, sampled over a clip; N at least 2.

    tints: mean chroma (H, W, 2), float or uint8, which shows borders between colours of equal brightness.

    Returns the whole frame (cut to even sizes) if no still panels are detected.
    """
    darkest = brightest = cv2.blur(frames[0], (3, 3))
    total = np.zeros(frames.shape[1:], np.float32)  # exact, because the sums are whole numbers below 2^24
    for frame in frames:
        smooth = cv2.blur(frame, (3, 3))
        darkest, brightest = np.minimum(darkest, smooth), np.maximum(brightest, smooth)
        cv2.accumulate(frame, total)
    moving, mean_luma = brightest - darkest > NOISE, total / len(frames)
    tints = np.zeros((*mean_luma.shape, 2)) if tints is None else tints.astype(np.float32)
    x, y = slice(0, frames.shape[2]), slice(0, frames.shape[1])
    # bars may be around panels or between them, so each direction is tried again inside the result of the other
    y = _narrow(y, _find_bars(moving.T, mean_luma.T, tints.swapaxes(0, 1)))
    wide = x = _narrow(
        x, _find_borders(moving[y], mean_luma[y], tints[y], lone=True) or find_blurred_sides(frames[:, y])
    )
    if (y.start, y.stop) == (0, frames.shape[1]):
        turned = moving[:, x].T, mean_luma[:, x].T, tints[:, x].swapaxes(0, 1)
        y = _narrow(y, _find_bars(*turned) or find_blurred_sides(frames[:, :, x].swapaxes(1, 2)))
        if y.start and wide == slice(0, frames.shape[2]):
            x = _narrow(
                x, _find_borders(moving[y], mean_luma[y], tints[y], lone=True) or find_blurred_sides(frames[:, y])
            )
    left, top = x.start + x.start % 2, y.start + y.start % 2
    return Crop(x=left, y=top, width=(x.stop - left) // 2 * 2, height=(y.stop - top) // 2 * 2)


def _narrow(span: slice, found: tuple[int, int] | None) -> slice:
    return slice(*found) if found else span


def _find_bars(moving: np.ndarray, mean_luma: np.ndarray, tints: np.ndarray) -> tuple[int, int] | None:
    """As `_find_borders`, for letterbox bars in transposed maps. Bars must come in pairs and have a single colour, because a jump of
    motion from row to row may be feet on a still floor."""
    found = _find_borders(moving, mean_luma, tints, lone=False)
    if found is None or min(found[0], mean_luma.shape[1] - found[1]) == 0:
        return None
    bars = [np.dstack([mean_luma[:, part], tints[:, part]]) for part in (slice(0, found[0]), slice(found[1], None))]
    even = all(bar.std(axis=(0, 1)).max() <= NOISE for bar in bars)
    alike = np.abs(bars[0].mean(axis=(0, 1)) - bars[1].mean(axis=(0, 1))).max() <= NOISE
    return found if even and alike else None


def _find_borders(
    moving: np.ndarray, mean_luma: np.ndarray, tints: np.ndarray, *, lone: bool
) -> tuple[int, int] | None:
    """(first column, column after the last) of the moving part, or None if it fills the frame.

    moving: (H, W), which pixels move. mean_luma: (H, W), mean luma. tints: (H, W, 2), mean chroma. lone: accept a single border.
    """
    width = moving.shape[1]
    share = moving.mean(axis=0)
    if not share.any():
        return None
    step = np.abs(np.diff(mean_luma, axis=1)) > EDGE_STEP
    tint_step = np.logical_or(*(np.abs(np.diff(tint, axis=1)) > EDGE_STEP for tint in np.moveaxis(tints, 2, 0)))
    tint_step = cv2.dilate(tint_step.view(np.uint8), np.ones((1, 3), np.uint8)).view(bool)
    edge, tinted = (np.pad(steps.mean(axis=0), 1) for steps in (step, step | tint_step))
    left = _Side.of(share, edge, tinted)
    right = _Side.of(share[::-1], edge[::-1], tinted[::-1])
    best, found = PAIR_EVIDENCE, None
    slack = max(2, round(SYMMETRY * width))
    for x in left.candidates:
        for y in range(max(x - slack, 0), min(x + slack, width) + 1):
            evidence = min(left.evidence[x], right.evidence[y]) if y in right.candidates else 0.0
            if evidence >= best:  # the innermost of equal borders, because panels have edges too
                best, found = evidence, (x, y)
    if found:
        x, y = left.inward(found[0]), right.inward(found[1])
    elif lone:
        x, y = left.lone(), right.lone()
    else:
        x, y = 0, 0
    return (x, width - y) if x + y and width - x - y >= MIN_PICTURE * width else None


@dataclass(frozen=True)
class _Side:
    """Evidence for a border x columns from one side of the frame, for every x."""

    edge: np.ndarray
    """(W + 1,): fraction of the line between columns x - 1 and x with an edge in luma."""
    tinted: np.ndarray
    """(W + 1,): the same with an edge in luma or (widened by a pixel to both sides) in chroma."""
    jump: np.ndarray
    """(W + 1,): difference between the moving fractions just inside and just outside."""
    candidates: range
    spread: int

    @staticmethod
    def of(share: np.ndarray, edge: np.ndarray, tinted: np.ndarray) -> "_Side":
        """From the moving fraction (W,) of each column and both kinds of edges (W + 1,), counted from this side inwards."""
        width = len(share)
        spread = max(3, round(BORDER_SPREAD * width))
        padded = np.pad(share, (2, 2))
        jump = np.maximum(0.0, padded[3 : width + 4] - padded[: width + 1])  # share[x + 1] - share[x - 2]
        first_moving = int(np.searchsorted(np.cumsum(share), STRAY_MOTION * share.sum()))
        return _Side(edge, tinted, jump, range(round(MIN_PANEL * width), min(first_moving + spread, width) + 1), spread)

    @cached_property
    def evidence(self) -> np.ndarray:
        return self.tinted + self.jump

    def inward(self, x: int) -> int:
        """Inner end of the border near x, which blur or scaling may spread over a few columns."""
        near = np.arange(max(x - self.spread, 1), min(x + self.spread, len(self.edge)))
        sign = next((s for s in (self.edge, self.tinted) if s[near].max() > PAIR_EVIDENCE / 2), self.jump)
        return int(near[sign[near] > 0.5 * sign[near].max()].max())

    def lone(self) -> int:
        """The border for which motion alone is enough evidence; 0 if there is no panel on this side."""
        if len(self.candidates) == 0:
            return 0
        x = max(self.candidates, key=lambda x: self.jump[x])
        return self.inward(x) if self.jump[x] >= LONE_EVIDENCE else 0
