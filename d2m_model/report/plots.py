"""The report's plots, as inline SVG or data URLs; equal inputs give equal bytes."""

import base64
import functools
import io
import re
from pathlib import Path

import markupsafe
import numpy as np
import pandas as pd

AXIS, ROW, TALL = 18, 26, 9999
"""Heights in a time line, in its units: the axis and a row (report.js reads both), and a line through any number of rows."""
LONG = 12
"""Longest name, in characters, that stays on one line."""
COLOURS = {
    "own music": "var(--truth)",
    "high": "var(--accent)",
    "low": "var(--accent)",
}  # models as in the first picture


def beat_timeline(
    rows: dict[str, np.ndarray], beats: np.ndarray | None, seconds: float, shown: set[str]
) -> markupsafe.Markup:
    """A time line with one row of onset ticks per system (the paper's Fig. 5).

    rows : name -> onset times in seconds. beats : true beat times, drawn as lines through all rows, or None. shown : rows that are
    visible at first; on the page every row can be shown or hidden.
    """
    labels = {name: _label(name) for name in rows}
    width, left = 480, max(84, *(8 * len(text) + 4 for lines in labels.values() for text in lines))
    height = AXIS + ROW * len(shown)
    x = lambda t: left + (width - left - 8) * t / seconds
    line = lambda t, y, end, style: f'<line x1="{x(t):.1f}" x2="{x(t):.1f}" y1="{y}" y2="{end}" {style}/>'
    parts = [
        f'<svg class="beats" viewBox="0 0 {width} {height}" data-axis="{AXIS}" data-row-height="{ROW}" role="img" aria-label="onsets over time">'
    ]
    parts += [f'<text x="{x(s):.1f}" y="11" text-anchor="middle">{s} s</text>' for s in range(int(seconds) + 1)]
    dashed = 'stroke="var(--beat)" stroke-width="1" stroke-dasharray="2 2"'
    parts += [line(t, AXIS, TALL, dashed) for t in ([] if beats is None else beats[beats < seconds])]
    place = 0
    for name, times in rows.items():
        colour = COLOURS.get(name.split("-")[0], COLOURS.get(name, "var(--soft)"))
        hidden = "" if name in shown else ' display="none"'
        parts.append(f'<g data-row="{markupsafe.escape(name)}" transform="translate(0 {AXIS + ROW * place})"{hidden}>')
        first = 14 if len(labels[name]) == 1 else 8
        parts += [
            f'<text x="0" y="{first + 12 * i}">{markupsafe.escape(text)}</text>' for i, text in enumerate(labels[name])
        ]
        parts += [line(t, 0, ROW - 8, f'stroke="{colour}" stroke-width="2.5"') for t in times[times < seconds]]
        parts.append("</g>")
        place += name in shown
    parts.append(
        f'<g transform="translate({left} 0)"><g class="playhead" data-width="{width - left - 8}" data-seconds="{seconds:.3f}">'
    )
    parts.append(f'<line x1="0" x2="0" y1="{AXIS}" y2="{TALL}" stroke="var(--ink)" stroke-width="1"/></g></g></svg>')
    return markupsafe.Markup("".join(parts))


def _label(name: str) -> list[str]:
    """The lines of a name: one, or two for a long name with a space, '_' or '-'."""
    match = re.match(r"(.*)([_ -])(.*)", name) if len(name) > LONG else None
    head, joint, tail = match.groups() if match else ("", "", "")
    return [head + joint, tail] if joint else [name]


def legend_above(axes, columns: int = 3) -> None:
    """Put the legend above the plot, where it hides nothing."""
    axes.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=columns, frameon=False, fontsize=9, borderaxespad=0.2)


