"""Forward kinematics of a dancer standing on a floor: joint angles to 3D joints.

World frame, in body heights: +x is the viewer's right, +y up, +z towards the viewer; the floor is y = 0. A dancer with
yaw 0 faces the viewer, so the dancer's left side is at +x.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

_BODY_DOFS = {
    "yaw": (-np.inf, np.inf),  # turning on the spot is free
    "roll": (-28.0, 28.0),
    "pitch": (-15.0, 38.0),
    "hyaw": (-45.0, 45.0),
    "hpitch": (-25.0, 25.0),
    "hroll": (-25.0, 25.0),
    "sway": (-12.0, 12.0),
    "jump": (0.0, 0.12),
    "x": (-0.6, 0.6),
}
_SIDE_DOFS = {
    "ab": (-12.0, 172.0),  # shoulder abduction: 0 hangs, 90 is a T-pose, 172 points up
    "fl": (-50.0, 115.0),  # shoulder flexion, to the front
    "el": (0.0, 142.0),  # elbow flexion
    "tw": (-140.0, 140.0),  # twist of the upper arm: where the bent forearm points
    "hab": (-8.0, 75.0),  # hip abduction
    "hfl": (-40.0, 100.0),  # hip flexion, to the front
    "kn": (0.0, 125.0),  # knee flexion
}

DOF_RANGES: dict[str, tuple[float, float]] = _BODY_DOFS | {
    side + name: limits for side in "lr" for name, limits in _SIDE_DOFS.items()
}
"""Lowest and highest value of each degree of freedom: degrees, but `jump` and `x` in body heights."""

DOFS: tuple[str, ...] = tuple(DOF_RANGES)
"""Names of the last axis of every `angles` array, in order; D = len(DOFS)."""

# COCO's 17 keypoints in their order, then joints that are only needed for drawing.
(
    NOSE,
    LEYE,
    REYE,
    LEAR,
    REAR,
    LSHOULDER,
    RSHOULDER,
    LELBOW,
    RELBOW,
    LWRIST,
    RWRIST,
    LHIP,
    RHIP,
    LKNEE,
    RKNEE,
    LANKLE,
    RANKLE,
) = range(17)
LHAND, RHAND, LTOE, RTOE, PELVIS, CHEST, HEAD = range(17, 24)
COCO_JOINTS = 17
JOINTS = 24

FACE_OFFSETS = {  # in head radii, in the head's frame
    NOSE: (0.0, -0.10, 1.00),
    LEYE: (0.36, 0.20, 0.88),
    REYE: (-0.36, 0.20, 0.88),
    LEAR: (0.95, 0.02, -0.05),
    REAR: (-0.95, 0.02, -0.05),
}
ANKLE_HEIGHT = 0.025


@dataclass(frozen=True)
class Body:
    """Bone lengths and half widths in fractions of the standing height, and one factor for all thicknesses."""

    hips: float = 0.072
    shoulders: float = 0.112
    spine: float = 0.30
    neck: float = 0.088
    head: float = 0.070
    upper_arm: float = 0.165
    forearm: float = 0.152
    hand: float = 0.036
    thigh: float = 0.242
    shin: float = 0.238
    foot: float = 0.078
    girth: float = 1.0

    @property
    def height(self) -> float:
        """Height from the floor to the top of the head when standing straight; within 5 % of 1."""
        return ANKLE_HEIGHT + self.shin + self.thigh + self.spine + 0.02 + self.neck + 1.1 * self.head

    @staticmethod
    def random(rng: np.random.Generator) -> "Body":
        """A random body of ordinary proportions, from slim to stout."""
        u = rng.uniform
        return Body(
            hips=u(0.060, 0.085), shoulders=u(0.095, 0.130), spine=u(0.28, 0.32), neck=u(0.076, 0.095),
            head=u(0.060, 0.080), upper_arm=u(0.150, 0.178), forearm=u(0.138, 0.163), hand=u(0.032, 0.040),
            thigh=u(0.228, 0.255), shin=u(0.222, 0.250), foot=u(0.066, 0.092), girth=u(0.8, 1.35),
        )  # fmt: skip


class Posture(NamedTuple):
    """Positions of the joints (..., 24, 3) in body heights; `head` and `torso` (..., 3, 3), whose columns are their axes."""

    joints: np.ndarray
    head: np.ndarray
    torso: np.ndarray


def rotation(axis: str, degrees: np.ndarray | float) -> np.ndarray:
    """Right-handed rotations (..., 3, 3) about one axis ("x", "y", "z") by angles of any shape (...), in degrees."""
    angle = np.deg2rad(np.asarray(degrees, dtype=float))
    i, j = {"x": (1, 2), "y": (2, 0), "z": (0, 1)}[axis]
    matrix = np.zeros((*angle.shape, 3, 3))
    matrix[..., 3 - i - j, 3 - i - j] = 1.0
    matrix[..., i, i] = matrix[..., j, j] = np.cos(angle)
    matrix[..., i, j], matrix[..., j, i] = -np.sin(angle), np.sin(angle)
    return matrix


def clip_angles(angles: np.ndarray) -> np.ndarray:
    """Limit (..., D) angles to DOF_RANGES."""
    limits = np.array([DOF_RANGES[name] for name in DOFS])
    return np.clip(angles, limits[:, 0], limits[:, 1])


def forward(body: Body, angles: np.ndarray) -> Posture:
    """Forward kinematics of angles (..., D) in the order of DOFS, with any leading axes (time, dancers, none).

    The lowest heel or toe is on the floor (y = 0), raised by `jump`. The body is moved sideways by `x`.
    """
    angles = np.asarray(angles, dtype=float)
    if angles.shape[-1] != len(DOFS):
        raise ValueError(f"angles: expected a last axis of {len(DOFS)} degrees of freedom, found shape {angles.shape}")
    a = {name: angles[..., k] for k, name in enumerate(DOFS)}
    joints = np.zeros((*angles.shape[:-1], JOINTS, 3))

    pelvis = rotation("y", a["yaw"]) @ rotation("z", a["sway"])
    torso = pelvis @ rotation("z", a["roll"]) @ rotation("x", a["pitch"])
    head = torso @ rotation("y", a["hyaw"]) @ rotation("x", a["hpitch"]) @ rotation("z", a["hroll"])
    chest = joints[..., CHEST, :] = torso @ (0.0, body.spine, 0.0)
    skull = chest + torso @ (0.0, 0.02, 0.005) + head @ (0.0, body.neck, 0.008)
    joints[..., HEAD, :] = skull
    for joint, offset in FACE_OFFSETS.items():
        joints[..., joint, :] = skull + head @ (body.head * np.array(offset))

    for side, sign, shift in (("l", 1.0, 0), ("r", -1.0, 1)):  # left and right joints are neighbours in every list
        shoulder = chest + torso @ (sign * body.shoulders, -0.01, 0.0)
        upper = torso @ rotation("z", sign * a[side + "ab"]) @ rotation("x", -a[side + "fl"])
        lower = upper @ rotation("y", sign * a[side + "tw"]) @ rotation("x", -a[side + "el"])
        elbow = shoulder + upper @ (0.0, -body.upper_arm, 0.0)
        wrist = elbow + lower @ (0.0, -body.forearm, 0.0)
        joints[..., LSHOULDER + shift, :] = shoulder
        joints[..., LELBOW + shift, :] = elbow
        joints[..., LWRIST + shift, :] = wrist
        joints[..., LHAND + shift, :] = wrist + lower @ (0.0, -body.hand, 0.0)

        hip = pelvis @ (sign * body.hips, 0.0, 0.0)
        thigh = pelvis @ rotation("z", sign * a[side + "hab"]) @ rotation("x", -a[side + "hfl"])
        shin = thigh @ rotation("x", a[side + "kn"])
        knee = hip + thigh @ (0.0, -body.thigh, 0.0)
        ankle = knee + shin @ (0.0, -body.shin, 0.0)
        level = np.clip(
            a[side + "hfl"] - a[side + "kn"], -45.0, 30.0
        )  # the ankle bends, so that the soles rest on the floor
        foot = shin @ rotation("x", level) @ rotation("y", np.full(angles.shape[:-1], sign * 20.0))
        joints[..., LHIP + shift, :] = hip
        joints[..., LKNEE + shift, :] = knee
        joints[..., LANKLE + shift, :] = ankle
        joints[..., LTOE + shift, :] = ankle + foot @ (0.0, -ANKLE_HEIGHT + 0.008, body.foot)

    soles = joints[..., [LANKLE, RANKLE, LTOE, RTOE], 1] - (ANKLE_HEIGHT, ANKLE_HEIGHT, 0.008, 0.008)
    joints[..., 1] += (a["jump"] - soles.min(axis=-1))[..., None]
    joints[..., 0] += a["x"][..., None]
    return Posture(joints, head, torso)
