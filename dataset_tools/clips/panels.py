"""Find the moving picture inside a frame: still side panels and letterbox bars around it are cropped away.

A phone video in a landscape compilation stands between two still panels. Two signs tell where it begins:

- *motion* jumps from nothing to much within a few columns (a camera in the hand, a textured scene);
- an *edge* runs straight over the whole height; with a still camera only the dancer moves, and this is all there is.

Bars above and below are of one colour. A picture may also stand between blurred copies of itself (`blurred_sides`), beside
it or above and below. The signs add up. A border must lie outside nearly everything that moves, and borders come in pairs, equally far from
both sides of the frame, unless motion alone is proof enough. Where nothing is clear nothing is cropped.
"""

from dataclasses import dataclass
from functools import cached_property

import cv2
import numpy as np

from dataset_tools.clips.blurred_sides import blurred_sides
from dataset_tools.lib.video.upright import Crop

NOISE = 8  # grey levels (of 255) by which codec noise may move a still pixel
STRAY = 0.01  # part of all motion that may lie beyond a border: codec noise around captions
EDGE_STEP = 5  # grey levels across a border, at least
PAIR = 0.6  # evidence that each of two mirrored borders needs: part of the line with an edge + jump of the moving part
LONE = 0.6  # jump of the moving part that a border without a mirror image needs
SPREAD = 0.006  # of the frame: over how much blur and the codec spread a border
SYMMETRY = 0.01  # of the frame: how far the two borders' distances from the sides may differ
MIN_PANEL = 0.03  # of the frame: narrower strips are left alone
MIN_PICTURE = 0.2  # of the frame: a smaller picture is not believed


