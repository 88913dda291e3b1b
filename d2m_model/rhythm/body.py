"""Input features of the network: from keypoints of any estimator at any frame rate, or from SMPL motion.

Keypoints of both layouts are mapped to COCO's 17, so that a model can read poses of estimators other than its corpus's. The
features are local in time: position and size are normalised by averages over a few seconds, not over the whole clip. So a
long dance, a dancer who moves around and a moving camera look like any other.
"""

import numpy as np
import torch
import torch.nn.functional as F

from d2m_model.nets.motion_features import fill_missing, smpl_features
from dataset_tools.lib.core.errors import UserError
from dataset_tools.lib.core.timebase import FPS
from dataset_tools.lib.shard_io.shard_format import MOTION_WIDTH

JOINTS = 17
FROM_BODY25 = (0, 16, 15, 18, 17, 5, 2, 6, 3, 7, 4, 12, 9, 13, 10, 14, 11)
"""For each of COCO's 17 keypoints its index in OpenPose's BODY_25."""
AVERAGED = 4 * FPS + 1
"""Frames over which position and size are averaged."""
POSE_FEATURES = 6 * JOINTS + 2
MOTION_FEATURES = 463
LEAST_FRAMES = 2


def coco17(pose: np.ndarray) -> np.ndarray:
    """Keypoints (T, J, 2 or 3) in px of 17 or 25 joints -> (T, 17, 3) float32: x px, y px, seen (0 or 1).

    A joint is seen where its confidence is above 0. Without confidences (two columns, or all 0) it is seen where its position is
    not (0, 0). Raises UserError for another shape and for numbers that are not finite.
    """
    pose = np.asarray(pose)
    if (
        pose.ndim != 3
        or pose.shape[1] not in (JOINTS, 25)
        or pose.shape[2] not in (2, 3)
        or pose.dtype.kind not in "fiu"
    ):
        raise UserError(
            f"pose must be numbers (frames, 17 or 25 joints, x y confidence), found {pose.dtype} {pose.shape}"
        )
    pose = pose.astype(np.float32)
    if not np.isfinite(pose).all():
        raise UserError("pose must be finite numbers; write 0, 0, 0 for a joint that was not seen")
    if pose.shape[1] == 25:
        pose = pose[:, FROM_BODY25]
    detected = (pose[..., :2] != 0).any(axis=-1)
    seen = pose[..., 2] > 0 if pose.shape[2] == 3 and (pose[..., 2] > 0).any() else detected
    return np.concatenate([pose[..., :2] * seen[..., None], seen[..., None]], axis=-1).astype(np.float32)


def resample(values: np.ndarray, fps: float) -> np.ndarray:
    """Resample values (T, ...) from `fps` to 30 frames per second, linearly: (T', ...)."""
    if fps == FPS or len(values) < 2:
        return values
    frames = max(LEAST_FRAMES, round(len(values) * FPS / fps))
    return at_times(torch.from_numpy(np.ascontiguousarray(values)), torch.arange(frames) * (fps / FPS)).numpy()


def at_times(values: torch.Tensor, frames: torch.Tensor) -> torch.Tensor:
    """Values (T, ...) at fractional `frames` (N,): linear between neighbours, constant beyond the ends."""
    frames = frames.clamp(0, len(values) - 1)
    low = frames.floor().long().clamp(max=max(0, len(values) - 2))
    high = (low + 1).clamp(max=len(values) - 1)
    part = (frames - low).to(values.dtype).reshape(-1, *[1] * (values.ndim - 1))
    return values[low] * (1 - part) + values[high] * part


def read_pose(pose: np.ndarray, fps: float = FPS) -> torch.Tensor:
    """Keypoints (T, J, 2 or 3) at `fps` to (T', 17, 3) at 30 fps: x px, y px with gaps filled in time, seen (0 or 1).

    Raises UserError as `coco17`, and for fewer than two frames or a frame rate outside 1..1000.
    """
    if not 1 <= fps <= 1000:
        raise UserError(f"fps must be 1 to 1000, found {fps}")
    known = coco17(pose)
    if len(known) < LEAST_FRAMES:
        raise UserError(f"pose must have at least {LEAST_FRAMES} frames, found {len(known)}")
    return torch.from_numpy(resample(fill_missing(known), fps))


def read_motion(motion: np.ndarray) -> torch.Tensor:
    """SMPL motion (T, R, 219), R steps per frame, to (T, 219): the first step of each frame. Raises UserError for another shape."""
    motion = np.asarray(motion)
    if motion.ndim != 3 or motion.shape[1] < 1 or motion.shape[2] != MOTION_WIDTH or not np.isfinite(motion).all():
        raise UserError(f"motion must be finite numbers (frames, steps, {MOTION_WIDTH}), found {motion.shape}")
    if len(motion) < LEAST_FRAMES:
        raise UserError(f"motion must have at least {LEAST_FRAMES} frames, found {len(motion)}")
    return torch.from_numpy(np.ascontiguousarray(motion[:, 0], np.float32))


def pose_features(pose: torch.Tensor) -> torch.Tensor:
    """Keypoints (B, T, 17, 3) from `read_pose` -> features (B, T, 104).

    Per joint: position relative to the body's centre in body sizes (2), velocity in body sizes per 0.1 s (2), its magnitude
    (1), whether it was seen (1). Per frame: the centre relative to its average over 4 s (2). Zeros without a dancer.
    """
    xy, seen = pose[..., :2], (pose[..., 2:] > 0.5).float()
    centre = xy.mean(dim=2)
    extent = (xy.amax(dim=2) - xy.amin(dim=2)).norm(dim=-1, keepdim=True)
    size = _averaged(extent).clamp(min=1e-3)[:, :, None]
    place = (xy - centre[:, :, None]) / size
    wander = (centre - _averaged(centre))[:, :, None] / size
    velocity = _velocity(xy) / size
    speed = velocity.norm(dim=-1, keepdim=True)
    anyone = (seen.sum(dim=(1, 2, 3)) > 0).float()[:, None, None]
    joints = torch.cat([place, velocity, speed, seen], dim=-1).flatten(2)
    return torch.cat([joints, wander.flatten(2)], dim=-1) * anyone


def motion_features(motion: torch.Tensor) -> torch.Tensor:
    """SMPL motion (B, T, 219) at 30 fps -> features (B, T, 463) of `smpl_features`."""
    return smpl_features(motion, FPS)


def _averaged(values: torch.Tensor) -> torch.Tensor:
    """Moving average over 4 s of (B, T, C), over fewer frames near the ends."""
    summed = F.avg_pool1d(values.transpose(1, 2), AVERAGED, 1, AVERAGED // 2, count_include_pad=False)
    return summed.transpose(1, 2)


def _velocity(xy: torch.Tensor) -> torch.Tensor:
    """Change per 0.1 s of (B, T, ...) as central differences."""
    before, after = torch.cat([xy[:, :1], xy[:, :-1]], dim=1), torch.cat([xy[:, 1:], xy[:, -1:]], dim=1)
    return (after - before) * (FPS / 2 * 0.1)
