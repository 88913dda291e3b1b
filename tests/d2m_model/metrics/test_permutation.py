"""What chance makes of a difference: music assigned to dances at random, on scores and audio whose answer is known."""

from itertools import permutations

import numpy as np
import pytest

from d2m_model.metrics.controls import click_track
from d2m_model.metrics.p4_onsets import own_and_other
from d2m_model.metrics.permutation import chance, permuted_differences
from d2m_model.metrics.scoring import Reference, score_system
from tests.helpers.builders import beats_of, click_train

RATE = 22050


def test_permuted_music_has_the_difference_it_would_have_there():
    """Clips a and b are of one song: what is assigned to either is compared with c alone, what is assigned to c with both."""
    scores = np.array([[0.9, 0.5, 0.1], [0.4, 0.8, 0.2], [0.3, 0.1, 0.7]])
    clips, songs = ["a", "b", "c"], {"a": "s", "b": "s", "c": "t"}
    found = permuted_differences(scores, clips, clips, songs)
    assert found == pytest.approx(np.array([[0.8, 0.4, 0.1 - 0.7], [0.2, 0.6, 0.2 - 0.6], [-0.4, -0.6, 0.7 - 0.2]]))
    own = own_and_other(scores, clips, clips, songs)
    assert np.diagonal(found) == pytest.approx([a - b for a, b in own.values()])


def test_all_permutations_are_counted_where_they_are_few():
    values = np.random.default_rng(0).normal(size=(5, 5))
    permuted = [np.mean([values[i, j] for i, j in enumerate(order)]) for order in permutations(range(5))]
    own = np.trace(values) / 5
    found = chance(values, draws=500)
    assert found["p"] == pytest.approx(np.mean([d >= own - 1e-12 for d in permuted]))
    assert (
        found["permuted"] == pytest.approx(np.mean(permuted))
        and found["permuted_low"] < found["permuted"] < found["permuted_high"]
    )


def test_p_is_even_where_music_ignores_its_dances_and_small_where_it_does_not():
    rng = np.random.default_rng(1)
    p = [chance(rng.normal(size=(8, 8)), draws=300, seed=n)["p"] for n in range(200)]
    assert 0.4 < np.mean(p) < 0.6 and np.mean(np.array(p) < 0.05) < 0.12 and np.mean(np.array(p) > 0.5) > 0.35
    follows = rng.normal(size=(8, 8)) + 3 * np.eye(8)
    assert chance(follows, draws=300)["p"] <= 2 / 301
    assert chance(-follows, draws=300)["p"] > 0.9


def test_what_can_not_be_scored_is_left_out():
    values = np.random.default_rng(2).normal(size=(6, 6)) + 3 * np.eye(6)
    values[:, 2] = np.nan  # a dance without a reference
    assert chance(values)["p"] < 0.05
    assert chance(np.full((6, 6), np.nan)) == {} and chance(np.zeros((1, 1))) == {}
    assert chance(np.zeros((6, 6)))["p"] == 1, "silence"


def test_own_music_is_no_chance_and_blind_music_is():
    clips = {f"c{n}": click_train(beats_of(n, 5.0) + 0.07 * n, 5 * RATE) for n in range(6)}
    names = list(clips)
    reference = Reference(audio=clips)
    p = lambda audio: score_system(audio, reference, protocols=("P4",), draws=400)[0]["P4"]["onsets_70ms"]
    own = p(clips)
    assert own["p"] <= 2 / 401 and own["permuted_high"] < own["difference"]
    shuffled = p({name: clips[names[i - 1]] for i, name in enumerate(names)})
    assert shuffled["p"] > 0.2
    one = click_track(20 * RATE, 0.43)
    assert p({name: one[n * 1237 :][: 5 * RATE] for n, name in enumerate(names)})["p"] > 0.03
    assert "p" not in score_system(clips, reference, protocols=("P4",), draws=100)[0]["P4"]["onsets_50ms"]
