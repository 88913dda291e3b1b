"""The report's first picture: the P4 difference of every system and control against its distance from music.

A point is {name, kind, number, y, x}, with y and x as (value, low, high). y is the P4 difference; x is the FAD or, with too few
patches for it, the KAD; kind is from `overview.kind_of`. low and high are None without an interval. Points are sorted, best first.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import markupsafe

from d2m_model.metrics.overview import cell, kind_of, p4_kind, reference_kind

LEFT, RIGHT, TOP, BOTTOM = 48, 14, 26, 42
"""Margins around the axes, in units of the picture."""
REACH = (12, 18, 28, 40, 56, 76, 100, 130)
"""Candidate distances of a label from its point."""
KINDS = ("model", "other", "baseline", "control")
"""Kinds of systems, in the order in which their labels are placed."""


def distance_of(systems: Mapping[str, Mapping]) -> str:
    """The score of the picture's x axis: 'fad' if any system has one, else 'kad'."""
    return "fad" if any(s.get("fad", {}).get("fad") is not None for s in systems.values()) else "kad"


def points_of(systems: Mapping[str, Mapping]) -> list[dict]:
    """The points of all systems with both scores, best first: by the mean of their ranks in both scores, which does not depend on
    units, and then by P4."""
    kind, distance = reference_kind(systems), distance_of(systems)
    found: list[dict[str, Any]] = []
    for name, summary in systems.items():
        p4, far = p4_kind(summary.get("P4", {}), kind) or {}, summary.get(distance, {})
        if p4.get("difference") is not None and far.get(distance) is not None:
            span = lambda scores, key: (scores[key], scores.get(f"{key}_low"), scores.get(f"{key}_high"))
            texts = {"y_text": cell(p4, "difference", 3, sign=True), "x_text": cell(far, distance, 2)}
            found.append(
                {"name": name, "kind": kind_of(summary), "y": span(p4, "difference"), "x": span(far, distance)} | texts
            )
    better = lambda point, other: (other["y"][0] > point["y"][0]) + (other["x"][0] < point["x"][0])
    ranks = {p["name"]: sum(better(p, other) for other in found) for p in found}
    ordered = sorted(found, key=lambda p: (ranks[p["name"]], -p["y"][0], p["name"]))
    return [p | {"number": at} for at, p in enumerate(ordered, 1)]


@dataclass(frozen=True)
class Box:
    """A rectangle on the picture."""

    left: float
    top: float
    right: float
    bottom: float

    def overlap(self, other: "Box") -> float:
        """Area of the intersection."""
        wide, high = (
            min(self.right, other.right) - max(self.left, other.left),
            min(self.bottom, other.bottom) - max(self.top, other.top),
        )
        return max(0.0, wide) * max(0.0, high)


