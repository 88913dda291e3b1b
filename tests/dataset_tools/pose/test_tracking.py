"""Identities over time: who is who when dancers cross, who is the primary one, what short gaps become."""

import numpy as np
import pytest

from dataset_tools.pose.tracking import track
from tests.helpers.builders import STANDING

WIDTH, HEIGHT = 360, 640


def person(x: float, height: float = 300.0, y: float = 600.0, confidence: float = 0.75) -> np.ndarray:
    """(17, 3): a standing figure with its middle at x and its feet at y px."""
    return np.column_stack([x + height * STANDING[:, 0], y - height * STANDING[:, 1], np.full(17, confidence)]).astype(
        np.float32
    )


def middle(pose: np.ndarray) -> np.ndarray:
    """Mean x px of every slot's joints in every frame, (T, P)."""
    return pose[..., 0].mean(-1)


def test_two_dancers_keep_their_identity_when_they_cross_and_one_hides_the_other():
    frames, hidden = 60, range(27, 33)
    right_going, left_going = np.linspace(60, 300, frames), np.linspace(300, 60, frames)
    detections = []
    for t in range(frames):
        people = [person(right_going[t], y=615), person(left_going[t], height=280)]
        detections.append(np.array(people[:1] if t in hidden else people[:: 1 if t % 2 else -1]))
    pose = track(detections, WIDTH, HEIGHT, max_people=3, gap_frames=8)
    assert pose.shape == (frames, 3, 17, 3) and pose.dtype == np.float32
    x = middle(pose)
    offset = STANDING[:, 0].mean()
    assert np.abs(x[:, 0] - right_going - 300 * offset).max() < 0.05  # the foremost is the primary one
    assert np.abs(x[:, 1] - left_going - 280 * offset).max() < 0.05
    assert not pose[:, 2].any()


def test_half_a_dancer_found_twice_takes_nobodys_identity():
    detections = [np.array([person(100), person(250)]) for _ in range(40)]
    halves = np.array([person(100), person(100), person(250)])
    halves[0, 9:], halves[1, :9] = 0, 0  # one frame in which the network saw an upper and a lower body
    detections[20] = halves
    pose = track(detections, WIDTH, HEIGHT)
    assert np.array_equal((pose[..., 2] > 0).any(axis=(0, 2)), [True, True, False, False, False])
    assert (pose[:20, :2, :, 2] > 0).all() and (pose[21:, :2, :, 2] > 0).all()


def test_who_comes_out_from_behind_another_is_the_hidden_one_not_the_seen_one_jumping():
    """Where one of two is found in the frame in which they part, it is the one who is nearer to where each was going."""
    detections = []
    for t in range(60):
        front, rear = person(150 + 0.5 * t, 300, y=615), person(255 - 3 * t, 280)
        people = [front] if 22 <= t < 34 else [rear] if t == 34 else [front, rear]
        detections.append(np.array(people))
    x = middle(track(detections, WIDTH, HEIGHT, gap_frames=0))[:, :2] - STANDING[:, 0].mean() * np.array([300, 280])
    assert x[50] == pytest.approx([175, 105], abs=1) and x[10] == pytest.approx([155, 225], abs=1)
    assert x[34, 1] == pytest.approx(153, abs=1)


def test_colours_tell_who_came_out_where_motion_cannot():
    """Two walk towards each other, nobody is found for a moment, and both have turned back: their motion says crossed."""
    red, blue, unseen = np.zeros((10, 3)), np.zeros((10, 3)), np.full((10, 3), np.nan)
    red[:, 0], blue[:, 2] = 1.5, 1.5
    people, colours = [], []
    for t in range(50):
        away = 8 + 4 * abs(t - 25)  # px from the middle
        found = [] if 21 < t < 29 else [person(180 - away, 300, y=615), person(180 + away, 280)]
        people.append(np.array(found).reshape(-1, 17, 3))
        colours.append(np.array([red, blue][: len(found)]).reshape(-1, 10, 3))
    halfway = 29  # the first frame after: only half of the red one's parts are found
    colours[halfway] = np.array([np.where(np.arange(10)[:, None] < 5, red, unseen), blue])
    left, right = middle(track(zip(people, colours), WIDTH, HEIGHT, gap_frames=0))[[10, 45], :2].T
    assert (left < 180).all() and (right > 180).all()
    crossed = middle(track(people, WIDTH, HEIGHT, gap_frames=0))[:, :2]
    assert crossed[10, 0] < 180 < crossed[45, 0]  # without them the motion is believed


def primary_x(*people_per_frame) -> float:
    """Mean x px of the shoulders of slot 0 in the first frame: where the dancer stands."""
    pose = track([np.array(people) for people in people_per_frame], WIDTH, HEIGHT)
    return pose[0, 0, 5:7, 0].mean()


