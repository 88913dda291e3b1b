"""Motion features: from keypoints in pixels, or SMPL motion, to the input of the motion encoders.

Music follows how a body moves, not where it stands in the picture. So `body_features` removes position and size and adds
velocities. Missing joints are interpolated in time; a window without a dancer is all zeros. `smpl_features` does the same for
corpora with SMPL motion (a translation and 24 rotation matrices per step).
"""

import numpy as np
import torch

from dataset_tools.lib.core.timebase import FPS

# Number of joints -> pairs of left and right keypoints, which a mirror exchanges.
MIRROR_PAIRS = {
    17: ((1, 2), (3, 4), (5, 6), (7, 8), (9, 10), (11, 12), (13, 14), (15, 16)),
    25: ((2, 5), (3, 6), (4, 7), (9, 12), (10, 13), (11, 14), (15, 16), (17, 18), (19, 22), (20, 23), (21, 24)),
}


# The same for the 24 joints of the SMPL body.
SMPL_PAIRS = ((1, 2), (4, 5), (7, 8), (10, 11), (13, 14), (16, 17), (18, 19), (20, 21), (22, 23))


def fill_missing(pose: np.ndarray) -> np.ndarray:
    """Interpolate missing joints (confidence 0) linearly between the frames in which they were seen.

    pose (T, J, 3): x px, y px, confidence. Returns the same shape; confidences do not change. A joint that was never seen gets
    the mean position of the other joints in each frame, so that it moves with the body and adds no motion of its own.
    """
    filled = np.array(pose, np.float32)
    frames = np.arange(len(filled))
    seen = filled[..., 2] > 0
    never = [j for j in range(filled.shape[1]) if not seen[:, j].any()]
    if len(never) == filled.shape[1]:
        return np.zeros_like(filled)
    for joint in range(filled.shape[1]):
        if joint not in never and not seen[:, joint].all():
            known = frames[seen[:, joint]]
            for axis in (0, 1):
                filled[:, joint, axis] = np.interp(frames, known, filled[known, joint, axis])
    if never:
        rest = [j for j in range(filled.shape[1]) if j not in never]
        filled[:, never, :2] = filled[:, rest, :2].mean(axis=1, keepdims=True)
    return filled


def mirrored(pose: np.ndarray, width: float) -> np.ndarray:
    """Pose (..., J, 3) in a picture `width` px wide, mirrored: x is flipped, left and right joints are exchanged."""
    order = np.arange(pose.shape[-2])
    for left, right in MIRROR_PAIRS[len(order)]:
        order[[left, right]] = order[[right, left]]
    result = np.array(pose[..., order, :], np.float32)
    result[..., 0] = np.where(result[..., 2] > 0, width - 1 - result[..., 0], 0)
    return result


def mirrored_motion(motion: np.ndarray) -> np.ndarray:
    """SMPL motion (..., 219), mirrored: x is flipped, left and right joints are exchanged."""
    order, flip = np.arange(24), np.array([-1, 1, 1], np.float32)
    for left, right in SMPL_PAIRS:
        order[[left, right]] = order[[right, left]]
    matrices = motion[..., 3:].reshape(*motion.shape[:-1], 24, 3, 3)[..., order, :, :] * np.outer(flip, flip)
    return np.concatenate([motion[..., :3] * flip, matrices.reshape(*motion.shape[:-1], 216)], axis=-1)


def smpl_features(motion: torch.Tensor, rate: int) -> torch.Tensor:
    """Features of the preset `fixed`: SMPL motion (B, M, 219) at `rate` steps a second -> (B, M, 463).

    Position relative to the window's mean (3), rotation matrices (216), the velocity of all of these per 0.1 s (219), and
    its magnitude for the body and each joint (25).
    """
    motion = torch.cat([motion[..., :3] - motion[..., :3].mean(dim=1, keepdim=True), motion[..., 3:]], dim=-1)
    velocity = _velocity(motion, rate)
    joints = velocity[..., 3:].unflatten(-1, (24, 9)).norm(dim=-1)
    return torch.cat([motion, velocity, velocity[..., :3].norm(dim=-1, keepdim=True), joints], dim=-1)


def _velocity(values: torch.Tensor, rate: int) -> torch.Tensor:
    """Change per 0.1 s of values (B, T, ...) at `rate` a second. Central differences: less noise than differences of
    neighbours, and no shift in time."""
    before = torch.cat([values[:, :1], values[:, :-1]], dim=1)
    after = torch.cat([values[:, 1:], values[:, -1:]], dim=1)
    return (after - before) * (rate / 2 * 0.1)


def body_features(pose: torch.Tensor) -> torch.Tensor:
    """Features of the preset `fixed`: keypoints (B, T, J, 3) with gaps filled -> (B, T, 6·J).

    Per joint: position relative to the mean of the window, in body heights (2), velocity in body heights per 0.1 s (2),
    its magnitude (1), and whether the joint was seen (1). All zeros for a window without a dancer.
    """
    seen = (pose[..., 2:] > 0).float()
    anyone = (seen.sum(dim=(1, 2, 3)) > 0).float()[:, None, None, None]
    xy = pose[..., :2]
    low, high = xy.amin(dim=2), xy.amax(dim=2)
    height = (high - low).norm(dim=-1).median(dim=1).values.clamp(min=1.0)[:, None, None, None]
    place = (xy - xy.mean(dim=(1, 2), keepdim=True)) / height
    velocity = _velocity(place, FPS)
    speed = velocity.norm(dim=-1, keepdim=True)
    return (torch.cat([place, velocity, speed, seen], dim=-1) * anyone).flatten(2)


def plain_coordinates(pose: torch.Tensor, width: torch.Tensor | float, height: torch.Tensor | float) -> torch.Tensor:
    """Features of the presets `paper` and `released`: keypoints (B, T, J, 3) -> (B, T, 3·J), x and y within -1..1.

    width, height: size of the picture in px, as numbers or (B, 1, 1, 1). Missing joints stay zero in all three values.
    """
    x, y, confidence = pose.split(1, dim=-1)
    known = (x != 0) | (y != 0) | (confidence > 0)
    return (torch.cat([2 * x / width - 1, 2 * y / height - 1, confidence], dim=-1) * known).flatten(2)