def figure(title: str, *draws, size=(5.0, 3.2), columns: int = 1) -> dict:
    """{title, image}: a figure as an SVG data URL without time stamps; each function of `draws` draws on its own axes. size: in
    inches; by default the text is readable at a phone's width."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    with plt.rc_context({"svg.hashsalt": "d2m", "svg.fonttype": "none", "font.size": 10}):
        rows = -(-len(draws) // columns)
        canvas, grid = plt.subplots(rows, columns, figsize=size, layout="constrained", squeeze=False)
        for axes in grid.flat[len(draws) :]:
            axes.remove()
        for draw, axes in zip(draws, grid.flat):
            draw(axes)
            axes.spines[["top", "right"]].set_visible(False)
        canvas.suptitle(title, fontsize=11)
        buffer = io.BytesIO()
        canvas.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
        plt.close(canvas)
    return {"title": title, "image": "data:image/svg+xml;base64," + base64.b64encode(buffer.getvalue()).decode()}


def loss_curves(path: Path, title: str) -> list[dict]:
    """Figures of a curves.csv, one per level if it has several: every loss term over the training steps (the paper's Fig. 6), each
    on its own axes because their sizes differ; and the P4 difference during training, if the file has it."""
    curves = pd.read_csv(path)
    levels = sorted({name.rpartition("_level_")[2] for name in curves if "_level_" in name})
    figures = []
    for level in levels or [None]:
        part = curves if level is None else _of_level(curves, level)
        name = title if level is None else f"{title}, level {level}"
        measured = [c for c in part.columns if c.lower().startswith("p4") and part[c].notna().any()]
        terms = [c for c in part.columns if c not in ("step", *measured) and part[c].notna().any()]
        draws = [functools.partial(_draw_term, part[["step", term]].dropna(), term) for term in terms]
        if draws:
            figures.append(figure(name, *draws, columns=2, size=(5.0, 0.4 + 1.5 * -(-len(draws) // 2))))
        if measured:
            figures.append(figure(f"{name}: P4 difference", functools.partial(_draw_measured, part, measured)))
    return figures


def _of_level(curves: pd.DataFrame, level: str) -> pd.DataFrame:
    """`step` and the columns <name>_level_<level>, renamed to <name>."""
    names = {name: name.removesuffix(f"_level_{level}") for name in curves if name.endswith(f"_level_{level}")}
    return curves[["step", *names]].rename(columns=names)


def _draw_term(values: pd.DataFrame, term: str, axes) -> None:
    axes.plot(values.step, values[term], linewidth=0.8, alpha=0.35, color="C0")
    smooth = values[term].rolling(max(1, len(values) // 20), min_periods=1).mean()
    axes.plot(values.step, smooth, linewidth=1.2, color="C0")
    axes.set_title(term, fontsize=9)
    axes.tick_params(labelsize=8)


def _draw_measured(part: pd.DataFrame, names: list[str], axes) -> None:
    for name in names:
        values = part[["step", name]].dropna()
        axes.plot(values.step, values[name], label=name, marker="o", markersize=3, linewidth=1.2)
    axes.axhline(0, color="grey", linewidth=0.8)
    axes.set_xlabel("step")
    axes.set_ylabel("onset F-measure, ±70 ms")
    legend_above(axes)


def corpus_plots(clips: pd.DataFrame) -> list[dict]:
    """Figures of the corpus: clip lengths by split, clips per genre, clips per compilation. clips: clips/rows.csv joined with the
    split."""
    good = clips[clips.status == "ok"]
    seconds = good.frames / 30
    splits = sorted(good.split.unique())

    def lengths(axes):
        axes.hist([seconds[good.split == s] for s in splits], bins=12, stacked=True, label=splits)
        axes.set_xlabel("seconds")
        axes.set_ylabel("clips")
        legend_above(axes)

    def by(column):
        def draw(axes):
            table = (
                good.assign(**{column: good[column].fillna("unknown")})
                .groupby([column, "split"])
                .size()
                .unstack(fill_value=0)
            )
            table.plot.bar(ax=axes, stacked=True, rot=30, xlabel="")
            axes.set_ylabel("clips")
            legend_above(axes)

        return draw

    return [
        figure("Clip lengths", lengths),
        figure("Clips per genre", by("genre")),
        figure("Clips per compilation", by("video_id")),
    ]
