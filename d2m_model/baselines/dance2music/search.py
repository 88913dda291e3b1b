"""Dance2Music's offline search: a beam search for the notes whose affinity matrix correlates best with the dance's
self-similarity matrix."""

import numpy as np

from d2m_model.nets.motion_features import fill_missing

NOTES = 5
"""Notes of the scale."""
STEP = 6
"""Frames per note: 0.2 s."""
HISTORY = 10
"""Notes in a reward: the current one and those before."""


def similarity(pose: np.ndarray) -> np.ndarray:
    """(T, T) float64: cosine similarities between the poses of one dancer (T, J, 3), x and y relative to the body's mean.

    Without a dancer all similarities are 1.
    """
    xy = fill_missing(pose)[..., :2].astype(np.float64)
    flat = (xy - xy.mean(axis=1, keepdims=True)).reshape(len(xy), -1)
    length = np.linalg.norm(flat, axis=1, keepdims=True)
    if not length.any():
        return np.ones((len(xy), len(xy)))
    unit = flat / np.maximum(length, 1e-9)
    return unit @ unit.T


def search(dance: np.ndarray, beam: int) -> np.ndarray:
    """Beam search: similarities of a dance (T, T) -> steps 0..4 of the scale (ceil(T / 6),).

    The score of a hypothesis is the sum of the rewards of its notes. The reward of a note is the Pearson correlation between the
    similarities of the last 10 notes' frames and the affinities 1 - |s_i - s_j| / 4 of these notes, each affinity repeated for
    its 6 x 6 pairs of frames. A matrix without variance has a correlation of 0.
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
        best = np.argsort(-total.round(9), kind="stable")[
            :beam
        ]  # of hypotheses that are equal up to rounding, lower notes first
        notes, worth = children[best], total[best]
    return notes[0]


def correlations(dance: np.ndarray, notes: np.ndarray) -> np.ndarray:
    """Pearson correlations (B,) of a similarity matrix (F, F) with the affinity matrices of notes (B, N), repeated per frame.

    Frame f belongs to note f // 6. The repeated matrices are never built: the correlation follows from the block means of the
    similarity matrix, with each block weighted by its number of frame pairs.
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
