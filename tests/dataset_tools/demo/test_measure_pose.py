"""PCK and identity switches of poses whose faults are known, and clips in which dancers change places."""

import numpy as np

from dataset_tools.demo.measure_pose import count_switches, measure, render_crossing, summarise
from tests.helpers.builders import STANDING

FRAMES, SIZE = 30, (400, 400)


def two_dancers():
    """True joints (T, 2, 17, 3): dancer 0 in front, 300 px tall; dancer 1 behind; all seen."""
    people = [
        np.column_stack([x + h * STANDING[:, 0], y - h * STANDING[:, 1], np.full(17, 2)])
        for x, h, y in ((120, 300, 390), (300, 280, 360))
    ]
    return np.repeat(np.array(people)[None], FRAMES, axis=0)


def found(truth):
    """Poses (T, 3, 17, 3) that agree with the truth, in its order, and an empty slot."""
    pose = np.zeros((FRAMES, 3, 17, 3), np.float32)
    pose[:, :2] = truth
    pose[:, :2, :, 2] = 0.8
    return pose


def test_faults_are_counted():
    truth = two_dancers()
    pose = found(truth)
    right = measure("a", pose, truth, SIZE)
    assert (right.right, right.visible, right.switches, right.primary, right.found) == (510, 510, 0, 0, 2)
    pose[:, 0, 9, 0] += 40  # px: a wrist further off than a tenth of the dancer's 276 px
    pose[:, 0, 10, 0] += 20  # and one nearer
    truth[:, 0, 3, 2] = 1  # an ear that nobody can see
    assert measure("a", pose, truth, SIZE).right == 510 - 2 * 30 and measure("a", pose, truth, SIZE).visible == 480


def test_switches_are_changes_of_slot_whatever_lies_between():
    truth = two_dancers()
    pose = found(truth)
    pose[10:20, 1] = 0  # not found for a while: no switch
    assert count_switches(pose, truth) == 0
    pose[20:] = pose[20:, [0, 2, 1]]  # and back in another slot: one
    assert count_switches(pose, truth) == 1
    crossed = found(truth)
    crossed[15:] = crossed[15:, [1, 0, 2]]
    assert count_switches(crossed, truth) == 2
    total = summarise([measure("a", crossed, truth, SIZE), measure("b", found(truth), truth, SIZE)])
    assert total["identity_switches"] == 2 and total["identity_switches_per_minute"] == 60.0
    assert total["pck@0.1"] == 0.75


def test_crossing_dancers_change_places():
    clip = render_crossing(0)
    _, first = next(clip)
    for _ in range(149):
        image, later = next(clip)
    assert image.shape == (360, 360, 3) and first.shape == (2, 17, 3)
    side = lambda people: np.sign(people[0, 11, 0] - people[1, 11, 0])
    assert side(first) == -side(later) != 0
