"""FAD, FAD∞, KAD and their intervals on points whose answer is known."""

import numpy as np
import pytest

from d2m_model.metrics.distances import (
    EmbeddedMusic,
    distance_scores,
    fad_scores,
    frechet,
    jackknife,
    kernel_distance,
    left_out,
)


def test_frechet_of_gaussians_is_the_closed_form():
    rng = np.random.default_rng(0)
    a, b = rng.standard_normal((20000, 3)), rng.standard_normal((20000, 3)) * [1, 2, 3] + [1, 0, 0]
    assert frechet(a, a) == pytest.approx(0, abs=1e-9)
    assert frechet(a, b) == pytest.approx(1 + 0 + 1 + 4, rel=0.03)
    turned = np.linalg.qr(rng.standard_normal((3, 3)))[0]
    assert frechet(a @ turned, b @ turned) == pytest.approx(frechet(a, b))


def test_fad_infinity_takes_the_bias_of_few_points_away():
    rng = np.random.default_rng(1)
    reference, few = rng.standard_normal((5000, 8)), rng.standard_normal((40, 8))
    found = fad_scores(few, reference, 0)
    assert found["fad"] > 0.4 and abs(found["fad_infinity"]) < 0.3 * found["fad"]
    assert "infinity_declined" in fad_scores(few[:20], reference, 0) and "fad" in fad_scores(few[:20], reference, 0)
    assert "15 patches are too few for 8 dimensions: 16" in fad_scores(few[:15], reference, 0)["declined"]


def test_kad_is_the_unbiased_squared_discrepancy():
    """Against sums written out over pairs of different points; equal distributions are at 0, the scale is the reference's."""
    rng = np.random.default_rng(2)
    near, far, music = rng.standard_normal((30, 3)), rng.standard_normal((25, 3)) + 2, rng.standard_normal((40, 3))
    reference = EmbeddedMusic(music)
    pairs = [np.linalg.norm(a - b) for i, a in enumerate(music) for b in music[:i]]
    kernel = lambda a, b: np.exp(-np.sum((a - b) ** 2) / (2 * np.median(pairs) ** 2))
    among = lambda x: np.mean([kernel(a, b) for i, a in enumerate(x) for j, b in enumerate(x) if i != j])
    wanted = lambda x: 100 * (among(x) + among(music) - 2 * np.mean([kernel(a, b) for a in x for b in music]))
    every = lambda x: np.ones(len(x), bool)
    for points in (near, far):
        assert kernel_distance(points, reference)(every(points)) == pytest.approx(wanted(points))
    half = np.arange(30) < 15
    assert kernel_distance(near, reference)(half) == pytest.approx(wanted(near[:15]))
    assert kernel_distance(far, reference)(every(far)) > 20 and abs(kernel_distance(near, reference)(every(near))) < 3
    wide = EmbeddedMusic(10 * music)
    assert kernel_distance(10 * far, wide)(every(far)) == pytest.approx(wanted(far)), "no unit of the embedding matters"


def test_the_jackknife_of_a_mean_is_the_t_interval():
    values = np.random.default_rng(3).normal(5, 2, 12)
    without = left_out(lambda kept: float(values[kept].mean()), [f"c{n}" for n in range(12)])
    low, high = jackknife(float(values.mean()), list(without.values()))
    reach = 2.2009852 * values.std(ddof=1) / np.sqrt(12)  # t of 97.5 % with 11 degrees of freedom
    assert (low, high) == pytest.approx((values.mean() - reach, values.mean() + reach))
    assert left_out(lambda kept: 0.0, ["a"] * 12) == {} and left_out(lambda kept: 0.0, ["a", "a", "b"]) == {}


def test_distances_have_intervals_over_clips_and_songs_and_a_bound_by_coding():
    """Clips of one song are alike, so songs' intervals are the wider; what was coded is nearer to coded music."""
    rng = np.random.default_rng(4)
    music, songs = rng.standard_normal((400, 2)), rng.standard_normal((4, 2))
    clips = {f"{s}{n}": songs[s] + 0.3 * rng.standard_normal((6, 2)) for s in range(4) for n in range(3)}
    points, owners = np.concatenate(list(clips.values())), [c for c in clips for _ in range(6)]
    scores = distance_scores(
        points, EmbeddedMusic(music), 0, clips=owners, songs=[c[0] for c in owners],
        coded=EmbeddedMusic(points + 0.01), own=EmbeddedMusic(points),
    )  # fmt: skip
    fad, kad = scores["fad"], scores["kad"]
    assert (
        fad["fad_low"] < fad["fad"] < fad["fad_high"]
        and fad["fad_song_high"] - fad["fad_song_low"] > fad["fad_high"] - fad["fad_low"]
    )
    assert kad["kad_low"] < kad["kad"] < kad["kad_high"] and fad["coded"] < 0.01 < fad["fad"] and fad["coded_low"] >= 0
    assert fad["references"] == pytest.approx(0, abs=1e-9) and fad["references_song_high"] > 0
    assert len(scores["without"]["fad"]) == 12 and set(scores["without"]["kad_song"]) == set("0123")
    few = distance_scores(points[:3], EmbeddedMusic(music), 0, clips=owners[:3])
    assert "declined" in few["fad"] and "coded" not in few["fad"] and set(few["kad"]) == {"kad"}, (
        "three points are enough for KAD"
    )
