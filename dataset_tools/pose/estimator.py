"""Find people in frames with OpenPifPaf's network and CifCaf decoder, in batches of frames of equal size.

OpenPifPaf's own Predictor processes frames one by one as PIL images and, in batches, pads portrait frames to squares. Here
OpenCV scales a batch, which is padded only to the network's grid. Network, decoder and coordinates are OpenPifPaf's.
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
from dataset_tools.lib.video.shared_batches import SharedBatches
from dataset_tools.pose.appearance import compute_appearance
from dataset_tools.pose.layouts import MIN_KEYPOINTS, quantise, to_layout

MEAN = np.array([0.485, 0.456, 0.406], np.float32)  # of ImageNet, RGB, values 0..1
STD = np.array([0.229, 0.224, 0.225], np.float32)
NORMALISATION_TABLE = ((np.arange(256, dtype=np.float32)[:, None] / 255 - MEAN) / STD)[
    None
]  # (1, 256, 3): pixel value -> input
GRID = 16  # sides of the network's input are 16 n + 1 px


class PoseEstimator:
    """Finds people in RGB frames.

    weights: a `*.pt` file of `pose_net.save_network`, or a checkpoint in OpenPifPaf's own format (`*.pkl`).
    long_edge: px to which a frame's longer side is scaled; 0 leaves frames as they are.
    layout: 'coco17' or 'body25'.
    batch_size: frames that go through the network at once.
    device: 'cpu' or 'cuda'.
    share_batches: frames of several started clips share batches, which are always full (`SharedBatches`): for GPUs.

    The thresholds of OpenPifPaf's decoder hold for the whole process; the last PoseEstimator sets them.

    Raises UserError for weights that are missing, damaged, of another kind, or would run code, and for a layout that the weights
    do not support: body25 has feet, which only whole-body weights find.
    """

    def __init__(
        self, weights: str | Path, *, long_edge: int = 257, layout: str = "coco17", batch_size: int = 8, device: str = "cpu",
        share_batches: bool = False,
    ):  # fmt: skip
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
        self.decode = pifpaf_compat.PifPafDecoder(network.to(device, memory_format=torch.channels_last), device)
        self.long_edge = long_edge
        self.layout = layout
        self.batch_size = batch_size
        self._shared = (
            SharedBatches(self._compute_fields, batch_size, lambda frame: frame[0].shape) if share_batches else None
        )
        self._in_layout(np.zeros((0, self.joints, 3)))  # an unknown layout fails here
        if MIN_KEYPOINTS[layout] > self.joints:
            raise UserError(
                f"{weights}: finds {self.joints} joints (COCO), no feet; layout {layout} needs the "
                f"{MIN_KEYPOINTS[layout]} of whole-body weights such as pose_wholebody_k30"
            )

    def people(self, frames: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
        """Yield the people in each frame, the most confident first: float32 (N, J, 3), x px and y px of the frame (0 is the centre of
        the first pixel; steps of 1/16 px), confidence 0..1 (steps of 1/256). A missing joint is (0, 0, 0).

        frames: uint8 (H, W, 3) RGB, all of equal size.

        One thread reads and scales the frames, a second one runs the network, and the caller's thread decodes, so three batches are
        processed at once.
        """
        for people, _ in self.find_people(self.start(frames)):
            yield people

    def start(self, frames: Iterable[np.ndarray]) -> Iterator:
        """Start both threads for `frames`; pass the result to `find_people`. If several clips are started, the network continues with
        the next clip while the last people of the first are decoded."""
        if self._shared:
            return self._shared.start(prepare_images([frame], self.long_edge) for frame in frames)
        scaled = prefetch(prepare_images(batch, self.long_edge) for batch in make_batches(frames, self.batch_size))
        return prefetch(self._seen(scaled))

    def find_people(self, batches: Iterator) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """As `people`, for frames that were started before. Yields (people, their colours by `compute_appearance`)."""
        with closing(batches):  # type: ignore[type-var]  # what `start` returns has `close`
            for images, fields, shrink, offset in batches:
                for image, annotations in zip(images.permute(0, 2, 3, 1).numpy(), self.decode(fields), strict=True):
                    keypoints = np.array([a.data for a in annotations], np.float64).reshape(-1, self.joints, 3)
                    colours = compute_appearance(image, keypoints)
                    keypoints[..., :2] = (keypoints[..., :2] - offset + 0.5) * shrink - 0.5
                    yield self._in_layout(keypoints), colours

    def _seen(self, scaled: Prefetcher) -> Iterator[tuple]:
        with closing(scaled):
            for images, shrink, offset in scaled:
                yield images, self.decode.fields(images), shrink, offset

    def _compute_fields(self, frames: list[tuple]) -> list[tuple]:
        """What `find_people` reads, for each of several frames as `prepare_images` returns them."""
        fields = self.decode.fields(torch.cat([images for images, _, _ in frames]))
        return [
            (images, [found], shrink, offset) for (images, shrink, offset), found in zip(frames, fields, strict=True)
        ]

    def _in_layout(self, keypoints: np.ndarray) -> np.ndarray:
        return quantise(to_layout(keypoints, self.layout))


def make_batches(items: Iterable[np.ndarray], size: int) -> Iterator[list[np.ndarray]]:
    """Yield lists of `size` items; the last one may be shorter."""
    batch = []
    for item in items:
        batch.append(item)
        if len(batch) == size:
            yield batch
            batch = []
    if batch:
        yield batch


def prepare_images(frames: list[np.ndarray], long_edge: int) -> tuple[torch.Tensor, np.ndarray, np.ndarray]:
    """Frames uint8 (H, W, 3) -> (network input (B, 3, H', W'), shrink (2,), offset (2,)). A position x' in the input is
    x = (x' - offset_x + 0.5) * shrink_x - 0.5 in the frame, likewise y."""
    height, width = frames[0].shape[:2]
    scale = long_edge / max(height, width) if long_edge else 1.0
    inner = np.maximum(1, np.rint(np.array([width, height]) * scale)).astype(int)
    outer = -(-(inner - 1) // GRID) * GRID + 1
    left, top = (outer - inner) // 2
    images = np.zeros((len(frames), outer[1], outer[0], 3), np.float32)
    how = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    for image, frame in zip(images, frames):
        scaled = cv2.resize(frame, tuple(inner.tolist()), interpolation=how) if scale != 1 else frame
        cv2.LUT(scaled, NORMALISATION_TABLE, image[top : top + inner[1], left : left + inner[0]])
    shrink = np.array([width, height]) / inner
    # the array is (B, H, W, 3) in memory, torch's channels_last
    return torch.from_numpy(images).permute(0, 3, 1, 2), shrink, np.array([left, top])
