"""People in pictures: OpenPifPaf's network and CifCaf decoder over batches of frames of one size.

OpenPifPaf's own Predictor takes frames one by one through PIL images and, in batches, pads portrait frames to squares.
Here OpenCV scales a batch, padded only to the network's grid; network, decoding and coordinates are OpenPifPaf's.
"""

from collections.abc import Iterable, Iterator
from contextlib import closing
from pathlib import Path

import cv2
import numpy as np
import torch

from dataset_tools.lib.core.errors import UserError
from dataset_tools.lib.core.params import require
from dataset_tools.lib.parallel.prefetch import Prefetcher, prefetch
from dataset_tools.pose.appearance import appearance
from dataset_tools.pose.layouts import LEAST_KEYPOINTS, quantise, to_layout

MEAN = np.array([0.485, 0.456, 0.406], np.float32)  # of ImageNet, RGB, for values 0..1
STD = np.array([0.229, 0.224, 0.225], np.float32)
NORMAL = ((np.arange(256, dtype=np.float32)[:, None] / 255 - MEAN) / STD)[None]  # (1, 256, 3): of each value, a table
GRID = 16  # networks take 16 n + 1 pixels


class PoseEstimator:
    """Finds people in RGB frames.

    weights: a `*.pt` by `pose_net.save_network`, or a checkpoint in OpenPifPaf's own format (`*.pkl`).
    long_edge: px that a frame's longer side is scaled to; 0 leaves frames as they are.
    Thresholds of the decoder are process-wide in OpenPifPaf: the PoseEstimator made last sets them.

    Raises UserError for weights that are missing, broken, of another kind, or that would run code, and for a layout
    that they can't give: body25 has feet, which only whole-body weights find.
    """

    def __init__(self, weights: str | Path, *, long_edge: int = 257, layout: str = "coco17", batch_size: int = 8):
        require(long_edge >= 0, f"long_edge must be at least 0, found {long_edge}")
        require(batch_size >= 1, f"batch_size must be at least 1, found {batch_size}")
        from dataset_tools.pose import net as pose_net
        from dataset_tools.pose import pifpaf_compat

        weights = Path(weights)
        if weights.suffix == ".pt":
            network, about = pose_net.load_network(weights)
        else:
            network, about = pifpaf_compat.load_checkpoint(weights), {}
        pifpaf_compat.set_thresholds(**about.get("decoder", {}))
        self.joints = network.head_metas[0].n_fields
        self.decode = pifpaf_compat.PifPafDecoder(network.to(memory_format=torch.channels_last))
        self.long_edge = long_edge
        self.layout = layout
        self.batch_size = batch_size
        self._in_layout(np.zeros((0, self.joints, 3)))  # an unknown layout fails here
        if LEAST_KEYPOINTS[layout] > self.joints:
            raise UserError(
                f"{weights}: finds {self.joints} joints (COCO), no feet; layout {layout} needs the "
                f"{LEAST_KEYPOINTS[layout]} of whole-body weights such as pose_wholebody_k30"
            )

    def people(self, frames: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
        """For each frame, uint8 (H, W, 3) RGB and all of one size, the people in it, the most certain first.

        Yields float32 (N, J, 3): x px and y px of the frame (0 is the middle of the first pixel; 1/16 px steps),
        confidence 0..1 (1/256 steps). A joint that was not found is (0, 0, 0).

        Frames are read and scaled in one thread, go through the network in a second one, batch by batch, and become
        people in the caller's: three batches are under way at once.
        """
        for people, _ in self.found(self.begin(frames)):
            yield people

    def begin(self, frames: Iterable[np.ndarray]) -> Prefetcher:
        """Start both threads; what is `found` in what this returns is what is in `frames`. The network turns to the frames
        that were begun next as soon as it has seen these, while their last people are found."""
        scaled = prefetch(to_network(batch, self.long_edge) for batch in batched(frames, self.batch_size))
        return prefetch(self._seen(scaled))

    def found(self, begun: Prefetcher) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """What `people` yields, of frames that were begun before, each with the people's colours, see `appearance.appearance`."""
        with closing(begun):
            for images, fields, shrink, offset in begun:
                for image, annotations in zip(images.permute(0, 2, 3, 1).numpy(), self.decode(fields), strict=True):
                    keypoints = np.array([a.data for a in annotations], np.float64).reshape(-1, self.joints, 3)
                    colours = appearance(image, keypoints)
                    keypoints[..., :2] = (keypoints[..., :2] - offset + 0.5) * shrink - 0.5
                    yield self._in_layout(keypoints), colours

    def _seen(self, scaled: Prefetcher) -> Iterator[tuple]:
        with closing(scaled):
            for images, shrink, offset in scaled:
                yield images, self.decode.fields(images), shrink, offset

    def _in_layout(self, keypoints: np.ndarray) -> np.ndarray:
        return quantise(to_layout(keypoints, self.layout))


def batched(items: Iterable[np.ndarray], size: int) -> Iterator[list[np.ndarray]]:
    """Lists of `size` items, the last one shorter."""
    batch = []
    for item in items:
        batch.append(item)
        if len(batch) == size:
            yield batch
            batch = []
    if batch:
        yield batch


def to_network(frames: list[np.ndarray], long_edge: int) -> tuple[torch.Tensor, np.ndarray, np.ndarray]:
    """Frames uint8 (H, W, 3) as network input (B, 3, H', W'), and what leads back to their pixels:
    x = (x' - offset_x + 0.5) * shrink_x - 0.5, likewise y; shrink and offset are (2,)."""
    height, width = frames[0].shape[:2]
    scale = long_edge / max(height, width) if long_edge else 1.0
    inner = np.maximum(1, np.rint(np.array([width, height]) * scale)).astype(int)
    outer = -(-(inner - 1) // GRID) * GRID + 1
    left, top = (outer - inner) // 2
    images = np.zeros((len(frames), outer[1], outer[0], 3), np.float32)
    how = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    for image, frame in zip(images, frames):
        scaled = cv2.resize(frame, tuple(inner.tolist()), interpolation=how) if scale != 1 else frame
        cv2.LUT(scaled, NORMAL, image[top : top + inner[1], left : left + inner[0]])
    shrink = np.array([width, height]) / inner
    # the array is (B, H, W, 3) in memory, which is torch's channels_last
    return torch.from_numpy(images).permute(0, 3, 1, 2), shrink, np.array([left, top])
