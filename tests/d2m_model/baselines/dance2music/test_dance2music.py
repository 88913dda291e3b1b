"""The beam search finds what trying everything finds, and notes that are alike where poses are."""

import itertools

import numpy as np
import pytest

from d2m_model.baselines.dance2music import search as d2m
from d2m_model.baselines.dance2music import system as dance2music
from d2m_model.baselines.score import Note
from tests.helpers.builders import bouncing_pose


def enlarged(notes, frames):
    """Affinity matrix of notes, each pair repeated for the frames of its two notes."""
    index = np.arange(frames) // 6
    return (1 - np.abs(np.subtract.outer(notes, notes)) / 4)[index][:, index]


def pearson(dance, notes):
    music = enlarged(np.asarray(notes), len(dance))
    if np.ptp(music) == 0 or np.ptp(dance) == 0:
        return 0.0
    return np.corrcoef(dance.ravel(), music.ravel())[0, 1]


def reward(dance, notes):
    """Of all notes: each looks back over ten at most."""
    total = 0.0
    for count in range(1, len(notes) + 1):
        first, stop = 6 * max(0, count - 10), min(6 * count, len(dance))
        total += pearson(dance[first:stop, first:stop], notes[:count][-10:])
    return total


def wandering(frames, seed=0):
    """Similarities (frames, frames) of poses that drift at random."""
    walk = np.cumsum(np.random.default_rng(seed).normal(size=(frames, 6)), axis=0)
    unit = walk / np.linalg.norm(walk, axis=1, keepdims=True)
    return unit @ unit.T


@pytest.mark.parametrize("frames, count", [(60, 10), (55, 10), (6, 1), (24, 4), (19, 4)])
def test_correlations_are_those_of_the_enlarged_matrices(frames, count):
    dance, notes = wandering(frames), np.random.default_rng(1).integers(0, 5, (7, count))
    notes[0] = 3
    np.testing.assert_allclose(d2m.correlations(dance, notes), [pearson(dance, n) for n in notes], atol=1e-12)


@pytest.mark.parametrize("seed", range(3))
def test_a_wide_beam_finds_the_best_of_all(seed):
    dance = wandering(28, seed)
    best = max(reward(dance, notes) for notes in itertools.product(range(5), repeat=5))
    found = d2m.search(dance, beam=5**5)
    assert found.shape == (5,) and reward(dance, found) == pytest.approx(best, abs=1e-9)
    assert reward(dance, d2m.search(dance, beam=50)) >= 0.9 * best


def test_a_beam_keeps_the_best_of_each_step():
    """Against a search that does one hypothesis after the other, over more notes than the history."""
    dance, beam = wandering(6 * 14 + 2, 5), 4
    kept = [()]
    for count in range(1, 16):
        part = dance[: min(6 * count, len(dance)), : min(6 * count, len(dance))]
        children = [(*notes, step) for notes in kept for step in range(5)]
        kept = sorted(children, key=lambda notes: -round(reward(part, notes), 9))[:beam]
    assert tuple(d2m.search(dance, beam)) == kept[0]


def test_poses_that_come_back_bring_their_note_back():
    pose = np.zeros((60, 17, 3), np.float32)
    shapes = np.random.default_rng(2).normal(size=(2, 17, 2)) * 50 + 100
    for frame in range(60):
        pose[frame, :, :2] = shapes[frame // 12 % 2]
    pose[..., 2] = 1
    steps = d2m.search(d2m.similarity(pose), 50)
    first, second = steps[0], steps[2]
    assert first != second and steps.tolist() == [first, first, second, second] * 2 + [first, first]
    music = dance2music.hold_notes(steps, 60)
    assert [n.start for n in music] == pytest.approx([0, 0.4, 0.8, 1.2, 1.6]) and music[-1].end == 2
    assert (
        len(music) == 5
        and [n.pitch for n in music[:2]] == [dance2music.SCALE[first], dance2music.SCALE[second]]
        and {n.program for n in music} == {0}
    )


def test_similarity_is_the_cosine_of_poses_wherever_the_dancer_is():
    pose = bouncing_pose(np.array([0.5]), 30)[:, 0]
    moved = pose + np.array([40, -20, 0], np.float32)
    found = d2m.similarity(pose)
    assert found.shape == (30, 30) and np.diag(found) == pytest.approx(1)
    np.testing.assert_allclose(found, d2m.similarity(moved), atol=1e-6)
    assert (d2m.similarity(np.zeros((30, 17, 3), np.float32)) == 1).all(), "nobody there"


def test_repeated_notes_are_held_to_the_last_frame():
    assert dance2music.hold_notes(np.array([2, 2, 0, 4, 4]), 28) == [
        Note(0.0, 0.4, 64, 100, 0), Note(0.4, 0.6, 60, 100, 0), Note(0.6, 28 / 30, 69, 100, 0)
    ]  # fmt: skip
