"""Data augmentation of keypoints: other estimators, hidden parts of the body, moving cameras.

Every function takes and returns a batch of keypoints (B, N, 17, 3): x px, y px, seen (0 or 1); `rng` draws the changes.
"""

import torch

from d2m_model.nets.motion_features import MIRROR_PAIRS
from d2m_model.rhythm.body import JOINTS
from dataset_tools.lib.core.timebase import FPS

HALVES = (tuple(range(11, 17)), tuple(range(13, 17)), (15, 16), tuple(range(5)), (7, 8, 9, 10), (5, 7, 9, 11, 13, 15))
"""Groups of joints that may be hidden together: legs, shins, ankles, face, arms, one side."""
MIRRORED = torch.arange(JOINTS)
for left, right in MIRROR_PAIRS[JOINTS]:
    MIRRORED[[left, right]] = MIRRORED[[right, left]]


def augment(pose: torch.Tensor, rng: torch.Generator) -> torch.Tensor:
    """Apply all augmentations, each at random."""
    pose = mirror(pose, rng)
    pose = camera(pose, rng)
    pose = noise(pose, rng)
    pose = smooth(pose, rng)
    pose = lapses(pose, rng)
    return missing(pose, rng)


def _uniform(rng: torch.Generator, low: float, high: float, *shape: int) -> torch.Tensor:
    return low + (high - low) * torch.rand(*shape, generator=rng)


def _extent(pose: torch.Tensor) -> torch.Tensor:
    """(B, 1, 1, 1) typical size of the bodies in px."""
    xy = pose[..., :2]
    return (xy.amax(dim=2) - xy.amin(dim=2)).norm(dim=-1).median(dim=1).values.clamp(min=1e-3)[:, None, None, None]


def mirror(pose: torch.Tensor, rng: torch.Generator) -> torch.Tensor:
    """Mirror half of the dances."""
    flip = (torch.rand(len(pose), generator=rng) < 0.5)[:, None, None, None]
    return torch.where(flip, in_mirror(pose), pose)


def in_mirror(pose: torch.Tensor) -> torch.Tensor:
    """Keypoints (..., 17, 3), mirrored: x is negated, left and right joints are exchanged."""
    return pose[..., MIRRORED, :] * torch.tensor([-1.0, 1.0, 1.0])


def camera(pose: torch.Tensor, rng: torch.Generator) -> torch.Tensor:
    """A camera that is tilted by up to 8 degrees, sees the body from the side (narrower), pans, sways and zooms."""
    count, frames = pose.shape[:2]
    size, xy = _extent(pose), pose[..., :2]
    centre = xy.mean(dim=(1, 2), keepdim=True)
    angle = _uniform(rng, -0.14, 0.14, count)
    turn = torch.stack([torch.stack([angle.cos(), -angle.sin()], -1), torch.stack([angle.sin(), angle.cos()], -1)], -2)
    narrow = torch.stack([_uniform(rng, 0.75, 1.2, count), torch.ones(count)], -1)[:, None, None]
    xy = torch.einsum("bnjc,bdc->bnjd", (xy - centre) * narrow, turn)
    time = torch.linspace(-1, 1, frames)[None, :, None]
    moves = (torch.rand(count, 1, 1, generator=rng) < 0.5).float()
    pan = time * _uniform(rng, -0.6, 0.6, count, 1, 2)
    seconds = time * frames / FPS / 2
    sway = 0.03 * torch.sin(
        2 * torch.pi * (_uniform(rng, 0.1, 0.5, count, 1, 2) * seconds + torch.rand(count, 1, 2, generator=rng))
    )
    zoom = torch.exp(moves * time * _uniform(rng, -0.25, 0.25, count, 1, 1))[..., None]
    xy = xy * zoom + (moves * (pan + sway))[:, :, None] * size + centre
    return torch.cat([xy, pose[..., 2:]], dim=-1)


def noise(pose: torch.Tensor, rng: torch.Generator) -> torch.Tensor:
    """Errors of a pose estimator: jitter between frames of up to 1.5 % of the body size, and a constant offset of each joint."""
    jitter = torch.randn(pose[..., :2].shape, generator=rng) * _uniform(rng, 0, 0.015, len(pose), 1, 1, 1)
    offset = torch.randn(len(pose), 1, pose.shape[2], 2, generator=rng) * 0.02
    return torch.cat([pose[..., :2] + (jitter + offset) * _extent(pose), pose[..., 2:]], dim=-1)


def smooth(pose: torch.Tensor, rng: torch.Generator) -> torch.Tensor:
    """A third of the dances averaged over three frames, as by an estimator that smooths."""
    xy = pose[..., :2]
    around = torch.cat([xy[:, :1], xy, xy[:, -1:]], dim=1)
    averaged = (around[:, :-2] + xy + around[:, 2:]) / 3
    chosen = (torch.rand(len(pose), generator=rng) < 0.33)[:, None, None, None]
    return torch.cat([torch.where(chosen, averaged, xy), pose[..., 2:]], dim=-1)


def lapses(pose: torch.Tensor, rng: torch.Generator) -> torch.Tensor:
    """Joints that are lost for up to 0.7 s and interpolated linearly, as `fill_missing` does."""
    count, frames, joints = pose.shape[:3]
    length = torch.randint(3, 21, (count,), generator=rng).clamp(max=max(1, frames - 2))
    first = 1 + (torch.rand(count, generator=rng) * (frames - 1 - length).clamp(min=1)).long()
    last = (first + length).clamp(max=frames - 1)
    at = torch.arange(frames)[None]
    part = ((at - first[:, None] + 1) / (last - first + 1)[:, None]).clamp(0, 1)[..., None, None]
    rows = torch.arange(count)
    before, after = pose[rows, first - 1, :, :2][:, None], pose[rows, last, :, :2][:, None]
    line = before * (1 - part) + after * part
    within = (at >= first[:, None]) & (at < last[:, None])
    lost = torch.rand(count, joints, generator=rng) < 0.5 * torch.rand(count, 1, generator=rng) ** 2
    gone = (within[:, :, None] & lost[:, None])[..., None]
    return torch.cat([torch.where(gone, line, pose[..., :2]), pose[..., 2:] * ~gone], dim=-1)


def missing(pose: torch.Tensor, rng: torch.Generator) -> torch.Tensor:
    """Joints that are never seen: single ones, a group of `HALVES`, or none. A fifth of the dances marks all joints as seen."""
    count, joints = len(pose), pose.shape[2]
    kind = torch.rand(count, generator=rng)
    lost = torch.rand(count, joints, generator=rng) < 0.3 * torch.rand(count, 1, generator=rng)
    halves = torch.zeros(len(HALVES), joints, dtype=torch.bool)
    for row, members in enumerate(HALVES):
        halves[row, list(members)] = True
    half = halves[torch.randint(len(HALVES), (count,), generator=rng)]
    lost = torch.where((kind < 0.3)[:, None], lost, torch.where((kind < 0.6)[:, None], half, torch.zeros_like(half)))
    kept = (~lost)[:, None, :, None].float()
    middle = (pose[..., :2] * kept).sum(dim=2, keepdim=True) / kept.sum(dim=2, keepdim=True).clamp(min=1)
    xy = torch.where(kept > 0, pose[..., :2], middle)
    sure = (torch.rand(count, generator=rng) < 0.2)[:, None, None, None]
    return torch.cat([xy, torch.where(sure, torch.ones_like(pose[..., 2:]), pose[..., 2:] * kept)], dim=-1)
