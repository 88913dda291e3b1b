"""Visual features of a dance clip: 2048 numbers for every window of 2 s, I3D RGB and flow features.

Choices that the published description leaves open: windows have 60 frames at 30 fps, one every second. RGB comes first. Flow is
computed after resizing, between frames t and t + 1, so a window of 60 frames uses 61 frames; at the end of the clip the last
flow is repeated. Frames after the last whole window are not used.
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
from dataset_tools.lib.video.shared_batches import SharedBatches

WINDOW_FRAMES = 2 * FPS
COLUMNS = 2 * FEATURES


@dataclass(frozen=True)
class VisualFeatures:
    """Computes visual features, on the device of its networks."""

    rgb_net: I3D
    flow_net: I3D
    frame_size: int
    """Short side, in px, to which frames are resized, keeping their aspect ratio."""
    crop: int
    """Side, in px, of the centre square that is kept, at most frame_size; 0 keeps the whole frame."""
    flow_method: str
    """One of flow.METHODS."""
    batch: int = 4
    """Windows that go through a network at once."""
    raft: torch.nn.Module | None = None
    """Network of the flow method 'raft'."""
    share_batches: bool = False
    """Windows of several started clips share batches, which are always full (`SharedBatches`): for GPUs."""
    _shared: SharedBatches | None = field(default=None, init=False, repr=False, compare=False)
    _turn: Lock = field(default_factory=Lock, init=False, repr=False, compare=False)
    """Held while the networks process a clip: if several clips are started, they take turns."""

    def __post_init__(self):
        if self.share_batches:
            shared = SharedBatches(self._compute_rows, self.batch, lambda window: window[0].shape)
            object.__setattr__(self, "_shared", shared)

    def __call__(self, frames: Iterable[np.ndarray]) -> np.ndarray:
        """Features of a clip at 30 fps.

        Parameters
        ----------
        frames : uint8 (T, H, W, 3) RGB, as one array or any iterable of frames. It is read once, in a thread that computes the
            flow of the next windows while the networks process the current ones. Only a few resized frames are in memory, so a
            video may have any length.

        Returns
        -------
        float32 (W, 2048), RGB 1024 then flow 1024; row w is the window that starts at second w
        (timebase.window_starts). W is 0 for a clip under 2 s.

        """
        return self.features(self.start(frames))

    def start(self, frames: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
        """Start two threads for `frames`, one for the flow and one for the networks; pass the result to `features`. If several clips
        are started, the networks continue with the next clip as soon as they have processed the last frame of the first."""
        if self._shared:
            stretches = self._stretches(frames)
            return self._shared.start(window for stretch in stretches for window in cut_windows(*stretch))
        return prefetch(self._rows(prefetch(self._stretches(frames), depth=1)))

    def features(self, batches: Iterator[np.ndarray]) -> np.ndarray:
        """The result of `__call__`, from what `start` returned."""
        with closing(batches):  # type: ignore[type-var]  # what `start` returns has `close`
            rows = list(batches)
        return np.concatenate(rows) if rows else np.zeros((0, COLUMNS), np.float32)

    def _rows(self, stretches: Prefetcher) -> Iterator[np.ndarray]:
        torch.set_num_threads(
            torch.get_num_threads()
        )  # OpenMP's number of threads is per thread, so it is set again here
        with closing(stretches):
            for stretch in stretches:
                with self._turn:
                    rows = self._compute_rows(list(cut_windows(*stretch)))
                yield np.concatenate(rows)

    def _stretches(self, frames: Iterable[np.ndarray]) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Yield the clip in stretches of at most `batch` windows: (frames uint8 (T, H, W, 3), scaled flow float32 (T, 2, H, W) from each
        frame to the next). Frames at the end that do not fill a window are not used."""
        solver, before = RaftFlow(self.raft) if self.flow_method == "raft" else Flow(self.flow_method), None
        rgb, flow = [], []
        full = WINDOW_FRAMES + (self.batch - 1) * FPS
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
        if len(rgb) >= WINDOW_FRAMES:
            flow.append(flow[-1])
            yield np.stack(rgb), np.stack(flow)

    def _compute_rows(self, windows: list[tuple[np.ndarray, np.ndarray]]) -> list[np.ndarray]:
        """Features (1, 2048) of each window of `cut_windows`."""
        out = []
        for net, series in zip((self.rgb_net, self.flow_net), zip(*windows, strict=True), strict=True):
            device = next(net.parameters()).device
            batch = np.stack(series).transpose(0, 2, 1, 3, 4)
            with torch.inference_mode():
                out.append(net.features(torch.from_numpy(np.ascontiguousarray(batch)).to(device)).cpu().numpy())
        return list(np.concatenate(out, axis=1)[:, None])


def cut_windows(rgb: np.ndarray, flow: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield the windows in a stretch of frames (T, H, W, 3) and flow (T, 2, H, W): (frames (60, 3, H, W) -1..1, flow (60, 2, H, W))."""
    images = rgb.transpose(0, 3, 1, 2).astype(np.float32) / 127.5 - 1
    for start in range(0, len(rgb) - WINDOW_FRAMES + 1, FPS):
        yield images[start : start + WINDOW_FRAMES], flow[start : start + WINDOW_FRAMES]


def load_visual_features(params: Params, layout: Layout) -> VisualFeatures:
    """VisualFeatures with the networks that section `i3d` of params.yaml names. RAFT's weights are only fetched for the flow 'raft'.
    Raises UserError for files that are missing or do not fit."""
    rgb, flow = (
        load_i3d(locate(file, layout), stream) for file, stream in zip(params.files, ("rgb", "flow"), strict=True)
    )
    raft = load_raft(locate(params.flow_weights, layout)) if params.flow == "raft" else None
    return VisualFeatures(rgb, flow, params.frame_size, params.crop, params.flow, params.batch, raft)


def resize(frame: np.ndarray, short: int) -> np.ndarray:
    """Resize a frame (H, W, 3) to a short side of `short` px: by area average if it shrinks, so that thin limbs do not flicker, and
    bilinearly if it grows."""
    height, width = frame.shape[:2]
    scale = short / min(height, width)
    size = (max(short, round(width * scale)), max(short, round(height * scale)))
    return cv2.resize(frame, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)


def center_crop(frame: np.ndarray, side: int, axis: int) -> np.ndarray:
    """Centre square of `side` px of an array with the height at `axis` and the width after it; 0 keeps the whole frame."""
    if not side:
        return frame
    height, width = frame.shape[axis : axis + 2]
    top, left = (height - side) // 2, (width - side) // 2
    before = (slice(None),) * axis
    return frame[(*before, slice(top, top + side), slice(left, left + side))]
