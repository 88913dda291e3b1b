"""Decoded frames as what a viewer sees: upright, square pixels, a part of them cut out, scaled."""

from dataclasses import dataclass

import av
import numpy as np


@dataclass(frozen=True, kw_only=True)
class Crop:
    """A rectangle in pixels; x, y, width and height are even, as 4:2:0 video needs."""

    x: int
    y: int
    width: int
    height: int


class Upright:
    """Decoded frames as upright yuv420p with square pixels and even sizes. Later frames take the first one's size."""

    def __init__(self, pixel_aspect: float):
        self.pixel_aspect = pixel_aspect
        self.stored: tuple[int, int] | None = None
        self.shown: tuple[int, int] | None = None
        """Width and height of the upright picture, before cutting out."""

    def __call__(
        self, frame: av.VideoFrame, crop: Crop | None = None, size: tuple[int, int] | None = None
    ) -> av.VideoFrame:
        """Turn as the file's rotation asks, cut out `crop`, scale to `size` (width, height)."""
        self.stored = self.stored or (even_size(frame.width * self.pixel_aspect), even_size(frame.height))
        plain = frame.reformat(
            *self.stored, format="yuv420p", dst_color_range="MPEG", interpolation="AREA", threads=1
        )  # fmt: skip
        turns = round(frame.rotation / 90) % 4
        self.shown = (plain.height, plain.width) if turns % 2 else (plain.width, plain.height)
        if turns or crop:
            part = crop or Crop(x=0, y=0, width=self.shown[0], height=self.shown[1])
            kept = av.VideoFrame(part.width, part.height, "yuv420p")
            halves = (1, 2, 2)  # chroma has half the resolution
            for into, plane, n in zip(planes_of(kept), planes_of(plain), halves, strict=True):
                into[:] = np.rot90(plane, turns)[part.y // n :, part.x // n :][: len(into), : into.shape[1]]
            plain = kept
        if size:
            plain = plain.reformat(*size, interpolation="AREA", threads=1)
        plain.colorspace, plain.color_range = frame.colorspace, 1
        plain.color_primaries, plain.color_trc = frame.color_primaries, frame.color_trc
        return plain


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
