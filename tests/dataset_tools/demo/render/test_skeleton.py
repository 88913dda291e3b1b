"""Forward kinematics on postures whose joints can be computed by hand."""

import numpy as np
import pytest

from dataset_tools.demo.render import skeleton as sk
from dataset_tools.demo.render.skeleton import DOF_RANGES, DOFS, Body, clip_angles, forward

BODY = Body()


def pose(**degrees) -> np.ndarray:
    """Angles (D,) of a dancer who stands still but for `degrees`."""
    angles = np.zeros(len(DOFS))
    for name, value in degrees.items():
        angles[DOFS.index(name)] = value
    return angles


def joint(which: int, **degrees) -> np.ndarray:
    return forward(BODY, pose(**degrees)).joints[which]


def test_dofs_are_the_contract():
    sides = [side + name for side in "lr" for name in ("ab", "fl", "el", "tw", "hab", "hfl", "kn")]
    assert list(DOFS) == ["yaw", "roll", "pitch", "hyaw", "hpitch", "hroll", "sway", "jump", "x", *sides]
    assert all(low < high for low, high in DOF_RANGES.values())


def test_standing_dancer_faces_the_viewer_with_both_feet_on_the_floor():
    joints = forward(BODY, pose()).joints
    np.testing.assert_allclose(joints[[sk.LANKLE, sk.RANKLE], 1], sk.ANKLE_HEIGHT)
    np.testing.assert_allclose(joints[sk.PELVIS], (0, sk.ANKLE_HEIGHT + BODY.shin + BODY.thigh, 0))
    assert joints[sk.LSHOULDER, 0] > 0 > joints[sk.RSHOULDER, 0]  # the dancer's left is the viewer's right
    assert joints[sk.NOSE, 2] > joints[sk.LEAR, 2]  # +z is towards the viewer
    assert joints[sk.LEYE, 1] == pytest.approx(BODY.height, abs=0.1)


def test_t_pose_stretches_the_arms_sideways():
    for side, shoulder, wrist, sign in (("l", sk.LSHOULDER, sk.LWRIST, 1), ("r", sk.RSHOULDER, sk.RWRIST, -1)):
        joints = forward(BODY, pose(**{side + "ab": 90})).joints
        reach = (sign * (BODY.upper_arm + BODY.forearm), 0, 0)
        np.testing.assert_allclose(joints[wrist] - joints[shoulder], reach, atol=1e-12)


def test_arm_up_and_arm_forward():
    up = joint(sk.LWRIST, lab=172) - joint(sk.LSHOULDER, lab=172)
    assert up[1] > 0.98 * (BODY.upper_arm + BODY.forearm)
    ahead = joint(sk.RWRIST, rfl=90) - joint(sk.RSHOULDER, rfl=90)
    np.testing.assert_allclose(ahead, (0, 0, BODY.upper_arm + BODY.forearm), atol=1e-12)


def test_bent_elbow_brings_the_hand_forward():
    forearm = joint(sk.LWRIST, lel=90) - joint(sk.LELBOW, lel=90)
    np.testing.assert_allclose(forearm, (0, 0, BODY.forearm), atol=1e-12)


def test_squat_lowers_the_pelvis_and_keeps_the_feet_on_the_floor():
    squat = pose(lhfl=60, rhfl=60, lkn=120, rkn=120)
    joints = forward(BODY, squat).joints
    lowered = joint(sk.PELVIS)[1] - joints[sk.PELVIS, 1]
    assert lowered == pytest.approx((BODY.thigh + BODY.shin) * 0.5, abs=0.05)
    soles = joints[[sk.LANKLE, sk.RANKLE, sk.LTOE, sk.RTOE], 1]
    assert soles.min() == pytest.approx(0.008)  # on the toes: their thickness above the floor


def test_one_lifted_knee_leaves_the_other_foot_planted():
    joints = forward(BODY, pose(lhfl=80, lkn=80)).joints
    assert joints[sk.RANKLE, 1] == pytest.approx(sk.ANKLE_HEIGHT)
    assert joints[sk.LANKLE, 1] > 0.15


def test_jump_and_travel_move_the_whole_body():
    still, moved = forward(BODY, pose(lab=40)).joints, forward(BODY, pose(lab=40, jump=0.1, x=-0.3)).joints
    np.testing.assert_allclose(moved - still, np.broadcast_to((-0.3, 0.1, 0), still.shape), atol=1e-12)


def test_half_turn_swaps_sides_and_hides_the_face():
    posture = forward(BODY, pose(yaw=180))
    assert posture.joints[sk.LSHOULDER, 0] < 0 and posture.joints[sk.NOSE, 2] < 0
    np.testing.assert_allclose(posture.head[:, 2], (0, 0, -1), atol=1e-12)


def test_bones_keep_their_lengths_in_any_pose_and_time_is_vectorised():
    rng = np.random.default_rng(3)
    body = Body.random(rng)
    angles = clip_angles(rng.normal(0, 80, (20, 2, len(DOFS))))
    joints = forward(body, angles).joints
    assert joints.shape == (20, 2, sk.JOINTS, 3)
    for a, b, length in (
        (sk.LSHOULDER, sk.LELBOW, body.upper_arm), (sk.RELBOW, sk.RWRIST, body.forearm), (sk.LHIP, sk.LKNEE, body.thigh),
        (sk.RKNEE, sk.RANKLE, body.shin), (sk.LHIP, sk.RHIP, 2 * body.hips), (sk.LSHOULDER, sk.RSHOULDER, 2 * body.shoulders),
    ):  # fmt: skip
        np.testing.assert_allclose(np.linalg.norm(joints[..., a, :] - joints[..., b, :], axis=-1), length)
    np.testing.assert_allclose(joints[7, 1], forward(body, angles[7, 1]).joints)


def test_random_bodies_stand_about_one_high():
    rng = np.random.default_rng(0)
    assert all(0.9 < Body.random(rng).height < 1.08 for _ in range(100))


def test_wrong_number_of_angles_is_named():
    with pytest.raises(ValueError, match="23 degrees of freedom"):
        forward(BODY, np.zeros((4, 5)))
