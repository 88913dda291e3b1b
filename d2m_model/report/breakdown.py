"""Where the music follows its dance and where it does not: P4 differences per genre, per tempo, and per clip.

A view is {title, header, rows: [{cells, kind}], note}, which the template shows as a sortable table. The kind, a value of `KINDS`
or of an extreme, is the row's class in the style sheet.
"""

import markupsafe
import numpy as np
import pandas as pd

from d2m_model.report.plots import figure, legend_above

TEMPO_STEP = 20  # beats per minute of one group
KINDS = {"control": "control", "model": "chosen", "baseline": "baseline", "other": "other"}


def differences(per_clip: pd.DataFrame, kind: str) -> pd.DataFrame:
    """Rows of evaluate/per_clip.csv that have a P4 score, with `own`, `other` and `difference` = own − other.

    kind : 'beats' or 'onsets'. Empty if P4 was not run.
    """
    own, other = f"P4_{kind}_own", f"P4_{kind}_other"
    if not {own, other} <= set(per_clip.columns):
        return pd.DataFrame(columns=["system", "clip_id", "song", "genre", "own", "other", "difference"])
    frame = per_clip.rename(columns={own: "own", other: "other"})
    return frame.assign(difference=frame.own - frame.other).dropna(subset=["difference"])


def tempo_groups(songs: pd.DataFrame) -> dict[str, str]:
    """{song_id: tempo group, such as '100 to 119 BPM'} of the songs with a known tempo. songs: sources/songs.csv."""
    if "tempo" not in songs:
        return {}
    known = songs[["song_id", "tempo"]].assign(tempo=pd.to_numeric(songs.tempo, errors="coerce")).dropna()
    low = (known.tempo // TEMPO_STEP * TEMPO_STEP).astype(int)
    return {song: f"{a} to {a + TEMPO_STEP - 1} BPM" for song, a in zip(known.song_id, low)}


def by_group(frame: pd.DataFrame, groups: pd.Series, title: str, kinds: dict[str, str]) -> dict:
    """A view of mean P4 differences: a row per system, a column per group with its number of clips."""
    frame = frame.assign(group=groups).dropna(subset=["group"])
    names = sorted(frame.group.unique(), key=_natural)
    counts = frame.groupby("group").clip_id.nunique()
    header = ["system", *(f"{name} ({counts[name]})" for name in names)]
    means = frame.groupby(["system", "group"]).difference.mean()
    rows = []
    for system in (s for s in kinds if s in set(frame.system)):
        cells = [f"{means[system, name]:+.3f}" if (system, name) in means else "–" for name in names]
        rows.append({"cells": [system, *cells], "kind": KINDS.get(kinds[system], "")})
    return {"title": title, "header": header, "rows": rows, "note": "Mean P4 difference; in brackets, how many clips."}


def group_plot(frame: pd.DataFrame, groups: pd.Series, names: list[str], title: str) -> dict:
    """A figure of the P4 difference of some systems per group, with bootstrap 95 % intervals over clips. frame: from
    `differences`; groups: the group of each of its rows, or nan."""
    frame = frame.assign(group=groups).dropna(subset=["group"])
    found = sorted(frame.group.unique(), key=_natural)

    def draw(axes):
        for i, name in enumerate(names):
            rows = [frame[(frame.system == name) & (frame.group == g)].difference.to_numpy(float) for g in found]
            means = np.array([row.mean() if len(row) else np.nan for row in rows])
            low, high = np.array([_interval(row) for row in rows]).reshape(-1, 2).T
            place = np.arange(len(found)) + (i - (len(names) - 1) / 2) * 0.8 / len(names)
            axes.errorbar(
                place, means, np.nan_to_num([means - low, high - means]), fmt="o", capsize=2, markersize=4, label=name
            )
        axes.axhline(0, color="grey", linewidth=0.8)
        axes.set_xticks(np.arange(len(found)), found)
        axes.set_ylabel("own − other dances")
        legend_above(axes, columns=2)

    return figure(title, draw)


def _interval(values: np.ndarray) -> tuple[float, float]:
    """95 % percentile bootstrap interval of a mean; nan for fewer than two values."""
    if len(values) < 2:
        return float("nan"), float("nan")
    drawn = np.random.default_rng(0).choice(values, (1000, len(values))).mean(axis=1)
    return tuple(np.percentile(drawn, [2.5, 97.5]))


def extremes(frame: pd.DataFrame, models: list[str], count: int = 3) -> dict:
    """A view of the clips with the largest and the smallest difference for each model, with links to their cards."""
    rows = []
    for model in models:
        own = frame[frame.system == model].sort_values(["difference", "clip_id"], ascending=[False, True])
        best = own.head(count).assign(end="best")
        worst = own.iloc[count:].tail(count).assign(end="worst")
        for row in pd.concat([best, worst]).itertuples():
            link = markupsafe.Markup('<a href="#clip-{0}">{0}</a>').format(row.clip_id)
            values = [f"{row.difference:+.3f}", f"{row.own:.3f}", f"{row.other:.3f}"]
            rows.append({"cells": [model, row.end, link, row.genre, row.song, *values], "kind": row.end})
    header = ["model", "end", "clip", "genre", "song", "difference", "own", "other"]
    return {
        "title": "Best and worst clips",
        "header": header,
        "rows": rows,
        "note": "Follow a link to see and hear the clip.",
    }


def shown_clips(frame: pd.DataFrame, models: list[str], clips: list[str], limit: int) -> set[str]:
    """The clips that get a player, at most `limit`: the extremes first, then the others in their order."""
    wanted = [str(cells["cells"][2].striptags()) for cells in extremes(frame, models)["rows"]]
    return set(list(dict.fromkeys([c for c in wanted if c in clips] + clips))[:limit])


def _natural(name: str) -> tuple:
    head = name.split(" ")[0]
    return (int(head), name) if head.isdigit() else (0, name)
