"""The moving picture is found between still panels, and nothing is cropped where there are none."""

import cv2
import numpy as np
import pytest

from dataset_tools.clips.crop import find_moving_rectangle

H, W = 180, 320


def room(rng, height, width):
    """A textured picture without straight edges."""
    return cv2.GaussianBlur(rng.uniform(0, 255, (height, width)).astype(np.float32), (0, 0), 4) * 2.5 - 190


def dance(rng, height, width, frames=12, camera=False):
    """(frames, height, width): a box moves in front of a room, which moves too where `camera` is on."""
    wide = room(rng, height, width + 24)
    out = []
    for k in range(frames):
        shift = 2 * k if camera else 0
        image = wide[:, shift : shift + width].copy()
        x = int(width * (0.4 + 0.15 * np.sin(k)))
        image[height // 4 : height * 3 // 4, x : x + width // 6] = 255
        out.append(image)
    return np.stack(out)


def shown(rng, picture, left, top=0, noise=1.0):
    """The picture on still panels, with what a codec adds."""
    n, h, w = picture.shape
    still = np.clip(cv2.GaussianBlur(room(rng, H, W), (0, 0), 9) * 0.5 + 20, 0, 255).astype(np.uint8)
    cv2.putText(still, "FOLLOW", (5, 150), cv2.FONT_HERSHEY_DUPLEX, 0.4, 255)
    canvas = np.repeat(still[None].astype(np.float32), n, axis=0)
    canvas[:, top : top + h, left : left + w] = picture
    return np.clip(canvas + rng.normal(0, noise, canvas.shape), 0, 255).astype(np.uint8)


@pytest.mark.parametrize("camera", [False, True])
@pytest.mark.parametrize("width", [101, 135, 180])
def test_picture_between_panels(width, camera):
    rng = np.random.default_rng(width)
    left = (W - width) // 2
    crop = find_moving_rectangle(shown(rng, dance(rng, H, width, camera=camera), left))
    assert left <= crop.x <= left + 3
    assert left + width - 3 <= crop.x + crop.width <= left + width
    assert (crop.y, crop.height) == (0, H)
    assert crop.x % 2 == crop.width % 2 == 0


def test_black_bars_above_and_below():
    rng = np.random.default_rng(1)
    frames = np.full((12, H, W), 16, np.uint8)
    frames[:, 31:149] = np.clip(dance(rng, 118, W, camera=True), 0, 255)
    crop = find_moving_rectangle(frames)
    assert (crop.x, crop.width) == (0, W)
    assert 31 <= crop.y <= 34 and 146 <= crop.y + crop.height <= 149
    assert crop.y % 2 == crop.height % 2 == 0


def test_moving_picture_off_centre():
    rng = np.random.default_rng(2)
    crop = find_moving_rectangle(shown(rng, dance(rng, H, 100, camera=True), 190))
    assert 190 <= crop.x <= 193 and 287 <= crop.x + crop.width <= 290


@pytest.mark.parametrize("camera", [False, True])
def test_no_panels_no_crop(camera):
    rng = np.random.default_rng(3)
    crop = find_moving_rectangle(np.clip(dance(rng, H, W, camera=camera), 0, 255).astype(np.uint8))
    assert (crop.x, crop.y, crop.width, crop.height) == (0, 0, W, H)


def test_edge_of_a_door_in_a_still_room_is_no_border():
    rng = np.random.default_rng(4)
    frames = dance(rng, H, W)
    frames[:, :, :40] = 250
    crop = find_moving_rectangle(np.clip(frames, 0, 255).astype(np.uint8))
    assert (crop.x, crop.width) == (0, W)


def test_still_and_odd_sized_frames():
    crop = find_moving_rectangle(np.full((5, 91, 163), 40, np.uint8))
    assert (crop.x, crop.y, crop.width, crop.height) == (0, 0, 162, 90)


def test_border_between_equally_bright_colours():
    frames = np.full((12, H, W), 120, np.uint8)
    for k in range(12):
        frames[k, 60:150, 130 + 4 * k : 150 + 4 * k] = 220
    tints = np.full((H, W, 2), 128, np.uint8)
    tints[:, 110:210, 0] = 160
    assert find_moving_rectangle(frames).width == W
    crop = find_moving_rectangle(frames, tints)
    assert 110 <= crop.x <= 114 and 206 <= crop.x + crop.width <= 210


def test_edges_among_what_moves_are_no_border():
    frames = np.full((12, H, W), 120, np.uint8)
    frames[:, :, 96:224] = 180  # a window behind the dancer
    for k in range(12):
        cv2.circle(frames[k], (50 + 20 * k, 100), 45, 20, -1)
    assert find_moving_rectangle(frames).width == W
