"""The report's first picture: what is in it, in which order, and that its labels can be read."""

import re

import numpy as np

from d2m_model.report.picture import Box, _axis, _labels, draw, points_of
from d2m_model.report.stage import opening


def system(p4, fad, kind="control", reach=0.05):
    beats = {"difference": p4, "difference_low": p4 - reach, "difference_high": p4 + reach}
    return {
        "kind": kind,
        "P4": {"beats_70ms": beats},
        "fad": {"fad": fad, "fad_low": 0.8 * fad, "fad_high": 1.2 * fad},
        "kad": {"kad": fad / 10},
    }


SYSTEMS = {
    "high-full": system(0.3, 5.0, "model"), "cmt": system(0.31, 4.8, "baseline"), "ground truth": system(0.5, 0.8), "silence": system(0.0, 29.0),
    "<b>": system(0.02, 17.0), "fixed click": system(-0.01, 31.0), "no FAD": {"kind": "control", "P4": {"beats_70ms": {"difference": 0.1}}},
}  # fmt: skip


def test_points_are_best_first_by_both_scores():
    assert [p["name"] for p in points_of(SYSTEMS)] == [
        "ground truth",
        "cmt",
        "high-full",
        "<b>",
        "silence",
        "fixed click",
    ]
    assert (
        points_of(SYSTEMS)[2]["y_text"] == "+0.300 [+0.250, +0.350]"
        and points_of(SYSTEMS)[2]["x_text"] == "5.00 [4.00, 6.00]"
    )
    few = {name: s | {"fad": {"declined": "too few patches"}} for name, s in SYSTEMS.items()}
    assert [p["x"] for p in points_of(few)][:2] == [(0.08, None, None), (0.48, None, None)], "KAD where there is no FAD"
    assert opening(few)["distance"] == "KAD" and opening({"silence": {"kind": "control"}}) is None


def test_every_system_is_drawn_with_its_intervals_and_name():
    page = opening(SYSTEMS)
    wide, narrow = page["wide"], page["narrow"]
    for svg in (wide, narrow):
        assert svg.count("<circle") == 6 and svg.count('class="bar') == 12 and "<b>" not in svg
    assert re.findall(r'class="name \w+"[^>]*>([^<]+)<', narrow) == ["3", "2", "1", "4", "5", "6"], (
        "models, baselines, controls"
    )
    assert "ground truth</text>" in wide and "silence: P4 +0.000 [-0.050, +0.050], FAD 29.00" in wide
    assert draw(points_of(SYSTEMS), "fad", width=500, height=300) == draw(
        points_of(SYSTEMS), "fad", width=500, height=300
    )


def test_axes_run_from_end_to_end_and_hold_what_is_outside():
    place, ticks = _axis([0.5, 50.0, 0.0, None], 0, 100, logarithmic=True)
    assert abs(place(5.0) - 50) < 1e-9 and place(0.0) == 0 and ticks == [0.5, 1, 2, 5, 10, 20, 50]
    place, ticks = _axis([0.0, 0.5, -0.1], 300, 0)
    assert place(-0.1) > place(0.0) > place(0.5) > 0 and ticks == [-0.1, 0.0, 0.1, 0.2, 0.3, 0.4, 0.5]


def test_labels_cover_neither_each_other_nor_points():
    """Twenty systems, a dozen of them near P4 of 0, as the demo has them."""
    rng = np.random.default_rng(0)
    places = [
        (float(x), float(y))
        for x, y in zip(rng.uniform(100, 1000, 20), np.r_[rng.normal(450, 15, 12), rng.uniform(50, 400, 8)])
    ]
    points = [{"kind": ("model", "baseline", "control")[i % 3]} for i in range(20)]
    boxes = [
        box
        for box, _ in _labels(points, ["shuffled ground truth"] * 20, places, [], Box(48, 10, 1126, 518), 13).values()
    ]
    assert len(boxes) == 20 and not [1 for i, a in enumerate(boxes) for b in boxes[:i] if a.overlap(b) > 1]
    assert not [1 for a in boxes for x, y in places if a.overlap(Box(x - 5, y - 5, x + 5, y + 5)) > 1]
