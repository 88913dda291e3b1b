"""Dance2Music's offline search: a beam search for the notes whose affinity matrix correlates best with the dance's
self-similarity matrix."""

import numpy as np

from d2m_model.nets.motion_features import fill_missing

NOTES = 5
"""Steps of the scale."""
STEP = 6
"""Frames of a note: 0.2 s."""
HISTORY = 10
"""Notes that a reward looks back over, its own included."""


def similarity(pose: np.ndarray) -> np.ndarray:
    """(T, T) float64: cosines between the poses of one dancer (T, J, 3), x and y about the middle of the body.

    Where nobody is ever seen all poses are equally alike: 1.
    """
    xy = fill_missing(pose)[..., :2].astype(np.float64)
    flat = (xy - xy.mean(axis=1, keepdims=True)).reshape(len(xy), -1)
    length = np.linalg.norm(flat, axis=1, keepdims=True)
    if not length.any():
        return np.ones((len(xy), len(xy)))
    unit = flat / np.maximum(length, 1e-9)
    return unit @ unit.T


def search(dance: np.ndarray, beam: int) -> np.ndarray:
    """The beam search: dance (T, T) similarities -> (ceil(T / 6),) steps 0..4 of the scale.

    After each note a hypothesis is worth the sum of the rewards of its notes; a note's reward is the Pearson correlation
    of the similarities of the last 10 notes' frames with the affinities 1 - |s_i - s_j| / 4 of the notes, each affinity
    enlarged to the 6 x 6 pairs of frames it stands for. A matrix without variance correlates with nothing: 0.
    """
    frames = len(dance)
    notes = np.zeros((1, 0), np.int64)
    worth = np.zeros(1)
    for count in range(1, -(-frames // STEP) + 1):
        children = np.concatenate(
            [np.repeat(notes, NOTES, axis=0), np.tile(np.arange(NOTES), len(notes))[:, None]], axis=1
        )
        first, stop = STEP * max(0, count - HISTORY), min(STEP * count, frames)
        reward = correlations(dance[first:stop, first:stop], children[:, -HISTORY:])
        total = np.repeat(worth, NOTES) + reward
        best = np.argsort(-total.round(9), kind="stable")[:beam]  # equal but for rounding: the lower notes first
        notes, worth = children[best], total[best]
    return notes[0]


def correlations(dance: np.ndarray, notes: np.ndarray) -> np.ndarray:
    """(B,) Pearson correlations of a similarity matrix (F, F) with the affinity matrices of notes (B, N), enlarged.

    Frame f belongs to note f // 6. The correlation of enlarged matrices is that of the small ones with the sums of the
    large one's blocks, each pair weighted by its frames.
    """
    frames, count = len(dance), notes.shape[1]
    edges = np.arange(count) * STEP
    size = np.diff(np.append(edges, frames)).astype(np.float64)
    weight = np.outer(size, size) / frames**2
    mean = np.add.reduceat(np.add.reduceat(dance, edges, 0), edges, 1) / frames**2
    affinity = 1 - np.abs(notes[:, :, None] - notes[:, None, :]) / (NOTES - 1)
    affinity -= (affinity * weight).sum((1, 2), keepdims=True)
    covariance = (affinity * mean).sum((1, 2))
    spread = np.sqrt((affinity**2 * weight).sum((1, 2)) * dance.var())
    return np.divide(covariance, spread, out=np.zeros(len(notes)), where=spread > 1e-9)
