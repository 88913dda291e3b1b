"""A cut is where the scene changes for good; strobes, flashes, lights and motion are none."""

import cv2
import numpy as np
import pytest

from dataset_tools.clips.scene_cuts import CutFinder

FRAMES = 60


def room(seed):
    """(FRAMES, 72, 64) float: a textured room with a dancer who crosses it and shakes the camera a little."""
    rng = np.random.default_rng(seed)
    wall = cv2.GaussianBlur(rng.uniform(0, 255, (90, 80)).astype(np.float32), (0, 0), 3)
    wall = (wall - wall.mean()) * 5 + 110
    pictures = []
    for k in range(FRAMES):
        x, y = (4 + 3 * np.sin(np.array([k / 3, k / 2]))).astype(int)
        picture = np.clip(wall[y : y + 72, x : x + 64], 0, 255).copy()
        at = 2 + (19 * seed + k) % 50
        picture[20:65, at : at + 12] = 160
        pictures.append(picture)
    return np.array(pictures)


def cuts(pictures):
    finder = CutFinder()
    for picture in pictures:
        finder.add(np.clip(picture, 0, 255).astype(np.uint8))
    return finder.cuts()


def strobe(room):
    lit = np.arange(FRAMES) // 2 % 2
    return room * lit[:, None, None]


def flash(room):
    room[29:32] = 255
    return room


def lights(room):
    """Other exposure every ten frames, and a gradient of light from one side."""
    gain = np.where(np.arange(FRAMES) // 10 % 2, 0.35, 1.0)[:, None, None]
    return room * gain + np.linspace(0, 60, 64) * (1 - gain)


@pytest.mark.parametrize("effect", [lambda r: r, strobe, flash, lights])
def test_effects_and_motion_are_no_cuts(effect):
    assert cuts(effect(room(1))) == []


@pytest.mark.parametrize("effect", [lambda r: r, strobe, lights])
def test_each_new_scene_is_one_cut(effect):
    mixed = np.concatenate([room(1)[:20], room(2)[:25], room(3)[:15]])
    found = cuts(effect(mixed))
    assert len(found) == 2 and abs(found[0] - 20) <= 2 and abs(found[1] - 45) <= 2


def test_a_cut_under_a_flash_is_found():
    mixed = np.concatenate([room(1)[:30], room(2)[:30]])
    mixed[28:32] = 255
    assert len(cuts(mixed)) == 1


def test_few_and_empty_pictures():
    assert cuts([]) == [] and cuts(room(1)[:1]) == [] and cuts(0 * room(1)) == []
