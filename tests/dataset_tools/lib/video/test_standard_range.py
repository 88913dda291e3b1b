"""Pictures of high dynamic range have the tones of a standard screen: neither washed out nor clipped."""

import numpy as np
import pytest
from av import VideoFrame
from av.video.reformatter import ColorPrimaries, ColorTrc

from dataset_tools.lib.video.standard_range import to_standard_range
from dataset_tools.lib.video.upright import Upright


def pq(nits):
    """Signal of SMPTE ST 2084."""
    m1, m2, c1, c2, c3 = 2610 / 16384, 2523 / 32, 3424 / 4096, 2413 / 128, 2392 / 128
    power = (nits / 10000) ** m1
    return ((c1 + c2 * power) / (1 + c3 * power)) ** m2


def ramp(signals, transfer):
    """(64, 320) frame of grey bars, 10 bits, limited range, BT.2020."""
    luma = np.repeat(np.round(64 + 876 * np.array(signals)), 320 // len(signals)).astype("<u2")
    planes = np.concatenate([np.tile(luma, 64), np.full(2 * 32 * 160, 512, "<u2")])
    frame = VideoFrame(320, 64, "yuv420p10le")
    for plane, part in zip(frame.planes, np.split(planes, [320 * 64, 320 * 64 + 160 * 32]), strict=True):
        rows = part.reshape(plane.height, -1).view(np.uint8)
        np.frombuffer(plane, np.uint8).reshape(plane.height, -1)[:, : rows.shape[1]] = rows
    frame.color_trc, frame.color_primaries, frame.colorspace, frame.color_range = transfer, ColorPrimaries.BT2020, 9, 1
    return frame


@pytest.mark.parametrize(
    ("signals", "transfer"),
    [([0, 0.25, 0.5, 0.75, 1.0], ColorTrc.ARIB_STD_B67), ([0, pq(10), pq(50), pq(203), pq(1000)], ColorTrc.SMPTE2084)],
)
def test_tones_are_those_of_a_standard_screen(signals, transfer):
    shown = Upright(1.0)(ramp(signals, transfer))
    assert (shown.format.name, shown.color_trc, shown.color_primaries, shown.colorspace) == ("yuv420p", 1, 1, 1)
    bars = shown.to_ndarray(format="rgb24")[30, 32::64].astype(float).mean(axis=1) / 255
    assert bars[0] < 0.03 and (np.diff(bars) > 0.05).all()  # black, and all bars told apart
    assert 0.3 < bars[2] < 0.6 and 0.55 < bars[3] < 0.95 and bars[4] > 0.75  # grey is grey, white is white
    kept = Upright(1.0, high_range=True)(ramp(signals, transfer))
    assert (kept.color_trc, kept.color_primaries, kept.colorspace) == (transfer, 9, 9)


def test_other_pictures_are_left_alone():
    frame = ramp([0, 1], ColorTrc.BT709)
    assert to_standard_range(frame) is frame