def moving_rectangle(frames: np.ndarray, tints: np.ndarray | None = None) -> Crop:
    """Rectangle of the moving picture in (N, H, W) uint8 luma sampled over a clip, N at least 2.

    `tints` (H, W, 2), float or uint8, is the mean chroma: it shows borders between equally bright colours. Returns the
    whole frame (cut to even sizes) where there are no still panels, or nothing to tell them by.
    """
    darkest = brightest = cv2.blur(frames[0], (3, 3))
    total = np.zeros(frames.shape[1:], np.float32)  # exact: of whole numbers below 2^24
    for frame in frames:
        smooth = cv2.blur(frame, (3, 3))
        darkest, brightest = np.minimum(darkest, smooth), np.maximum(brightest, smooth)
        cv2.accumulate(frame, total)
    moving, picture = brightest - darkest > NOISE, total / len(frames)
    tints = np.zeros((*picture.shape, 2)) if tints is None else tints.astype(np.float32)
    x, y = slice(0, frames.shape[2]), slice(0, frames.shape[1])
    # bars may stand around panels or between them: each way is tried again inside what the other left
    y = _inside(y, _bars(moving.T, picture.T, tints.swapaxes(0, 1)))
    wide = x = _inside(x, _borders(moving[y], picture[y], tints[y], lone=True) or blurred_sides(frames[:, y]))
    if (y.start, y.stop) == (0, frames.shape[1]):
        turned = moving[:, x].T, picture[:, x].T, tints[:, x].swapaxes(0, 1)
        y = _inside(y, _bars(*turned) or blurred_sides(frames[:, :, x].swapaxes(1, 2)))
        if y.start and wide == slice(0, frames.shape[2]):
            x = _inside(x, _borders(moving[y], picture[y], tints[y], lone=True) or blurred_sides(frames[:, y]))
    left, top = x.start + x.start % 2, y.start + y.start % 2
    return Crop(x=left, y=top, width=(x.stop - left) // 2 * 2, height=(y.stop - top) // 2 * 2)


def _inside(span: slice, found: tuple[int, int] | None) -> slice:
    return slice(*found) if found else span


def _bars(moving: np.ndarray, picture: np.ndarray, tints: np.ndarray) -> tuple[int, int] | None:
    """As `_borders` for letterbox bars, of maps turned so that rows are columns. Bars come in pairs and in one colour: a
    jump of motion over the rows may be feet on a still floor."""
    found = _borders(moving, picture, tints, lone=False)
    if found is None or min(found[0], picture.shape[1] - found[1]) == 0:
        return None
    bars = [np.dstack([picture[:, part], tints[:, part]]) for part in (slice(0, found[0]), slice(found[1], None))]
    even = all(bar.std(axis=(0, 1)).max() <= NOISE for bar in bars)
    alike = np.abs(bars[0].mean(axis=(0, 1)) - bars[1].mean(axis=(0, 1))).max() <= NOISE
    return found if even and alike else None


def _borders(moving: np.ndarray, picture: np.ndarray, tints: np.ndarray, *, lone: bool) -> tuple[int, int] | None:
    """First and one-past-last column of the picture in (H, W) maps: which pixels move, mean luma, (H, W, 2) mean chroma.
    None where it fills the frame."""
    width = moving.shape[1]
    share = moving.mean(axis=0)
    if not share.any():
        return None
    step = np.abs(np.diff(picture, axis=1)) > EDGE_STEP
    tint_step = np.logical_or(*(np.abs(np.diff(tint, axis=1)) > EDGE_STEP for tint in np.moveaxis(tints, 2, 0)))
    tint_step = cv2.dilate(tint_step.view(np.uint8), np.ones((1, 3), np.uint8)).view(bool)
    edge, tinted = (np.pad(steps.mean(axis=0), 1) for steps in (step, step | tint_step))
    left = _Side.of(share, edge, tinted)
    right = _Side.of(share[::-1], edge[::-1], tinted[::-1])
    best, found = PAIR, None
    slack = max(2, round(SYMMETRY * width))
    for x in left.candidates:
        for y in range(max(x - slack, 0), min(x + slack, width) + 1):
            evidence = min(left.evidence[x], right.evidence[y]) if y in right.candidates else 0.0
            if evidence >= best:  # of equals the innermost: panels have edges of their own
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
    """What speaks for a border x columns from one side of the frame, for every x."""

    edge: np.ndarray
    """(W + 1,) part of the line between columns x - 1 and x that shows an edge in luma."""
    tinted: np.ndarray
    """(W + 1,) the same in luma or, coarser by a pixel to both sides, in chroma."""
    jump: np.ndarray
    """(W + 1,) how much more of the line moves just inside than just outside."""
    candidates: range
    spread: int

    @staticmethod
    def of(share: np.ndarray, edge: np.ndarray, tinted: np.ndarray) -> "_Side":
        """From the (W,) moving part of each column and both edges, read from the side inwards."""
        width = len(share)
        spread = max(3, round(SPREAD * width))
        padded = np.pad(share, (2, 2))
        jump = np.maximum(0.0, padded[3 : width + 4] - padded[: width + 1])  # share[x + 1] - share[x - 2]
        first_moving = int(np.searchsorted(np.cumsum(share), STRAY * share.sum()))
        return _Side(edge, tinted, jump, range(round(MIN_PANEL * width), min(first_moving + spread, width) + 1), spread)

    @cached_property
    def evidence(self) -> np.ndarray:
        return self.tinted + self.jump

    def inward(self, x: int) -> int:
        """The inner end of the border at about x: blur or scaling may spread it over a few columns."""
        near = np.arange(max(x - self.spread, 1), min(x + self.spread, len(self.edge)))
        sign = next((s for s in (self.edge, self.tinted) if s[near].max() > PAIR / 2), self.jump)
        return int(near[sign[near] > 0.5 * sign[near].max()].max())

    def lone(self) -> int:
        """The border that motion alone proves, else 0: no panel on this side."""
        if len(self.candidates) == 0:
            return 0
        x = max(self.candidates, key=lambda x: self.jump[x])
        return self.inward(x) if self.jump[x] >= LONE else 0
