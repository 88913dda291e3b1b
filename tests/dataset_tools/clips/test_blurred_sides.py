"""A picture between blurred, enlarged copies of itself is found; other moving sides are left alone."""

import cv2
import numpy as np
import pytest

from dataset_tools.clips.blurred_sides import find_blurred_sides
from dataset_tools.clips.crop import find_moving_rectangle

N, H, W = 10, 180, 320


def dance(seed, width, height):
    """(N, height, width) uint8: a textured room seen by an unsteady camera, with a dancer."""
    rng = np.random.default_rng(seed)
    wall = cv2.GaussianBlur(rng.uniform(0, 255, (height + 40, width + 40)).astype(np.float32), (0, 0), 2)
    wall = np.clip((wall - wall.mean()) * 3 + 120, 0, 255).astype(np.uint8)
    pictures = []
    for k in range(N):
        x, y = rng.integers(0, 40, 2)
        picture = wall[y : y + height, x : x + width].copy()
        cv2.circle(picture, (int(width * (0.3 + 0.04 * k)), height // 2), height // 5, 230, -1)
        pictures.append(picture)
    return np.array(pictures)


def between_its_blur(picture, gain=0.7, sigma=9):
    width = picture.shape[2]
    tall = round(H * W / width)
    frames = []
    for inner in picture:
        big = cv2.resize(inner, (W, tall))[(tall - H) // 2 :][:H]
        frame = (gain * cv2.GaussianBlur(big, (0, 0), sigma)).astype(np.uint8)
        frame[:, (W - width) // 2 : (W + width) // 2] = inner
        frames.append(frame)
    return np.array(frames)


@pytest.mark.parametrize("width", [102, 136, 180])
@pytest.mark.parametrize("gain", [1.0, 0.6])
def test_the_middle_is_found(width, gain):
    frames = between_its_blur(dance(width, width, H), gain)
    left, right = find_blurred_sides(frames)
    assert abs(left - (W - width) // 2) <= 2 and abs(right - (W + width) // 2) <= 2
    crop = find_moving_rectangle(frames)
    assert abs(crop.x - left) <= 2 and abs(crop.width - width) <= 4 and crop.height == H


def test_a_whole_picture_and_foreign_sides_are_left_alone():
    assert find_blurred_sides(dance(1, W, H)) is None
    other = np.array([cv2.GaussianBlur(f, (0, 0), 9) for f in dance(2, W, H)])
    other[:, :, 110:210] = dance(3, 100, H)
    assert find_blurred_sides(other) is None
    assert find_moving_rectangle(dance(1, W, H)).width == W


def test_still_sides_are_not_its_business():
    frames = np.zeros((N, H, W), np.uint8)
    frames[:, :, 110:210] = dance(4, 100, H)
    assert find_blurred_sides(frames) is None
