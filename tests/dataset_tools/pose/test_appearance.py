"""Colours of body parts in painted pictures."""

import cv2
import numpy as np

from dataset_tools.pose.appearance import blend, colour_difference, compute_appearance
from tests.helpers.builders import STANDING

SKY, SHIRT, TROUSERS = (0.5, 0.25, 0.0), (1.0, 0.0, 0.0), (0.0, 0.0, 1.0)


def picture() -> tuple[np.ndarray, np.ndarray]:
    """(H, W, 3) float32 of someone in a shirt and trousers, and (17, 3)."""
    person = np.column_stack([100 + 200 * STANDING[:, 0], 230 - 200 * STANDING[:, 1], np.full(17, 0.8)])
    image = np.full((240, 200, 3), SKY, np.float32)
    at = lambda *joints: [tuple(np.rint(person[j, :2]).astype(int).tolist()) for j in joints]
    for hip, knee, ankle in ((11, 13, 15), (12, 14, 16)):
        for a, b in ((hip, knee), (knee, ankle)):
            cv2.line(image, *at(a, b), TROUSERS, 5)
    cv2.fillConvexPoly(image, np.array(at(5, 6, 12, 11)), SHIRT)
    return image, person


def test_parts_have_the_colours_they_were_painted_with():
    image, person = picture()
    person[16, 2] = 0  # an ankle is not found: that shin is unknown
    found = compute_appearance(image, np.stack([person, person]))
    assert (
        found.shape == (2, 10, 3) and found.dtype == np.float32 and np.array_equal(found[0], found[1], equal_nan=True)
    )
    np.testing.assert_allclose(found[0, 0], SHIRT, atol=0.1)
    np.testing.assert_allclose(found[0, 1:4], [TROUSERS] * 3, atol=0.01)
    assert np.isnan(found[0, 4]).all() and not np.isnan(found[0, [0, 1, 2, 3, 5, 6, 7, 8, 9]]).any()


def test_what_is_outside_the_picture_is_unknown():
    image, person = picture()
    person[:, 0] += 400
    assert np.isnan(compute_appearance(image, person[None])).all()
    assert compute_appearance(image, np.zeros((0, 17, 3))).shape == (0, 10, 3)


def test_unlikeness_compares_what_both_have():
    a, b = np.zeros((10, 3), np.float32), np.zeros((10, 3), np.float32)
    b[0], b[1] = (0, 0.6, 0.8), (9, 9, 9)
    b[2:8], a[8:] = np.nan, np.nan
    assert colour_difference(a, b) == (1 + 1.5) / 2
    a[1] = np.nan
    assert colour_difference(a, b) is None  # one part alone says little


def test_a_remembered_look_changes_slowly_and_learns_new_parts():
    before, now = np.zeros((3, 3)), np.ones((3, 3))
    before[1], now[2] = np.nan, np.nan
    assert np.allclose(blend(before, now, 0.1), [[0.1] * 3, [1] * 3, [0] * 3])
    assert blend(None, now, 0.1) is now
