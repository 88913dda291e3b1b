"""Optical flow of a known translation."""

import cv2
import numpy as np
import pytest

from dataset_tools.vision.flow import METHODS, Flow, scale_flow, to_gray


@pytest.fixture(scope="module")
def texture():
    """uint8 (150, 150) of blobs some 10 px large."""
    noise = cv2.GaussianBlur(np.random.default_rng(0).normal(size=(150, 150)), (0, 0), 4)
    return cv2.normalize(noise, None, 0, 255, cv2.NORM_MINMAX).astype(np.uint8)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("shift", [(3, 0), (0, -2), (-4, 1)])
def test_translation_is_found(texture, method, shift):
    x, y = shift
    moved = np.roll(texture, (y, x), (0, 1))
    flow = Flow(method).between(texture[25:105, 25:89], moved[25:105, 25:89])
    assert flow.shape == (2, 80, 64) and flow.dtype == np.float32
    inner = flow[:, 12:-12, 12:-12]
    np.testing.assert_allclose(np.median(inner, axis=(1, 2)), (x, y), atol=0.1)


@pytest.mark.parametrize("method", METHODS)
def test_rest_is_zero_and_calls_do_not_depend_on_earlier_ones(texture, method):
    still, moved = texture[:64, :64], texture[2:66, 3:67]
    solver = Flow(method)
    first = solver.between(still, moved)
    assert np.abs(solver.between(still, still)).max() < 0.05
    np.testing.assert_array_equal(solver.between(still, moved), first)


def test_scale():
    pixels = np.array([0, 10, -20, 35, -90], np.float32)
    scaled = scale_flow(pixels)
    assert scaled.tolist() == [0.0, 0.5, -1.0, 1.0, -1.0] and scaled.dtype == np.float32


def test_gray_weighs_the_colours_in_rgb_order():
    red, green, blue = (to_gray(np.full((1, 1, 3), 255 * np.eye(3)[c], np.uint8))[0, 0] for c in range(3))
    assert (red, green, blue) == (76, 150, 29)  # ITU-R BT.601


def test_unknown_method():
    with pytest.raises(ValueError, match="flow must be one of tvl1, dis, found 'raft'"):
        Flow("raft")
