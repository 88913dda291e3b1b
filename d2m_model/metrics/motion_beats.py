"""Motion beats: the moments at which a dancer almost stops."""

import numpy as np

from dataset_tools.lib.core.timebase import FPS

SMOOTHING = 2.5
"""Standard deviation in frames of the Gaussian that smooths the speed (5 frames at the 60 fps of Li et al., AIST++, 2021)."""


def joint_speed(pose: np.ndarray) -> np.ndarray:
    """Mean speed (T,) in px per frame of the joints of one dancer; pose (T, J, 3): x px, y px, confidence.

    Joints that are missing (confidence 0) in a frame or in the one before are left out. Frames without any joint are
    interpolated; the first frame has the value of the second. Zeros where no joint is ever seen twice in a row.
    """
    seen = (pose[1:, :, 2] > 0) & (pose[:-1, :, 2] > 0)
    step = np.linalg.norm(np.diff(pose[..., :2], axis=0), axis=-1)
    count = seen.sum(1)
    if not count.any():
        return np.zeros(len(pose))
    known = np.flatnonzero(count)
    speed = np.where(seen, step, 0).sum(1)[known] / count[known]
    return np.interp(np.arange(len(pose)) - 1, known, speed)


def motion_beats(pose: np.ndarray) -> np.ndarray:
    """Times (n,) in seconds of the local minima of one dancer's smoothed joint speed; pose (T, J, 3)."""
    from scipy.ndimage import gaussian_filter1d
    from scipy.signal import argrelmin

    speed = gaussian_filter1d(joint_speed(pose).astype(float), SMOOTHING, mode="nearest")
    return argrelmin(speed)[0] / FPS
