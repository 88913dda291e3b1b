"""Music for a dance of any length from a model that generates one window: overlapping windows are cross-faded.

Windows start on whole seconds, as in training; the last one ends with the dance. The middle of each window is used, because there
the model has context on both sides. So cross-fades are in the middle of the overlaps.
"""

from itertools import pairwise
from typing import Protocol

import numpy as np

from dataset_tools.lib.audio.crossfade import crossfade
from dataset_tools.lib.core.timebase import FPS, frames_to_samples


class WindowModel(Protocol):
    """The interface of a model for `render`."""

    frames: int
    """Frames of a window."""
    stream: str
    """The stream of shards that it reads as the dance: 'pose' or 'motion'."""

    def for_genre(self, genre: str) -> "WindowModel":
        """The model for dances of a genre; the model itself if it has no genres."""

    def audio(self, pose: np.ndarray, size: tuple[int, int], visual: np.ndarray) -> np.ndarray:
        """(frames, P, J, 3) pose in px of a picture of `size` (width, height), or (frames, R, 219) motion, and (2048,)
        visual -> (frames * 735,)."""


def cover(frames: int, window: int, hop: int) -> list[int]:
    """First frames of windows that cover `frames`: one every `hop`, and one that ends with the last frame."""
    starts = list(range(0, frames - window + 1, hop)) or [0]
    if starts[-1] + window < frames:
        starts.append(frames - window)
    return starts


def join(pieces: list[np.ndarray], starts: list[int], fade: int) -> np.ndarray:
    """Join overlapping pieces of audio.

    pieces: audio (N_k,); starts: their first samples, increasing from 0; fade: length of each cross-fade in samples, shorter if an
    overlap is shorter. Returns (last start + last length,) float32.
    """
    ends = [start + len(piece) for start, piece in zip(starts, pieces, strict=True)]
    joined = np.zeros(ends[-1], np.float32)
    joined[: ends[0]] = pieces[0]
    for piece, start, (end_before, end) in zip(pieces[1:], starts[1:], pairwise(ends), strict=True):
        assert start <= end_before < end, "pieces must overlap or touch, in order"
        width = min(fade, end_before - start)
        first = (start + end_before - width) // 2  # the fade's first sample, in the middle of the overlap
        piece = np.asarray(piece[first - start :], np.float32)
        joined[first : first + width] = crossfade(joined[first : first + width], piece[:width])
        joined[first + width : end] = piece[width:]
    return joined


def render(
    model: WindowModel, pose: np.ndarray, size: tuple[int, int], visual: np.ndarray, *, hop: int = FPS, fade: int = 0
) -> np.ndarray:
    """Music (T * 735,) float32 for a whole dance.

    pose (T, P, J, 3) in px of a picture of `size` (width, height), or another stream with T frames that the model reads. visual (W,
    2048): row w for the window that starts at second w, the last row for later windows. hop: frames between windows; fade: samples
    of a cross-fade. A dance shorter than a window is extended by its last pose, and the music is cut.
    """
    frames = len(pose)
    if frames < model.frames:
        pose = np.concatenate([pose, np.repeat(pose[-1:], model.frames - frames, axis=0)])
    starts = cover(len(pose), model.frames, hop)
    pieces = [
        model.audio(pose[start : start + model.frames], size, visual[min(start // FPS, len(visual) - 1)])
        for start in starts
    ]
    return join(pieces, [frames_to_samples(start) for start in starts], fade)[: frames_to_samples(frames)]
