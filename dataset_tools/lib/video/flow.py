"""Dense optical flow between frames, for the flow stream of I3D.

All methods have one interface: `prepare` a frame once, compute the flow `between` two prepared frames, `scale` it for the
network. The published flow weights were trained with TV-L1; DIS is a fast approximation of it. video_features uses the same
weights with RAFT, and RAFT is scaled here as there.
"""

from pathlib import Path

import cv2
import numpy as np

from dataset_tools.lib.core.errors import UserError

BOUND = 20.0
"""Pixels per frame. Larger components are clipped (Carreira and Zisserman 2017), then scaled to -1..1."""
SOLVERS = ("tvl1", "dis")
"""tvl1: Zach, Pock and Bischof 2007; dis: Kroeger et al. 2016, some 50 times faster."""
METHODS = (*SOLVERS, "raft")
"""raft: Teed and Deng 2020, a neural network; some seconds per frame on a CPU."""
RAFT_STRIDE, RAFT_LEAST, RAFT_UPDATES = 8, 128, 20
"""Sides are padded to a multiple of this many px; least px of a side; number of refinements, as in video_features."""


class Flow:
    """OpenCV's solvers. Use one object per thread, because they keep buffers."""

    def __init__(self, method: str):
        if method not in SOLVERS:
            raise ValueError(f"flow must be one of {', '.join(SOLVERS)}, found '{method}'")
        if method == "tvl1":
            self._solver = cv2.optflow.DualTVL1OpticalFlow_create()
        else:
            self._solver = cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)

    def prepare(self, frame: np.ndarray) -> np.ndarray:
        """uint8 (H, W, 3) RGB -> uint8 (H, W)."""
        return to_gray(frame)

    def between(self, gray: np.ndarray, following: np.ndarray) -> np.ndarray:
        """Two uint8 (H, W) gray frames -> float32 (2, H, W): x (right) and y (down) in pixels, unbounded."""
        flow = self._solver.calc(np.ascontiguousarray(gray), np.ascontiguousarray(following), None)
        return np.ascontiguousarray(flow.transpose(2, 0, 1))

    def scale(self, flow: np.ndarray) -> np.ndarray:
        """See `scale_flow`."""
        return scale_flow(flow)


class RaftFlow:
    """RAFT (torchvision's `raft_large`) with weights from `load_raft`, on the device of its network."""

    def __init__(self, network, updates: int = RAFT_UPDATES):
        self._network, self._updates = network, updates

    def prepare(self, frame: np.ndarray):
        """uint8 (H, W, 3) RGB, sides at least 128 px -> (tensor (1, 3, H', W') in -1..1, padded by its edge pixels to sides that
        are multiples of 8; (top padding, left padding, H, W))."""
        import torch

        height, width = frame.shape[:2]
        if min(height, width) < RAFT_LEAST:
            raise ValueError(f"raft needs frames of at least {RAFT_LEAST} px a side, found {width} x {height}")
        down, across = -height % RAFT_STRIDE, -width % RAFT_STRIDE
        edges = ((down // 2, down - down // 2), (across // 2, across - across // 2), (0, 0))
        padded = np.pad(frame, edges, mode="edge").transpose(2, 0, 1)[None].astype(np.float32) / 127.5 - 1
        return torch.from_numpy(np.ascontiguousarray(padded)), (edges[0][0], edges[1][0], height, width)

    def between(self, image, following) -> np.ndarray:
        """Two prepared frames -> float32 (2, H, W): x (right) and y (down) in pixels, unbounded."""
        import torch

        (a, (top, left, height, width)), (b, _) = image, following
        device = next(self._network.parameters()).device
        with torch.inference_mode():
            flow = self._network(a.to(device), b.to(device), num_flow_updates=self._updates)[-1][0]
        return flow[:, top : top + height, left : left + width].cpu().numpy()

    def scale(self, flow: np.ndarray) -> np.ndarray:
        """See `quantise_flow`."""
        return quantise_flow(flow)


def load_raft(path: Path):
    """torchvision's `raft_large` with the weights in `path`, in evaluation mode on the CPU. Runs no code from the file.

    Raises UserError if the file is missing, is not a plain state dict, or belongs to another network.
    """
    from torchvision.models.optical_flow import raft_large

    from dataset_tools.lib.core.tensor_file import read_tensors

    weights = read_tensors(path)
    network = raft_large(weights=None, progress=False)
    try:
        network.load_state_dict(dict(weights))
    except (RuntimeError, ValueError, KeyError, TypeError, AttributeError) as err:
        reason = " ".join(str(err).split())[:160]
        raise UserError(f"{path}: not weights of torchvision's raft_large: {reason}") from None
    return network.eval()


def to_gray(frame: np.ndarray) -> np.ndarray:
    """uint8 (H, W, 3) RGB -> uint8 (H, W)."""
    return cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY)


def scale_flow(flow: np.ndarray) -> np.ndarray:
    """Flow in pixels, any shape -> the network's input: clipped to ±20 px and scaled to -1..1. No motion is exactly 0."""
    return np.clip(flow, -BOUND, BOUND) / np.float32(BOUND)


def quantise_flow(flow: np.ndarray) -> np.ndarray:
    """Flow in pixels, any shape -> the network's input as in video_features: 2 v / 255 - 1 with v = round(128 + 255/40 flow) and
    the flow clipped to ±20 px. No motion becomes +0.0039, and +20 px becomes 1.0078."""
    steps = np.round(128 + np.float32(255 / (2 * BOUND)) * np.clip(flow, -BOUND, BOUND))
    return (2 * steps / 255 - 1).astype(np.float32)
