"""Plots of the report, as inline SVG or data URLs; equal inputs give equal bytes."""

import base64
import io
from pathlib import Path

import markupsafe
import numpy as np
import pandas as pd

COLOURS = {"own music": "var(--truth)", "high": "var(--high)", "low": "var(--low)"}


def beat_timeline(rows: dict[str, np.ndarray], beats: np.ndarray | None, seconds: float) -> markupsafe.Markup:
    """One row of onset ticks per sound over a shared time axis (the paper's Fig. 5).

    rows : name -> onset times in seconds. beats : true beat times drawn as lines through all rows, or None.
    """
    width, left, step = 480, 76, 26
    height = step * len(rows) + 22
    x = lambda t: left + (width - left - 8) * t / seconds
    parts = [f'<svg class="beats" viewBox="0 0 {width} {height}" role="img" aria-label="onsets over time">']
    for t in [] if beats is None else beats[beats < seconds]:
        parts.append(f'<line x1="{x(t):.1f}" x2="{x(t):.1f}" y1="2" y2="{height - 20}" stroke="var(--beat)" stroke-width="1" stroke-dasharray="2 2"/>')
    for i, (name, times) in enumerate(rows.items()):
        y, colour = 4 + step * i, COLOURS.get(name.split("-")[0], COLOURS.get(name, "var(--accent)"))
        parts.append(f'<text x="0" y="{y + 14}">{markupsafe.escape(name)}</text>')
        parts += [
            f'<line x1="{x(t):.1f}" x2="{x(t):.1f}" y1="{y}" y2="{y + step - 8}" stroke="{colour}" stroke-width="2.5"/>'
            for t in times[times < seconds]
        ]
    for s in range(int(seconds) + 1):
        parts.append(f'<text x="{x(s):.1f}" y="{height - 6}" text-anchor="middle">{s} s</text>')
    span = width - left - 8
    parts.append(f'<g transform="translate({left} 0)"><g class="playhead" data-width="{span}" data-seconds="{seconds:.3f}">')
    parts.append(f'<line x1="0" x2="0" y1="0" y2="{height - 18}" stroke="var(--ink)" stroke-width="1"/></g></g></svg>')
    return markupsafe.Markup("".join(parts))


def _figure(title: str, draw, size=(6.0, 3.4)) -> dict:
    """{title, image}: what `draw(axes)` paints, as an SVG data URL without time stamps."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    with plt.rc_context({"svg.hashsalt": "d2m", "svg.fonttype": "none", "font.size": 9}):
        figure, axes = plt.subplots(figsize=size, layout="constrained")
        draw(axes)
        axes.set_title(title)
        axes.spines[["top", "right"]].set_visible(False)
        buffer = io.BytesIO()
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
        plt.close(figure)
    return {"title": title, "image": "data:image/svg+xml;base64," + base64.b64encode(buffer.getvalue()).decode()}


def loss_curves(path: Path, title: str) -> dict:
    """Every loss term of a curves.csv over training steps, each divided by its first value's size so that all can be
    read on one axis (the paper's Fig. 6)."""
    curves = pd.read_csv(path)
    step = curves.columns[0]

    def draw(axes):
        for name in curves.columns[1:]:
            part = curves[[step, name]].dropna()
            if len(part):
                scale = float(np.abs(part[name].iloc[: max(1, len(part) // 20)]).mean()) or 1.0
                smooth = (part[name] / scale).rolling(max(1, len(part) // 40), min_periods=1).mean()
                axes.plot(part[step], smooth, label=f"{name} (1 = {scale:.3g})", linewidth=1.2)
        axes.set_xlabel("step")
        axes.set_ylabel("relative to its start")
        if len(curves.columns) > 1:
            axes.legend(fontsize=7, frameon=False, ncols=2)

    return _figure(title, draw)


def corpus_plots(clips: pd.DataFrame) -> list[dict]:
    """Clip lengths by split, clips per genre and split, clips per compilation. clips: clips/rows.csv joined with split."""
    good = clips[clips.status == "ok"]
    seconds = good.frames / 30
    splits = sorted(good.split.unique())

    def lengths(axes):
        axes.hist([seconds[good.split == s] for s in splits], bins=12, stacked=True, label=splits)
        axes.set_xlabel("seconds")
        axes.set_ylabel("clips")
        axes.legend(frameon=False)

    def by(column):
        def draw(axes):
            table = good.assign(**{column: good[column].fillna("unknown")}).groupby([column, "split"]).size().unstack(fill_value=0)
            table.plot.bar(ax=axes, stacked=True, rot=30, xlabel="")
            axes.set_ylabel("clips")
            axes.legend(frameon=False)

        return draw

    return [
        _figure("Clip lengths", lengths),
        _figure("Clips per genre", by("genre")),
        _figure("Clips per compilation", by("video_id")),
    ]
