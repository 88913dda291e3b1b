"""Every picture as a player shows it: turned, mirrored, its pixels' shape, of standard range; or refused in one line."""

import gc
import itertools
import time

import numpy as np
import pytest
from av import VideoFrame

from dataset_tools.clips.normalise import normalise_video
from dataset_tools.lib.core.errors import UserError
from dataset_tools.lib.video.upright import Upright
from dataset_tools.lib.video.video_io import read_rgb, rgb_frames, timed_frames, write_clip
from tests.helpers.footage import numbered_video, timed_video, with_matrix


def cornered(_):
    """Four corners of different lightness, 96 x 48."""
    image = np.full((48, 96, 3), 20, np.uint8)
    image[:16, :16], image[:16, -16:], image[-16:, :16], image[-16:, -16:] = 240, 180, 130, 80
    return image


def corners(image):
    """Lightness of the four corners: top left, top right, bottom left, bottom right, to 10."""
    return tuple(
        round(float(image[y, x].mean()), -1) for y, x in itertools.product((slice(2, 10), slice(-10, -2)), repeat=2)
    )


STORED = (240, 180, 130, 80)
EIGHT = {  # matrix a b c d: where a player shows the four corners
    (1, 0, 0, 1): (240, 180, 130, 80),
    (-1, 0, 0, 1): (180, 240, 80, 130),
    (1, 0, 0, -1): (130, 80, 240, 180),
    (-1, 0, 0, -1): (80, 130, 180, 240),
    (0, 1, 1, 0): (240, 130, 180, 80),
    (0, 1, -1, 0): (130, 240, 80, 180),
    (0, -1, 1, 0): (180, 80, 240, 130),
    (0, -1, -1, 0): (80, 180, 130, 240),
}


@pytest.mark.parametrize(
    "matrix", [*EIGHT, (0, 0, 0, 0), (1, 1, 1, 1), (0.97, 0.24, -0.24, 0.97), (0.1, 0.99, -0.99, 0.1)]
)
def test_display_matrices(tmp_path, matrix):
    source = with_matrix(
        timed_video(tmp_path / "in.mp4", [0, 33, 67, 100], 0, cornered), tmp_path / "turned.mp4", matrix
    )
    normalise_video(source, tmp_path / "out.mp4", crop=False)
    image = next(read_rgb(tmp_path / "out.mp4"))
    nearest = {(0.97, 0.24, -0.24, 0.97): (1, 0, 0, 1), (0.1, 0.99, -0.99, 0.1): (0, 1, -1, 0)}.get(matrix, matrix)
    assert image.shape[:2] == ((96, 48) if not nearest[0] and nearest[1] else (48, 96))
    np.testing.assert_allclose(corners(image), EIGHT.get(nearest, STORED), atol=10)


def sized(path, sizes):
    """A film whose pictures have these sizes, (width, height), 15 of each."""
    parts = []
    for number, (width, height) in enumerate(sizes):
        part = path.with_name(f"{number}.mp4")
        write_clip(part, rgb_frames(np.full((height, width, 3), 40 * (number + 1), np.uint8) for _ in range(15)), None)
        parts.append([frame for _, frame in timed_frames(part)])
    return [frame for part in parts for frame in part]


def test_a_size_that_changes_is_scaled_and_a_shape_is_refused(tmp_path):
    upright = Upright(1.0, "in.mp4")
    shown = [upright(frame) for frame in sized(tmp_path / "a", [(64, 48), (128, 96), (32, 24)])]
    assert {(frame.width, frame.height) for frame in shown} == {(64, 48)}
    upright = Upright(1.0, "in.mp4")
    with pytest.raises(UserError, match=r"^in\.mp4: its aspect ratio changes, from 64 x 48 to 48 x 64 px"):
        for frame in sized(tmp_path / "b", [(64, 48), (48, 64)]):
            upright(frame)


@pytest.mark.parametrize("aspect", [1e-6, 0.1, 9.0, 1e6, float("inf")])
def test_pixels_of_no_credible_shape_are_refused(aspect):
    with pytest.raises(UserError, match=r"^in\.mp4: its header says that pixels are \S+ times as wide as high"):
        Upright(aspect, "in.mp4")


@pytest.mark.parametrize("size", [(64, 2), (2, 64), (4096, 8), (16384, 32)])
def test_very_flat_pictures_are_refused_at_once(tmp_path, size):
    source = tmp_path / "in.mp4"
    write_clip(source, rgb_frames(np.full((*size[::-1], 3), j, np.uint8) for j in range(30)), None)
    begun = time.process_time()
    with pytest.raises(UserError, match=rf"^in\.mp4: its frames are {size[0]} x {size[1]} px; 16 to 8192"):
        normalise_video(source, tmp_path / "out.mp4")
    assert time.process_time() - begun < 10


def test_pictures_of_rgb_keep_their_colours():
    shown = Upright(1.0)(VideoFrame.from_ndarray(np.full((48, 64, 3), [200, 60, 30], np.uint8), format="rgb24"))
    assert shown.colorspace == 1
    np.testing.assert_allclose(shown.to_ndarray(format="rgb24")[20, 20], [200, 60, 30], atol=12)


def test_a_frame_is_freed_as_soon_as_nobody_has_it(tmp_path):
    """A frame in a cycle of references stays until Python's collector comes: hundreds of them are a gigabyte."""
    source = numbered_video(tmp_path / "in.mp4", 30, 1)
    upright = Upright(1.0)
    gc.collect()
    gc.disable()
    try:
        for _, frame in timed_frames(source):
            upright(frame)
        del frame
        assert not [found for found in gc.get_objects() if type(found) is VideoFrame]
    finally:
        gc.enable()
