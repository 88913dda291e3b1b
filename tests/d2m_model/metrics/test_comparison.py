"""Systems side by side, on scores whose answer is known."""

import numpy as np
import pytest
from scipy.stats import permutation_test

from d2m_model.metrics.bootstrap import resamples, weighted_mean
from d2m_model.metrics.comparison import compare, group_of, wins
from d2m_model.metrics.comparison_tables import comparison_tables

CLIPS = [f"c{n:02d}" for n in range(10)]
P4 = "P4 own − other (onsets)"
EASE = np.random.default_rng(0).uniform(0, 0.6, len(CLIPS))
"""How easy each clip is, for every system."""


def rows(system, gains, hits=None):
    hits = hits or [3] * len(gains)
    return [
        {
            "system": system,
            "clip_id": c,
            "P4_onsets_own": 0.3 + g,
            "P4_onsets_other": 0.3,
            "P1_both": h,
            "P1_reference": 4,
        }
        for c, g, h in zip(CLIPS, gains, hits, strict=False)
    ]


def compared(systems, songs=None, draws=1024, **kinds):
    found = {name: {"kind": kinds.get(name, "model")} for name in systems}
    every = [row for name, gains in systems.items() for row in rows(name, gains)]
    facts, pairs = compare(found, every, songs, draws=draws, seed=0)
    return facts, {(p["a"], p["b"]): p for p in pairs if p["measure"] == P4}


def test_equal_systems_tie_and_a_better_one_is_first():
    noise = 0.03 * np.random.default_rng(1).standard_normal(len(CLIPS))
    facts, pairs = compared(
        {"one": EASE, "same": EASE, "better": EASE + 0.2 + noise, "silence": 0 * EASE}, silence="control"
    )
    equal = pairs["one", "same"]
    assert (equal["difference"], equal["low"], equal["high"], equal["p"], equal["clips"]) == (0, 0, 0, 1, 10)
    better = pairs["one", "better"]
    assert better["difference"] == pytest.approx(-0.2 - noise.mean()) and better["p"] < 0.01 and better["high"] < 0
    assert {n: r["rank"] for n, r in facts["ranks"][P4].items()} == {"better": 1, "one": 2, "same": 2}
    assert ("one", "silence") in pairs and all("silence" not in (p["a"], p["b"]) for p in facts["differences"])
    assert {n: r["rank"] for n, r in facts["ranks"]["P1 hit %"].items()} == {"one": 1, "same": 1, "better": 1}


def test_clips_are_paired():
    """Two systems that differ by a little on every clip are told apart, though their own intervals lie over each other."""
    _, pairs = compared({"a": EASE + 0.02, "b": EASE})
    drawn = weighted_mean(resamples(len(CLIPS))[""], EASE)
    assert pairs["a", "b"]["low"] == pytest.approx(0.02) and np.percentile(drawn, 97.5) - drawn.mean() > 0.05


def test_p_is_that_of_swapping_the_music_of_a_clip():
    rng = np.random.default_rng(2)
    a, b = rng.normal(0.1, 0.1, 9), rng.normal(0, 0.1, 9)
    _, pairs = compared({"a": a, "b": b}, draws=512)
    known = permutation_test((a, b), lambda x, y: np.mean(x - y), permutation_type="samples", n_resamples=512)
    assert pairs["a", "b"]["p"] == pytest.approx(known.pvalue) and 0.004 < known.pvalue < 0.5


def test_chance_alone_is_seldom_taken_for_a_difference():
    rng = np.random.default_rng(3)
    draw = lambda: EASE + rng.normal(0, 0.1, len(CLIPS))
    songs = {c: f"s{n // 2}" for n, c in enumerate(CLIPS)}
    found = [compared({"a": draw(), "b": draw()}, songs, draws=100)[1]["a", "b"] for _ in range(100)]
    assert sum(wins(f, "higher") or wins(f, "lower") for f in found) <= 12
    assert {"song_low", "song_high"} <= set(found[0])


def test_a_system_is_the_mean_of_its_seeds():
    facts, pairs = compared({"ours/seed0": EASE, "ours/seed1": EASE + 0.1, "base": EASE - 0.1})
    assert group_of("ours/seed1") == "ours" and group_of("a/b") == "a/b" and set(pairs) == {("ours", "base")}
    its = facts["seeds"]["ours"][P4]
    assert its["mean"] == pytest.approx(EASE.mean() + 0.05) and its["sd"] == pytest.approx(0.1 / np.sqrt(2))
    assert (its["min"], its["max"], its["seeds"]) == (pytest.approx(EASE.mean()), pytest.approx(EASE.mean() + 0.1), 2)
    assert pairs["ours", "base"]["difference"] == pytest.approx(0.15)
    assert facts["ranks"][P4]["ours"] == {"rank": 1, "score": pytest.approx(EASE.mean() + 0.05), "seeds": 2}


def test_sums_are_pooled_over_the_clips_that_both_have():
    found = {name: {"kind": "model"} for name in "ab"}
    every = rows("a", EASE[:4], [1, 2, 3, 4]) + rows("b", EASE[:3], [0, 0, 4])
    hit = next(p for p in compare(found, every, None, draws=100, seed=0)[1] if p["measure"] == "P1 hit %")
    assert hit["clips"] == 3 and hit["difference"] == pytest.approx(100 * (6 - 4) / 12)
    assert hit["a_score"] == pytest.approx(100 * 10 / 16)


def test_distances_are_paired_by_the_jackknife():
    """Of two means the paired jackknife is the t test of the differences."""
    rng = np.random.default_rng(4)
    a, b = rng.normal(5, 1, 10), rng.normal(4.5, 1, 10)
    without = lambda x, i: np.delete(x, i).mean()
    every = [
        {"system": name, "clip_id": c, "fad_without": without(x, i), "fad_song_without": without(x, i)}
        for name, x in (("a", a), ("b", b))
        for i, c in enumerate(CLIPS)
    ]
    found = {"a": {"kind": "model", "fad": {"fad": a.mean()}}, "b": {"kind": "model", "fad": {"fad": b.mean()}}}
    [pair] = compare(found, every, {c: c for c in CLIPS}, draws=100, seed=0)[1]
    reach = 2.2621572 * (a - b).std(ddof=1) / np.sqrt(10)
    assert (pair["low"], pair["high"]) == pytest.approx(((a - b).mean() - reach, (a - b).mean() + reach))
    assert pair["song_low"] == pytest.approx(pair["low"]) and 0 < pair["p"] < 1 and pair["measure"] == "FAD"


def test_tables_of_comparisons():
    facts, _ = compared({"ours/seed0": EASE + 0.3, "ours/seed1": EASE + 0.4, "base": EASE, "other": EASE})
    ranks, pairs, seeds = comparison_tables(facts)
    assert list(ranks.cells.system)[0] == "ours" and ranks.cells[P4].tolist()[1:] == [f"2 ({EASE.mean():+.3f})"] * 2
    assert (
        pairs.cells.systems.tolist() == ["ours − base", "ours − other", "base − other"]
        and "higher is better" in pairs.title
    )
    assert pairs.cells["p of the pair"].tolist()[2] == "1.000" and pairs.cells.clips.tolist() == ["10"] * 3
    assert seeds.cells.seeds.tolist() == ["2"] and "± 0.071" in seeds.cells[P4][0]
    assert comparison_tables({"systems": {}}) == []