def test_primary_is_the_foremost_of_the_large_ones():
    wide = person(250, 300, y=560)
    wide[9, 0] += 60  # an arm stretched out makes the box larger, not the dancer nearer
    front = person(100, 300, y=600)
    assert primary_x(*[[wide, front]] * 10) == pytest.approx(100, abs=1)
    cut = person(100, 300, y=600)
    cut[15:] = 0  # feet below the picture: nearer than anyone whose feet are in it
    assert primary_x(*[[person(250, 290, y=610), cut]] * 10) == pytest.approx(100, abs=1)
    passer_by = person(100, 120, y=635)  # lowest, but far too small
    assert primary_x(*[[person(250, 300), passer_by]] * 10) == pytest.approx(250, abs=1)
    near_but_brief = [[person(100, 200), person(250, 320, y=620)]] * 6 + [[person(100, 200)]] * 34
    assert primary_x(*near_but_brief) == pytest.approx(100, abs=1)


def test_of_dancers_side_by_side_the_central_one_is_primary():
    equals = [np.array([person(60, 303), person(190, 300), person(330, 301)])] * 10
    x = middle(track(equals, WIDTH, HEIGHT, max_people=2))
    assert x[0, 0] == pytest.approx(190, abs=1) and x[0, 1] == pytest.approx(60, abs=1)


def test_short_gaps_of_a_joint_are_interpolated_and_marked_by_half_the_confidence():
    detections = [np.array([person(100 + 4 * t)]) for t in range(20)]
    for t in (5, 6, 7):
        detections[t][0, 9] = 0  # a wrist, for three frames
    detections[12] = np.zeros((0, 17, 3), np.float32)  # everything, for one
    filled = track(detections, WIDTH, HEIGHT, gap_frames=3)
    truth = np.array([person(100 + 4 * t) for t in range(20)])
    assert np.allclose(filled[:, 0, :, :2], truth[..., :2], atol=0.04)
    assert np.allclose(filled[5:8, 0, 9, 2], 0.375) and np.allclose(filled[12, 0, :, 2], 0.375)
    kept = track(detections, WIDTH, HEIGHT, gap_frames=2)
    assert not kept[5:8, 0, 9].any() and kept[12, 0].all()
    assert not track(detections, WIDTH, HEIGHT, gap_frames=0)[12].any()


def test_a_dancer_who_comes_back_keeps_the_slot_and_brief_errors_get_none():
    away = set(range(20, 50))
    detections = []
    for t in range(80):
        people = (
            [person(100, 320)]
            + ([person(260, 250)] if t not in away else [])
            + ([person(330, 60, 80)] if t in (3, 4) else [])
        )
        detections.append(np.array(people))
    pose = track(detections, WIDTH, HEIGHT)
    seen = (pose[..., 2] > 0).any(-1)
    assert seen[:, 0].all()
    assert np.array_equal(seen[:, 1], [t not in away for t in range(80)])
    assert not seen[:, 2:].any()


def test_nobody_and_nothing():
    empty = np.zeros((0, 17, 3), np.float32)
    assert not track([empty] * 4, WIDTH, HEIGHT, max_people=2).any()
    with pytest.raises(ValueError, match="no frames"):
        track([], WIDTH, HEIGHT)
    assert track([np.array([person(100)])], WIDTH, HEIGHT).any()  # a single frame is enough for itself


@pytest.mark.parametrize("every", [2, 3])
def test_between_two_looks_joints_move_in_straight_lines(every):
    """Two dancers cross in 60 frames, and each `every`th of them was looked at."""
    frames = 60
    right_going, left_going = np.linspace(60, 300, frames), np.linspace(300, 60, frames)
    detections = [
        np.array([person(right_going[t], y=615), person(left_going[t], height=280)]) for t in range(0, frames, every)
    ]
    pose = track(detections, WIDTH, HEIGHT, max_people=3, every=every)
    assert pose.shape == (frames, 3, 17, 3)
    looked = slice(0, frames - every + 1)
    x, offset = middle(pose), STANDING[:, 0].mean()
    assert np.abs(x[looked, 0] - right_going[looked] - 300 * offset).max() < 0.1
    assert np.abs(x[looked, 1] - left_going[looked] - 280 * offset).max() < 0.1
    assert np.array_equal(pose[-every:], np.repeat(pose[-every][None], every, axis=0)), (
        "nothing is known after the last"
    )
    assert (pose[:, :2, :, 2] == 0.75).all(), "straight lines keep the confidence"


def test_a_joint_that_one_of_two_looks_missed_is_unknown_between_them():
    people = [person(100 + 2 * t) for t in range(12)]
    for t in range(4, 12):
        people[t][9] = 0
    pose = track([p[None] for p in people], WIDTH, HEIGHT, max_people=1, every=2)
    assert pose.shape == (24, 1, 17, 3)
    assert (pose[:7, 0, 9, 2] > 0).all() and not pose[7:, 0, 9].any()
    assert (pose[:, 0, 8, 2] > 0).all()
