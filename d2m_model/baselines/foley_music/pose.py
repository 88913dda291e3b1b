"""Dances as input of Foley Music: 22 frames per second, windows of 6 s, bodies as graphs of joints."""

import math

import numpy as np
import torch

from d2m_model.nets.motion_features import MIRROR_PAIRS, fill_missing
from dataset_tools.lib.core.timebase import FPS

POSE_FPS = 22
WINDOW = 132
"""Frames per window: 6 s."""
BONES = {
    17: ((0, 1), (0, 2), (1, 3), (2, 4), (0, 5), (0, 6), (5, 6), (5, 7), (7, 9), (6, 8), (8, 10), (5, 11), (6, 12), (11, 12),
         (11, 13), (13, 15), (12, 14), (14, 16)),
    25: ((0, 1), (0, 15), (0, 16), (15, 17), (16, 18), (1, 2), (2, 3), (3, 4), (1, 5), (5, 6), (6, 7), (1, 8), (8, 9), (9, 10),
         (10, 11), (8, 12), (12, 13), (13, 14), (14, 19), (19, 20), (14, 21), (11, 22), (22, 23), (11, 24)),
}  # fmt: skip
"""Number of joints -> pairs of connected joints, for the layouts coco17 and body25."""
CENTRE = {17: (5, 6), 25: (1,)}
"""Joints that count as the body's centre: both shoulders, or the neck."""
ANGLE, SCALE, SHIFT = 10.0, 0.1, 0.1
"""Limits of `random_move`: rotation in degrees, relative change of size, and shift in body heights."""


def partitions(joints: int) -> torch.Tensor:
    """(3, J, J) [k, v, w]: normalised adjacency from joint v to joint w, split into three groups k: v is as far from the body's
    centre as w (or is w), nearer, or farther (Yan et al., AAAI 2018, section 3.3, spatial configuration)."""
    near = np.eye(joints, dtype=bool)
    for a, b in BONES[joints]:
        near[a, b] = near[b, a] = True
    away = np.full(joints, joints)
    reached = np.isin(np.arange(joints), CENTRE[joints])
    for step in range(joints):
        away[reached & (away == joints)] = step
        reached = np.any(near[reached], axis=0)
    apart = np.sign(away[:, None] - away[None, :])
    share = near / near.sum(axis=0)
    return torch.tensor(np.stack([share * (apart == side) for side in (0, -1, 1)]), dtype=torch.float32)


def resample_pose(pose: np.ndarray) -> np.ndarray:
    """Pose (T, P, J, 3) at 30 fps -> (round(T · 22 / 30), J, 3): the primary dancer at 22 fps, gaps filled; at least one frame."""
    return at_speed(fill_missing(pose[:, 0]), FPS / POSE_FPS)


def at_speed(pose: np.ndarray, speed: float) -> np.ndarray:
    """Pose (T, J, 3) -> (round(T / speed), J, 3), interpolated; at least one frame."""
    at = np.arange(max(1, math.floor(len(pose) / speed + 0.5))) * speed
    at = np.minimum(at, len(pose) - 1)
    before = np.floor(at).astype(int)
    after, part = np.minimum(before + 1, len(pose) - 1), (at - before)[:, None, None]
    return ((1 - part) * pose[before] + part * pose[after]).astype(np.float32)


def in_mirror(pose: np.ndarray) -> np.ndarray:
    """Pose (T, J, 3), mirrored at x = 0, with left and right joints exchanged."""
    order = list(range(pose.shape[1]))
    for left, right in MIRROR_PAIRS[len(order)]:
        order[left], order[right] = right, left
    return pose[:, order] * np.array([-1, 1, 1], np.float32)


def window(pose: np.ndarray, start: int) -> tuple[np.ndarray, int]:
    """A window (132, J, 3) of a pose (T, J, 3) from frame `start` on, and the number of its frames before the dance ends.

    Positions are relative to the window's mean, in body heights; the third value is the confidence. All zeros after the end of
    the dance and without a dancer.
    """
    part = pose[start : start + WINDOW]
    out = np.zeros((WINDOW, *pose.shape[1:]), np.float32)
    xy, seen = part[..., :2], part[..., 2:]
    if seen.any():
        height = max(1.0, float(np.median(np.linalg.norm(xy.max(axis=1) - xy.min(axis=1), axis=-1))))
        out[: len(part)] = np.concatenate([(xy - xy.mean(axis=(0, 1))) / height, seen], axis=-1)
    return out, len(part)


def random_move(pose: torch.Tensor, random: torch.Generator) -> torch.Tensor:
    """Poses (B, T, J, 3) seen by a moving camera (Yan et al., AAAI 2018, section 4.1): rotated, scaled and shifted by amounts that
    change linearly from one random draw at the first frame to another at the last."""
    size, frames = pose.shape[:2]
    ends = 2 * torch.rand(size, 4, 2, generator=random) - 1
    way = torch.linspace(0, 1, frames)[None, None]
    turn, scale, *shift = (ends[..., :1] * (1 - way) + ends[..., 1:] * way).unbind(1)  # each (B, T)
    turn, scale = turn * math.radians(ANGLE), 1 + scale * SCALE
    x, y, seen = pose.unbind(-1)
    cos, sin = (scale * turn.cos())[..., None], (scale * turn.sin())[..., None]
    right, down = (SHIFT * s[..., None] for s in shift)
    return torch.stack([cos * x - sin * y + right, sin * x + cos * y + down, seen], dim=-1)
