"""Who hears what in the listening study: balanced assignments, sessions in a blind random order."""

from collections import Counter
from itertools import islice, pairwise

import pytest

from d2m_model.listen.design import headphone_stimuli, rater_assignments, session, stimuli_of


def test_hands_are_balanced_and_without_repeats():
    systems, clips = list("abcde"), [f"c{i}" for i in range(12)]
    for items in (1, 7, 44, 60):  # assignments that use up one shuffle of the pairs and go on with the next
        assert all(len(set(hand)) == items for hand in islice(rater_assignments(systems, clips, items, seed=3), 26))
    dealt = list(islice(rater_assignments(systems, clips, 15, seed=3), 26))
    counts = Counter(pair for hand in dealt for pair in hand)
    assert len(counts) == 60 and max(counts.values()) - min(counts.values()) <= 2
    heard = [Counter(system for system, _ in hand) for hand in dealt]
    assert all(max(c.values()) - min(c.values()) <= 3 and len(c) == 5 for c in heard)
    assert (
        dealt
        == list(islice(rater_assignments(systems, clips, 15, seed=3), 26))
        != list(islice(rater_assignments(systems, clips, 15, seed=4), 26))
    )
    with pytest.raises(ValueError, match="1 to 60"):
        next(rater_assignments(systems, clips, 61, seed=0))


def test_sessions_are_blind_random_and_complete():
    stimuli = headphone_stimuli()
    for task in ("coherence", "quality"):
        stimuli += stimuli_of(task, ["ground truth", "high-full", "low-full"], list("pqrst"))
    plans = [session(stimuli, n, items=6, checks=2, practice=2, seed=0) for n in range(8)]
    assert plans[0] == session(stimuli, 0, items=6, checks=2, practice=2, seed=0) != plans[2]
    for number, plan in enumerate(plans):
        assert len(plan) == 6 + 2 * (2 + 6 + 2) and [s.task for s in plan[:6]] == ["headphones"] * 6
        tasks = list(dict.fromkeys(s.task for s in plan[6:]))
        assert tasks == (["coherence", "quality"] if number % 2 == 0 else ["quality", "coherence"])
        for task in tasks:
            part = [s for s in plan if s.task == task]
            assert [s.kind for s in part[:2]] == ["practice", "practice"] and part[2].kind == "item"
            assert Counter(s.kind for s in part) == {"practice": 2, "item": 6, "check": 2}
            assert not any(a.kind == b.kind == "check" for a, b in pairwise(part))
    assert len({tuple(p[6:]) for p in plans}) == 8
