"""The online network has the published sizes, hears nothing of the future, and learns the search's notes."""

from itertools import pairwise

import numpy as np
import pytest
import torch

from d2m_model.baselines.dance2music import online
from d2m_model.baselines.dance2music.search import search
from d2m_model.training.command import TrainingParams
from d2m_model.training.loop import Run, train_loop


def swaying(period, frames=120):
    """(T, T) similarities of a dance that turns evenly."""
    angle = 2 * np.pi * np.arange(frames) / period
    return np.cos(angle[:, None] - angle[None])


def test_the_network_has_the_published_sizes():
    widths = (1, 64, 128, 128, 256, 512, 32)
    convolutions = sum(9 * a * b + b for a, b in pairwise(widths))
    lstm = sum(2 * 4 * 32 * (inputs + 32 + 2) for inputs in (16, 64))
    sizes = (32 + 64, 512, 256, 128, 5)
    mlp = sum(a * b + b for a, b in pairwise(sizes))
    net = online.OnlineNet()
    assert sum(p.numel() for p in net.parameters()) == convolutions + 6 * 16 + lstm + mlp == 2_097_413
    assert net(torch.zeros(3, 60, 60), torch.zeros(3, 10, dtype=torch.int64)).shape == (3, 5)


def test_it_sees_two_seconds_up_to_the_notes_end_and_the_notes_before():
    dance = swaying(37, 75)
    whole = online.dance_window(dance, 10)
    assert (
        whole.shape == (60, 60)
        and whole.mean() == pytest.approx(0, abs=1e-6)
        and whole.std() == pytest.approx(1, abs=1e-5)
    )
    np.testing.assert_allclose(np.corrcoef(whole.ravel(), dance[6:66, 6:66].ravel())[0, 1], 1, atol=1e-6)
    start, end = online.dance_window(dance, 0), online.dance_window(dance, 12)
    assert not start[:54].any() and start[54:, 54:].any() and not end[57:].any() and end[:57, :57].any()
    assert not online.dance_window(np.ones((60, 60)), 9).any(), "poses that are all alike"
    notes = np.arange(12) % 5
    assert online.note_history(notes, 0).tolist() == [5] * 10 and online.note_history(notes, 3).tolist() == [5] * 7 + [
        0,
        1,
        2,
    ]
    assert online.note_history(notes, 12).tolist() == notes[2:].tolist()


def test_notes_do_not_depend_on_what_comes_after():
    torch.manual_seed(3)
    net, dance = online.OnlineNet(), swaying(31, 90)
    whole = online.predict_notes(net, dance)
    assert whole.shape == (15,) and online.predict_notes(net, dance[:75, :75]).shape == (13,)
    np.testing.assert_array_equal(online.predict_notes(net, dance[:60, :60]), whole[:10])


def test_it_learns_the_searchs_notes():
    examples = [online.NoteExample(dance, search(dance, 10)) for dance in (swaying(24, 90), swaying(37, 90))]
    torch.manual_seed(0)
    params = TrainingParams(batch=4, log_every=20)
    task = online.OnlineTask(examples, 2e-3, params, torch.device("cpu"))
    curves = train_loop(task, 140, params, Run(stage="baselines"))
    assert curves.rows[0]["loss"] > 1.4 and curves.rows[-1]["loss"] < 1.0, curves.rows
    assert curves.rows[-1]["accuracy"] > 0.5, "chance is 0.2"