def draw(
    points: Sequence[dict], distance: str, *, width: int, height: int, size: int = 13, numbered: bool = False
) -> markupsafe.Markup:
    """The picture as inline SVG of `width` by `height` units, with text of `size` and intervals as crosses. Points are labelled with
    their names or, with numbered=True, with their numbers in the list below the picture."""
    x, x_ticks = _axis([v for p in points for v in p["x"]], LEFT, width - RIGHT, logarithmic=distance == "fad")
    y, y_ticks = _axis([0.0, *(v for p in points for v in p["y"])], height - BOTTOM, TOP)
    frame = Box(LEFT, TOP, width - RIGHT, height - BOTTOM)
    parts = [
        f'<svg class="field" viewBox="0 0 {width} {height}" font-size="{size}" role="img" aria-label="P4 against {distance.upper()} of every system">'
    ]
    for value in x_ticks:
        parts.append(
            f'<line class="grid" x1="{x(value):.1f}" x2="{x(value):.1f}" y1="{frame.top}" y2="{frame.bottom}"/>'
        )
        parts.append(
            f'<text class="tick" x="{x(value):.1f}" y="{frame.bottom + size + 2}" text-anchor="middle">{value:g}</text>'
        )
    for value in y_ticks:
        zero = " zero" if value == 0 else ""
        parts.append(
            f'<line class="grid{zero}" x1="{frame.left}" x2="{frame.right}" y1="{y(value):.1f}" y2="{y(value):.1f}"/>'
        )
        parts.append(
            f'<text class="tick" x="{LEFT - 6}" y="{y(value) + size / 3:.1f}" text-anchor="end">{f"{value:+.1f}" if value else "0"}</text>'
        )
    parts.append(f'<text class="tick" x="6" y="{size + 2}">P4: more follows its dance</text>')
    parts.append(
        f'<text class="tick" x="{(frame.left + frame.right) / 2:.0f}" y="{height - 6}" text-anchor="middle">{distance.upper()}: less is nearer to music</text>'
    )
    places = [(x(p["x"][0]), y(p["y"][0])) for p in points]
    bars = []
    for p in points:
        for (_, low, high), along in ((p["x"], True), (p["y"], False)):
            if low is not None and high is not None:
                scale = x if along else y
                across = y(p["y"][0]) if along else x(p["x"][0])
                a, b = sorted((scale(low), scale(high)))
                ends = (a, across, b, across) if along else (across, a, across, b)
                bars.append(Box(ends[0] - 1, ends[1] - 1, ends[2] + 1, ends[3] + 1))
                parts.append(
                    f'<line class="bar {p["kind"]}" x1="{ends[0]:.1f}" y1="{ends[1]:.1f}" x2="{ends[2]:.1f}" y2="{ends[3]:.1f}"/>'
                )
    for p, (px, py) in zip(points, places, strict=True):
        title = markupsafe.escape(f"{p['name']}: P4 {p['y_text']}, {distance.upper()} {p['x_text']}")
        parts.append(
            f'<circle class="point {p["kind"]}" cx="{px:.1f}" cy="{py:.1f}" r="{7 if p["kind"] == "model" else 5}"><title>{title}</title></circle>'
        )
    texts = [str(p["number"]) if numbered else p["name"] for p in points]
    for at, (box, far) in _labels(points, texts, places, bars, frame, size).items():
        (px, py), p = places[at], points[at]
        near_x, near_y = min(max(px, box.left), box.right), min(max(py, box.top), box.bottom)
        if far > REACH[0]:
            parts.append(f'<line class="leader" x1="{px:.1f}" y1="{py:.1f}" x2="{near_x:.1f}" y2="{near_y:.1f}"/>')
        parts.append(
            f'<text class="name {p["kind"]}" x="{box.left + 2:.1f}" y="{box.bottom - 3:.1f}">{markupsafe.escape(texts[at])}</text>'
        )
    return markupsafe.Markup("".join([*parts, "</svg>"]))


def _axis(values: Sequence[float | None], start: float, end: float, *, logarithmic: bool = False):
    """(function from values to coordinates between start and end, tick values), with a margin at both ends; values outside are
    clipped."""
    known = [v for v in values if v is not None and math.isfinite(v)]
    if logarithmic:
        known = [v for v in known if v > 0] or [1.0]
        low, high = max(min(known), max(known) / 1000) / 1.25, max(known) * 1.25
        ticks = [m * 10.0**e for e in range(-4, 8) for m in (1, 2, 5) if low <= m * 10.0**e <= high]
        convert = lambda v: math.log(min(max(v, low), high))
    else:
        reach = max(known) - min(known) or 1.0
        low, high = min(known) - 0.05 * reach, max(known) + 0.05 * reach
        step = next(s for s in (m * 10.0**e for e in range(-4, 8) for m in (1, 2, 5)) if reach / s <= 6)
        ticks = [round(n * step, 6) for n in range(math.ceil(low / step), math.floor(high / step) + 1)]
        convert = lambda v: min(max(v, low), high)
    a, b = convert(low), convert(high)
    return lambda v: start + (end - start) * (convert(v) - a) / (b - a), ticks


def _labels(
    points: Sequence[dict],
    texts: Sequence[str],
    places: Sequence[tuple[float, float]],
    bars: Sequence[Box],
    frame: Box,
    size: int,
) -> dict:
    """{index: (box of its text, distance from its point)}. Labels are placed one by one, models first, each at the nearest place that
    covers no label, no point and little of the intervals."""
    marks = [Box(px - 7, py - 7, px + 7, py + 7) for px, py in places]
    taken: list[Box] = []
    result = {}
    for at in sorted(range(len(points)), key=lambda i: (KINDS.index(points[i]["kind"]), i)):
        (px, py), wide, high = places[at], 0.58 * size * len(texts[at]) + 4, size + 3
        best: tuple[float, Box, int] | None = None
        for far in REACH:
            for turn in range(16):
                angle = math.pi * turn / 8
                mx, my = px + far * math.cos(angle), py - far * math.sin(angle)
                left = mx if math.cos(angle) > 0.3 else mx - wide if math.cos(angle) < -0.3 else mx - wide / 2
                box = Box(left, my - high / 2, left + wide, my + high / 2)
                outside = wide * high - box.overlap(frame)
                cost = (
                    20 * (outside + sum(map(box.overlap, taken)) + sum(map(box.overlap, marks)))
                    + sum(map(box.overlap, bars))
                    + 1.5 * far
                )
                if best is None or cost < best[0]:
                    best = (cost, box, far)
        assert best is not None
        taken.append(best[1])
        result[at] = best[1:]
    return result
