"""Decoded frames as what a viewer sees: upright, square pixels, a part of them cut out, scaled."""

import struct
from dataclasses import dataclass

import av
import numpy as np

from dataset_tools.lib.core.errors import UserError
from dataset_tools.lib.core.limits import LEAST_SIDE, PIXEL_ASPECT, SIDE
from dataset_tools.lib.video.standard_range import standard_range

SAME_SHAPE = 0.02  # of the shape's logarithm: sizes are rounded to whole macroblocks


@dataclass(frozen=True, kw_only=True)
class Crop:
    """A rectangle in pixels; x, y, width and height are even, as 4:2:0 video needs."""

    x: int
    y: int
    width: int
    height: int


class Upright:
    """Decoded frames as upright yuv420p with square pixels and even sizes, of standard range. Later frames take the first
    one's size; one of another shape raises UserError, which begins with `name`.

    With `pixel_aspect` 1 pixels stay as wide as they are stored; with `high_range` PQ and HLG stay what they are.
    """

    def __init__(self, pixel_aspect: float, name: str = "video", *, high_range: bool = False):
        if not 1 / PIXEL_ASPECT <= pixel_aspect <= PIXEL_ASPECT:
            raise UserError(
                f"{name}: its pixels are said to be {pixel_aspect:g} times as wide as high; correct that, or encode it anew"
            )
        self.pixel_aspect, self.name, self.high_range = pixel_aspect, name, high_range
        self.stored: tuple[int, int] | None = None
        self.shown: tuple[int, int] | None = None
        """Width and height of the upright picture, before cutting out."""
        self._first: tuple[int, int] | None = None

    def __call__(
        self, frame: av.VideoFrame, crop: Crop | None = None, size: tuple[int, int] | None = None
    ) -> av.VideoFrame:
        """Turn and mirror as the file asks, cut out `crop`, scale to `size` (width, height)."""
        self._same_shape(frame)
        transposed, across, down = orientation(frame)
        shown = frame if self.high_range else standard_range(frame)
        matrix = {"dst_colorspace": "ITU709"} if shown.format.is_rgb or shown.format.has_palette else {}
        assert self.stored is not None
        plain = shown.reformat(
            *self.stored, format="yuv420p", dst_color_range="MPEG", interpolation="AREA", threads=1, **matrix
        )  # fmt: skip
        self.shown = (plain.height, plain.width) if transposed else (plain.width, plain.height)
        if transposed or across or down or crop:
            part = crop or Crop(x=0, y=0, width=self.shown[0], height=self.shown[1])
            kept = av.VideoFrame(part.width, part.height, "yuv420p")
            halves = (1, 2, 2)  # chroma has half the resolution
            for into, plane, n in zip(planes_of(kept), planes_of(plain), halves, strict=True):
                turned = (plane.T if transposed else plane)[:: -1 if down else 1, :: -1 if across else 1]
                into[:] = turned[part.y // n :, part.x // n :][: len(into), : into.shape[1]]
            plain = kept
        if size:
            plain = plain.reformat(*size, interpolation="AREA", threads=1)
        plain.colorspace, plain.color_range = 1 if matrix else shown.colorspace, 1
        plain.color_primaries, plain.color_trc = shown.color_primaries, shown.color_trc
        return plain

    def _same_shape(self, frame: av.VideoFrame) -> None:
        """A film may change its size, as streams do, but not its shape: pictures would be drawn out."""
        if self._first is None:
            self.stored = (even_size(frame.width * self.pixel_aspect), even_size(frame.height))
            if min(self.stored) < LEAST_SIDE or max(self.stored) > SIDE:
                found = "{} x {} px".format(*self.stored)
                raise UserError(f"{self.name}: its picture is {found}; {LEAST_SIDE} to {SIDE} are taken either way")
            self._first = (frame.width, frame.height)
        elif (frame.width, frame.height) != self._first:
            before, now = self._first[0] / self._first[1], frame.width / frame.height
            if abs(np.log(now / before)) > SAME_SHAPE:
                found = "{} x {} to {} x {} px".format(*self._first, frame.width, frame.height)
                raise UserError(
                    f"{self.name}: its picture changes its shape, from {found}; cut the clip before or after that"
                )


def orientation(frame: av.VideoFrame) -> tuple[bool, bool, bool]:
    """Whether a player shows a frame with x and y exchanged, and then mirrored left and right, and upside down.

    The display matrix (ISO/IEC 14496-12, 6.2.2) takes a stored pixel (x, y) to (a x + c y, b x + d y); of the eight ways the
    nearest one is taken. A matrix that would show nothing is none.
    """
    found = frame.side_data.get("DISPLAYMATRIX")
    if found is None:
        return False, False, False
    a, b, _, c, d = struct.unpack("=5i", bytes(found)[:20])
    if a * d == b * c:
        return False, False, False
    transposed = abs(b) + abs(c) > abs(a) + abs(d)
    across, down = (c, b) if transposed else (a, d)
    return transposed, across < 0, down < 0


def planes_of(frame: av.VideoFrame) -> list[np.ndarray]:
    """Views of Y (H, W), U and V (H/2, W/2), uint8."""
    sizes = ((frame.height, frame.width),) + ((frame.height // 2, frame.width // 2),) * 2
    return [
        np.frombuffer(plane, np.uint8).reshape(plane.height, plane.line_size)[:h, :w]
        for plane, (h, w) in zip(frame.planes, sizes, strict=True)
    ]


def even_size(size: float) -> int:
    """The nearest even size; an odd one loses a pixel."""
    return max(2, int(size / 2 + 0.49) * 2)
