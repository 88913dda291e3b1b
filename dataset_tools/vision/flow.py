"""Dense optical flow between the frames of a clip, as I3D's flow stream was trained on it."""

import cv2
import numpy as np

BOUND = 20.0
"""Pixels per frame: larger components are clipped (Carreira and Zisserman), then scaled to -1..1."""
METHODS = ("tvl1", "dis")
"""tvl1: Zach, Pock and Bischof 2007, what the published weights saw; dis: Kroeger et al. 2016, some 50 times faster."""


class Flow:
    """Flow from each frame to the next. One object per thread: OpenCV's solvers keep buffers."""

    def __init__(self, method: str):
        if method not in METHODS:
            raise ValueError(f"flow must be one of {', '.join(METHODS)}, found '{method}'")
        if method == "tvl1":
            self._solver = cv2.optflow.DualTVL1OpticalFlow_create()
        else:
            self._solver = cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)

    def between(self, gray: np.ndarray, following: np.ndarray) -> np.ndarray:
        """Two uint8 (H, W) gray frames -> float32 (2, H, W): x (right) and y (down) in pixels, unbounded."""
        flow = self._solver.calc(np.ascontiguousarray(gray), np.ascontiguousarray(following), None)
        return np.ascontiguousarray(flow.transpose(2, 0, 1))


def to_gray(frame: np.ndarray) -> np.ndarray:
    """uint8 (H, W, 3) RGB -> uint8 (H, W)."""
    return cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY)


def scale_flow(flow: np.ndarray) -> np.ndarray:
    """Pixels, any shape -> the network's input: clipped to +-20 px and scaled to -1..1, so that rest is exactly 0."""
    return np.clip(flow, -BOUND, BOUND) / np.float32(BOUND)
