"""The results of what_makes_it_learn.py as a table over seeds, and as curves over training steps."""

import itertools
import math
from pathlib import Path

import numpy as np
from scipy.stats import t

SCORES = ("beats", "onsets")
COLUMNS = (
    "row",
    "level",
    "steps",
    "seeds",
    *(f"P4 {s}" for s in SCORES),
    "onsets a clip",
    "motion",
    "FAD",
    "beats − start",
    "onsets − start",
)


def over_seeds(values: list[float], form: str = "+.3f") -> str:
    """Text with the mean and range of the values; a single value alone."""
    mean = format(sum(values) / len(values), form)
    return mean if len(values) == 1 else f"{mean} ({min(values):{form}} to {max(values):{form}})"


def over_clips(r: dict, score: str) -> str:
    """Text with the score of one training and its interval over clips."""
    return f"{r[score]:+.3f} [{r[f'{score}_low']:+.3f}, {r[f'{score}_high']:+.3f}]"


def paired(a: dict[int, float], b: dict[int, float]) -> tuple[float, float] | None:
    """Mean of a - b over the seeds that both have, and half the width of its 95 % interval (Student's t); None for fewer than three
    seeds."""
    differences = np.array([a[seed] - b[seed] for seed in sorted(a.keys() & b.keys())])
    if (n := len(differences)) < 3:
        return None
    return float(differences.mean()), float(t.ppf(0.975, n - 1) * differences.std(ddof=1) / math.sqrt(n))


def as_table(rows: list[dict]) -> str:
    """Trainings as a Markdown table: the mean and range over the seeds of each row, or the interval over clips for a single seed;
    and the difference to the row named before the comma, over common seeds.

    rows: results, with those of one row in succession.
    """
    key = lambda r: (r["row"], r["steps"], r["batch"])
    of = lambda found, name: {r["seed"]: r[name] for r in found}
    groups = {k: list(found) for k, found in itertools.groupby(rows, key)}
    lines = ["| " + " | ".join(COLUMNS) + " |", "|:-" * 3 + "|-:" + "|:-" * 2 + "|-:" * 3 + "|:-" * 2 + "|"]
    for (name, steps, batch), found in groups.items():
        start = groups.get((name.split(",")[0], steps, batch), []) if "," in name else []
        more = [paired(of(found, score), of(start, score)) for score in SCORES]
        cells = [name, found[0]["level"], f"{steps} × {batch}", str(len(found))]
        cells += [
            over_seeds(list(of(found, s).values())) if len(found) > 1 else over_clips(found[0], s) for s in SCORES
        ]
        cells += [
            over_seeds([r["onsets_a_clip"] for r in found], ".0f"),
            over_seeds([100 * r["motion_share"] for r in found], ".0f") + " %",
        ]
        cells += [
            over_seeds([r["fad"] for r in found], ".0f"),
            *(f"{m[0]:+.3f} ± {m[1]:.3f}" if m else "" for m in more),
        ]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def plot(rows: list[dict], path: Path) -> None:
    """Plot P4 (beats) over the training steps for each row with a curve, with its interval shaded."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    levels = list(dict.fromkeys(r["level"] for r in rows if r["curve"]))
    figure = Figure(figsize=(4.2 * len(levels), 3.2), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    for axes, level in zip(figure.subplots(1, len(levels), sharey=True, squeeze=False)[0], levels, strict=True):
        axes.axhline(0, color="0.6", linewidth=0.8)
        for r in (r for r in rows if r["curve"] and r["level"] == level):
            x, y, low, high = ([point[k] for point in r["curve"]] for k in ("step", "beats", "beats_low", "beats_high"))
            (line,) = axes.plot(
                x,
                y,
                marker="o",
                markersize=3,
                label=f"{r['row'].removeprefix(level + '-')} ({r['steps']} × {r['batch']}, seed {r['seed']})",
            )
            axes.fill_between(x, low, high, color=line.get_color(), alpha=0.15, linewidth=0)
        axes.set(title=level, xlabel="steps")
        axes.legend(loc="upper left", fontsize=8)
    figure.axes[0].set_ylabel("P4 own − other (beats), test clips")
    figure.savefig(path, metadata={"Software": None})
