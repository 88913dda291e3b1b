"""A hum at the codes' rate and copied runs of codes, on audio and lists whose answer is known."""

import numpy as np
import pytest

from d2m_model.metrics.bootstrap import resamples
from d2m_model.metrics.code_health import code_rate, hum_scores, hum_share, longest_copy

RATE = 22050


def tone(hertz, seconds=2.0):
    return np.sin(2 * np.pi * hertz * np.arange(round(seconds * RATE)) / RATE).astype(np.float32)


def test_the_hum_is_the_power_at_multiples_of_the_codes_rate():
    assert code_rate("high") == pytest.approx(172.27, abs=0.005) and code_rate("low") == pytest.approx(
        689.06, abs=0.005
    )
    rate = code_rate("high")
    assert (
        hum_share(tone(rate), rate) > 0.99
        and hum_share(tone(7 * rate), rate) > 0.99
        and hum_share(tone(2.5 * rate), rate) < 0.01
    )
    assert hum_share(tone(2.5 * rate) + tone(3 * rate), rate) == pytest.approx(0.5, abs=0.01)
    assert hum_share(10 * tone(2.5 * rate) + tone(3 * rate), rate) == pytest.approx(1 / 101, rel=0.05), (
        "power, not level"
    )
    noise = np.random.default_rng(0).standard_normal(20 * RATE).astype(np.float32)
    assert hum_share(noise, rate) == pytest.approx(5 / 64, rel=0.05), (
        "noise: five bins of the 64 from one multiple to the next"
    )
    assert np.isnan(hum_share(np.zeros(RATE, np.float32), rate)) and np.isnan(hum_share(tone(100, 0.1), rate))


def test_the_ratio_is_of_means_over_the_same_clips():
    rate = code_rate("low")
    mixed = lambda share: np.sqrt(share) * tone(rate) + np.sqrt(1 - share) * tone(1.5 * rate)
    made, again = {"a": mixed(0.3), "b": mixed(0.6)}, {"a": mixed(0.1), "b": mixed(0.2)}
    found = hum_scores(made, again, rate, resamples(2, draws=100))
    assert found["hum_ratio"] == pytest.approx(3, rel=0.02) and found["hum_ratio_low"] == pytest.approx(3, rel=0.03)


def by_hand(codes, training):
    """Every pair of places, one code after the other."""
    best = 0
    for a in codes:
        for b in training:
            for i in range(len(a)):
                for j in range(len(b)):
                    n = 0
                    while i + n < len(a) and j + n < len(b) and a[i + n] == b[j + n]:
                        n += 1
                    best = max(best, n)
    return best


def test_the_longest_copy_is_found_wherever_it_is():
    rng = np.random.default_rng(1)
    for entries, lengths in ((2, (9, 14)), (5, (30, 25)), (40, (60, 40))):
        codes, training = ([rng.integers(0, entries, n) for n in lengths] for _ in range(2))
        assert longest_copy(codes, training) == by_hand(codes, training) > 0
    big = rng.integers(0, 1000, 20000)
    assert longest_copy([np.r_[5000, big[700:1047], 5001]], [big[:500], big[500:]]) == 347


def test_a_copy_does_not_go_over_the_end_of_a_clip():
    assert longest_copy([np.array([1, 2, 3, 4])], [np.array([9, 1, 2]), np.array([3, 4, 9])]) == 2
    assert longest_copy([np.array([1, 2]), np.array([3, 4])], [np.array([1, 2, 3, 4])]) == 2
    assert (
        longest_copy([np.array([1])], [np.array([2])]) == 0
        and longest_copy([np.array([7, 7])], [np.array([7, 7])]) == 2
    )
    assert longest_copy([], [np.array([1])]) == 0 and longest_copy([np.array([1])], []) == 0
