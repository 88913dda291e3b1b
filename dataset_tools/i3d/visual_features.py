"""Visual features of a dance clip: one row of 2048 numbers for every window of 2 s, I3D RGB and flow side by side.

Choices the published description leaves open: windows are 60 frames at 30 fps, one every second; RGB comes first; flow
is taken after resizing, between frame t and t + 1, so a window of 60 frames uses 61 where the clip has them, and the
clip's last flow is repeated where it ends with the window. Frames after the last whole window are not used.
"""

from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from threading import Lock

import cv2
import numpy as np
import torch

from dataset_tools.i3d.checkpoints import load_i3d
from dataset_tools.i3d.net import FEATURES, I3D
from dataset_tools.i3d.params import Params
from dataset_tools.lib.core.layout import Layout
from dataset_tools.lib.core.timebase import FPS
from dataset_tools.lib.core.weights import locate
from dataset_tools.lib.parallel.prefetch import Prefetcher, prefetch
from dataset_tools.lib.video.flow import Flow, RaftFlow, load_raft

WINDOW = 2 * FPS  # frames
COLUMNS = 2 * FEATURES


@dataclass(frozen=True)
class VisualFeatures:
    """Extractor of visual features; works on the device the networks are on."""

    rgb_net: I3D
    flow_net: I3D
    frame_size: int
    """Short side in px that frames are resized to, keeping their shape."""
    crop: int
    """Side in px of the centre square that is kept, at most frame_size; 0 keeps the whole frame."""
    flow_method: str
    """One of flow.METHODS."""
    batch: int = 4
    """Windows that go through a network at once."""
    raft: torch.nn.Module | None = None
    """Network of the flow method 'raft'."""
    _turn: Lock = field(default_factory=Lock, init=False, repr=False, compare=False)
    """Of the clips that were begun: the networks see one at a time."""

    def __call__(self, frames: Iterable[np.ndarray]) -> np.ndarray:
        """Features of a clip at 30 fps.

        Parameters
        ----------
        frames : uint8 (T, H, W, 3) RGB, as one array or any iterable of frames. It is read once, in a thread that takes
            the flow of the next windows while the networks see the present ones; only so many small frames are held,
            so a video of any length fits.

        Returns
        -------
        float32 (W, 2048), RGB 1024 then flow 1024; row w is the window that starts at second w
        (timebase.window_starts). W is 0 for a clip under 2 s.

        """
        return self.features(self.begin(frames))

    def begin(self, frames: Iterable[np.ndarray]) -> Prefetcher:
        """Start two threads, one that takes the flow and one for the networks; `features` of what this returns are those of
        `frames`. The networks turn to the frames that were begun next as soon as they have seen these."""
        return prefetch(self._rows(prefetch(self._stretches(frames), depth=1)))

    def features(self, begun: Prefetcher) -> np.ndarray:
        """What calling the extractor returns, of frames that were begun before."""
        with closing(begun):
            rows = list(begun)
        return np.concatenate(rows) if rows else np.zeros((0, COLUMNS), np.float32)

    def _rows(self, stretches: Prefetcher) -> Iterator[np.ndarray]:
        torch.set_num_threads(
            torch.get_num_threads()
        )  # what was set is not yet so in a new thread: OpenMP has it per thread
        with closing(stretches):
            for stretch in stretches:
                with self._turn:
                    row = self._windows(*stretch)
                yield row

    def _stretches(self, frames: Iterable[np.ndarray]) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """The clip as stretches of at most `batch` windows: uint8 (T, H, W, 3) frames and float32 (T, 2, H, W) scaled
        flow from each of them to the next, of as many frames as the windows need. What is left at the end and fills
        no window is not used."""
        solver, before = RaftFlow(self.raft) if self.flow_method == "raft" else Flow(self.flow_method), None
        rgb, flow = [], []
        full = WINDOW + (self.batch - 1) * FPS
        for frame in frames:
            small = resize(frame, self.frame_size)
            prepared = solver.prepare(small)
            if before is not None:
                flow.append(center_crop(solver.scale(solver.between(before, prepared)), self.crop, axis=1))
            if len(rgb) == full:
                yield np.stack(rgb), np.stack(flow)
                keep = FPS * self.batch
                del rgb[:keep], flow[:keep]
            rgb.append(center_crop(small, self.crop, axis=0))
            before = prepared
        if len(rgb) >= WINDOW:
            flow.append(flow[-1])
            yield np.stack(rgb), np.stack(flow)

    def _windows(self, rgb: np.ndarray, flow: np.ndarray) -> np.ndarray:
        """Features (n, 2048) of the n windows in as many frames as flows."""
        starts = range(0, len(rgb) - WINDOW + 1, FPS)
        images = rgb.transpose(0, 3, 1, 2).astype(np.float32) / 127.5 - 1
        out = []
        for net, series in ((self.rgb_net, images), (self.flow_net, flow)):
            device = next(net.parameters()).device
            batch = np.stack([series[s : s + WINDOW] for s in starts]).transpose(0, 2, 1, 3, 4)
            with torch.inference_mode():
                out.append(net.features(torch.from_numpy(np.ascontiguousarray(batch)).to(device)).cpu().numpy())
        return np.concatenate(out, axis=1)


def load_visual_features(params: Params, layout: Layout) -> VisualFeatures:
    """Extractor by section `i3d` of params.yaml, with its networks; RAFT's weights are only fetched for the flow 'raft'.
    Raises UserError for files that are missing or do not fit."""
    rgb, flow = (
        load_i3d(locate(file, layout), stream) for file, stream in zip(params.files, ("rgb", "flow"), strict=True)
    )
    raft = load_raft(locate(params.flow_weights, layout)) if params.flow == "raft" else None
    return VisualFeatures(rgb, flow, params.frame_size, params.crop, params.flow, params.batch, raft)


def resize(frame: np.ndarray, short: int) -> np.ndarray:
    """Frame (H, W, 3) with its short side `short` px: area average when it shrinks (thin limbs do not flicker),
    bilinear when it grows."""
    height, width = frame.shape[:2]
    scale = short / min(height, width)
    size = (max(short, round(width * scale)), max(short, round(height * scale)))
    return cv2.resize(frame, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)


def center_crop(frame: np.ndarray, side: int, axis: int) -> np.ndarray:
    """Centre square of `side` px from an array whose height is at `axis` and width after it; side 0 keeps all."""
    if not side:
        return frame
    height, width = frame.shape[axis : axis + 2]
    top, left = (height - side) // 2, (width - side) // 2
    before = (slice(None),) * axis
    return frame[(*before, slice(top, top + side), slice(left, left + side))]
