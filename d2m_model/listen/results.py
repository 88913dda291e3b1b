"""From votes to mean opinion scores: screening of raters, and intervals over raters and clips."""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from d2m_model.listen.design import TASKS
from d2m_model.listen.store import Store
from dataset_tools.lib.core.atomic import write_text
from dataset_tools.lib.core.errors import UserError


@dataclass(frozen=True, kw_only=True)
class Criteria:
    """Conditions for a rater's votes to count."""

    checks_right: float = 1.0
    """Smallest share of right answers to the attention checks so far, 0 to 1."""
    headphones_right: int = 5
    """Smallest number of right answers in the six headphone trials."""


def screen(votes: pd.DataFrame, dealt: dict[int, int], criteria: Criteria) -> pd.DataFrame:
    """One row per rater: rater, answered, of, headphones_right, checks, checks_right, kept, reason.

    votes : columns rater, kind, score, answer. dealt : {rater: steps of the whole session}. A rater who stopped early is kept if
    the checks so far were right, but not without a finished headphone test.
    """
    rows = []
    for rater, total in dealt.items():
        own = votes[votes.rater == rater]
        right = own.score == own.answer
        headphones, checks = own.kind == "headphones", own.kind == "check"
        failed = []
        if criteria.headphones_right and right[headphones].sum() < criteria.headphones_right:
            failed.append("headphones")
        if right[checks].sum() < criteria.checks_right * checks.sum():
            failed.append("attention")
        rows.append(
            {
                "rater": rater,
                "answered": len(own),
                "of": total,
                "headphones_right": int(right[headphones].sum()),
                "checks": int(checks.sum()),
                "checks_right": int(right[checks].sum()),
                "kept": not failed,
                "reason": " and ".join(failed),
            }
        )
    columns = ["rater", "answered", "of", "headphones_right", "checks", "checks_right", "kept", "reason"]
    return pd.DataFrame(rows, columns=columns)


def crossed_bootstrap(
    rater: Iterable, clip: Iterable, score: Iterable, *, draws: int = 2000, seed: int = 0, level: float = 0.95
) -> tuple[float, float, float]:
    """(mean, low, high) of votes, with a percentile interval from resampling both raters and clips with replacement.

    rater, clip, score : (N,), one entry per vote; raters need not have heard all clips. The weight of a vote is the number of draws
    of its rater times that of its clip, so the interval covers both another panel and other dances. Resampling votes would treat
    those of one rater as independent and give too narrow intervals. With a single rater or clip the bounds are nan. Source:
    Owen, "The pigeonhole bootstrap", Annals of Applied Statistics 2007; its intervals tend to be too wide.
    """
    score = np.asarray(score, float)
    if len(score) == 0:
        return float("nan"), float("nan"), float("nan")
    raters, r = np.unique(np.asarray(rater), return_inverse=True)
    clips, c = np.unique(np.asarray(clip), return_inverse=True)
    mean = float(score.mean())
    if len(raters) < 2 or len(clips) < 2:
        return mean, float("nan"), float("nan")
    sums, counts = np.zeros((len(raters), len(clips))), np.zeros((len(raters), len(clips)))
    np.add.at(sums, (r, c), score)
    np.add.at(counts, (r, c), 1)
    rng = np.random.default_rng(seed)
    by_rater = rng.multinomial(len(raters), np.full(len(raters), 1 / len(raters)), draws)  # (draws, raters)
    by_clip = rng.multinomial(len(clips), np.full(len(clips), 1 / len(clips)), draws)  # (draws, clips)
    weight = np.einsum("dr,rc,dc->d", by_rater, counts, by_clip, optimize=True)
    total = np.einsum("dr,rc,dc->d", by_rater, sums, by_clip, optimize=True)
    drawn = total[weight > 0] / weight[weight > 0]
    low, high = np.percentile(drawn, [50 * (1 - level), 50 * (1 + level)])
    return mean, float(low), float(high)


def mean_opinions(items: pd.DataFrame, *, draws: int, seed: int) -> dict:
    """{task: {system: {mos, low, high, votes, raters, clips}}} from votes with columns task, system, rater, clip, score.

    Bounds are None for a single rater or clip.
    """
    result = {}
    for task in TASKS:
        part = items[items.task == task]
        result[task] = {}
        for system, own in part.groupby("system", sort=True):
            values = crossed_bootstrap(own["rater"], own["clip"], own["score"], draws=draws, seed=seed)
            mos, low, high = (None if np.isnan(v) else round(v, 4) for v in values)
            counts = {"votes": len(own), "raters": own["rater"].nunique(), "clips": own["clip"].nunique()}
            result[task][system] = {"mos": mos, "low": low, "high": high} | counts
    return result


def write_results(store: Store, folder: Path, criteria: Criteria, *, draws: int, seed: int) -> list[str]:
    """Write mos.json, votes.csv and raters.csv into `folder`; returns the lines to print.

    Raises UserError if there are no votes on items yet.
    """
    votes = pd.DataFrame(store.votes())
    if votes.empty or not (votes.kind == "item").any():
        raise UserError(f"{store.path}: no votes on items yet; let people take part first")
    raters = screen(votes, store.steps_of_raters(), criteria)
    kept = set(raters[raters.kept].rater)
    items = votes[votes.kind == "item"]
    screened = mean_opinions(items[items.rater.isin(kept)], draws=draws, seed=seed)
    everyone = mean_opinions(items, draws=draws, seed=seed)
    counts = {
        "joined": len(raters),
        "finished": int((raters.answered == raters.of).sum()),
        "kept": len(kept),
        "failed_headphones": int(raters.reason.str.contains("headphones").sum()),
        "failed_attention": int(raters.reason.str.contains("attention").sum()),
        "votes": len(items),
        "votes_kept": int(items.rater.isin(kept).sum()),
    }
    summary = screened | {"split": store.design().get("split"), "raters": counts, "everyone": everyone}
    pseudonym = lambda number: f"rater{number + 1:03d}"
    raw = votes.assign(kept=votes.rater.isin(kept), rater=votes.rater.map(pseudonym))
    raw["answer"] = raw.answer.astype("Int64")
    order = ["rater", "position", "task", "kind", "system", "clip", "score", "answer", "kept"]
    write_text(folder / "votes.csv", raw[order].to_csv(index=False, lineterminator="\n"))
    write_text(
        folder / "raters.csv", raters.assign(rater=raters.rater.map(pseudonym)).to_csv(index=False, lineterminator="\n")
    )
    write_text(folder / "mos.json", json.dumps(summary, indent=2) + "\n")
    return _lines(counts, screened, everyone) + [f"mos.json, votes.csv and raters.csv in {folder}"]


def _lines(counts: dict, screened: dict, everyone: dict) -> list[str]:
    people = f"{counts['joined']} raters joined, {counts['finished']} finished, {counts['kept']} kept"
    failed = f"failed: headphones {counts['failed_headphones']}, attention {counts['failed_attention']}"
    lines = [f"{people} ({failed}); {counts['votes_kept']} of {counts['votes']} votes"]
    for task in TASKS:
        for system, all_votes in everyone[task].items():
            own = screened[task].get(system)
            text = f"{_score(own)}, {own['votes']} votes" if own else "no votes kept"
            lines.append(f"{task:9s} {system:26s} MOS {text}; with everyone {_score(all_votes)}")
    return lines


def _score(entry: dict) -> str:
    interval = f" [{entry['low']:.2f}, {entry['high']:.2f}]" if entry["low"] is not None else ""
    return f"{entry['mos']:.2f}{interval}"
