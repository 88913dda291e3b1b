"""Convert decoded frames to what a viewer sees: upright, with square pixels, cropped and scaled."""

import struct
from dataclasses import dataclass

import av
import numpy as np
from av.sidedata.sidedata import SideDataContainer

from dataset_tools.lib.core.errors import UserError
from dataset_tools.lib.core.limits import LEAST_SIDE, PIXEL_ASPECT, SIDE
from dataset_tools.lib.video.standard_range import to_standard_range

SHAPE_TOLERANCE = 0.02  # of the logarithm of the aspect ratio, because sizes are rounded to whole macroblocks


@dataclass(frozen=True, kw_only=True)
class Crop:
    """A rectangle in pixels; x, y, width and height are even, as 4:2:0 video needs."""

    x: int
    y: int
    width: int
    height: int


class Upright:
    """Converts decoded frames to upright yuv420p frames of standard range, with square pixels and even sizes. Later frames are
    scaled to the size of the first.

    pixel_aspect: width of a pixel over its height, as stored; 1 leaves the pixels as they are.
    name: of the video, for messages.
    high_range: leave PQ and HLG as they are.

    A call raises UserError for a frame with another aspect ratio than the first.
    """

    def __init__(self, pixel_aspect: float, name: str = "video", *, high_range: bool = False):
        if not 1 / PIXEL_ASPECT <= pixel_aspect <= PIXEL_ASPECT:
            raise UserError(
                f"{name}: its header says that pixels are {pixel_aspect:g} times as wide as high; correct it or re-encode the video"
            )
        self.pixel_aspect, self.name, self.high_range = pixel_aspect, name, high_range
        self.stored_size: tuple[int, int] | None = None
        self.frame_size: tuple[int, int] | None = None
        """Width and height of the upright frame, before cropping."""
        self._first_size: tuple[int, int] | None = None

    def __call__(
        self, frame: av.VideoFrame, crop: Crop | None = None, size: tuple[int, int] | None = None
    ) -> av.VideoFrame:
        """Rotate and mirror the frame as the file says, crop it to `crop`, scale it to `size` (width, height)."""
        self._check_shape(frame)
        transposed, across, down = orientation(frame)
        shown = frame if self.high_range else to_standard_range(frame)
        matrix = {"dst_colorspace": "ITU709"} if shown.format.is_rgb or shown.format.has_palette else {}
        assert self.stored_size is not None
        plain = shown.reformat(
            *self.stored_size, format="yuv420p", dst_color_range="MPEG", interpolation="AREA", threads=1, **matrix
        )  # fmt: skip
        self.frame_size = (plain.height, plain.width) if transposed else (plain.width, plain.height)
        if transposed or across or down or crop:
            part = crop or Crop(x=0, y=0, width=self.frame_size[0], height=self.frame_size[1])
            kept = av.VideoFrame(part.width, part.height, "yuv420p")
            halves = (1, 2, 2)  # chroma has half the resolution
            for into, plane, n in zip(image_planes(kept), image_planes(plain), halves, strict=True):
                turned = (plane.T if transposed else plane)[:: -1 if down else 1, :: -1 if across else 1]
                into[:] = turned[part.y // n :, part.x // n :][: len(into), : into.shape[1]]
            plain = kept
        if size:
            plain = plain.reformat(*size, interpolation="AREA", threads=1)
        plain.colorspace, plain.color_range = 1 if matrix else shown.colorspace, 1
        plain.color_primaries, plain.color_trc = shown.color_primaries, shown.color_trc
        return plain

    def _check_shape(self, frame: av.VideoFrame) -> None:
        """A video may change its size, as streams do, but not its aspect ratio, which would distort the frames."""
        if self._first_size is None:
            self.stored_size = (even_size(frame.width * self.pixel_aspect), even_size(frame.height))
            if min(self.stored_size) < LEAST_SIDE or max(self.stored_size) > SIDE:
                found = "{} x {} px".format(*self.stored_size)
                raise UserError(
                    f"{self.name}: its frames are {found}; {LEAST_SIDE} to {SIDE} px are allowed for each side"
                )
            self._first_size = (frame.width, frame.height)
        elif (frame.width, frame.height) != self._first_size:
            before, now = self._first_size[0] / self._first_size[1], frame.width / frame.height
            if abs(np.log(now / before)) > SHAPE_TOLERANCE:
                found = "{} x {} to {} x {} px".format(*self._first_size, frame.width, frame.height)
                raise UserError(
                    f"{self.name}: its aspect ratio changes, from {found}; cut the clip before or after that"
                )


def orientation(frame: av.VideoFrame) -> tuple[bool, bool, bool]:
    """(transposed, mirrored left-right, mirrored upside down): how a player shows a frame, in this order.

    The display matrix (ISO/IEC 14496-12, 6.2.2) maps a stored pixel (x, y) to (a x + c y, b x + d y). The nearest of the eight
    orientations is taken. A singular matrix is ignored.
    """
    found = SideDataContainer(frame).get(
        "DISPLAYMATRIX"
    )  # `frame.side_data` makes a reference cycle, which would keep the frame in memory
    if found is None:
        return False, False, False
    a, b, _, c, d = struct.unpack("=5i", bytes(found)[:20])
    if a * d == b * c:
        return False, False, False
    transposed = abs(b) + abs(c) > abs(a) + abs(d)
    across, down = (c, b) if transposed else (a, d)
    return transposed, across < 0, down < 0


def image_planes(frame: av.VideoFrame) -> list[np.ndarray]:
    """Views of the planes Y (H, W), U and V (H/2, W/2), uint8."""
    sizes = ((frame.height, frame.width),) + ((frame.height // 2, frame.width // 2),) * 2
    return [
        np.frombuffer(plane, np.uint8).reshape(plane.height, plane.line_size)[:h, :w]
        for plane, (h, w) in zip(frame.planes, sizes, strict=True)
    ]


def even_size(size: float) -> int:
    """The nearest even size, at least 2; an odd size loses a pixel."""
    return max(2, int(size / 2 + 0.49) * 2)
