"""The range of scores over training seeds, measured by benchmarks/seeds.py, and the scores of a run outside of it.

The file of a corpus is benchmarks/results/seeds-<corpus>.json: {'corpus', 'torch', 'codec': whether each seed has its own, 'params':
{section of params.yaml: its values}, 'runs': [{'machine', 'seed', 'stages': stages that were trained again, 'scores': {system:
{score: number}}}], 'systems': {system: {score: {'mean', 'min', 'max', 'runs': number of runs with this score}}}}. Scores are those
of `overview.headline`, and P4_beats_low, the lower bound of P4_beats' 95 % interval over clips. The scores of the stage rhythm
are under the name `rhythm`.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from d2m_model.metrics.overview import headline, p4_kind
from dataset_tools.lib.core.errors import UserError
from dataset_tools.lib.core.layout import Layout
from dataset_tools.lib.core.params import read_params

SHOWN = (
    "P4_beats",
    "P4_onsets",
    "FAD",
    "KAD",
    "genre",
    "onset_ratio",
    "hum_ratio",
    "novelty",
    "beats_F",
    "beats",
    "downbeats_F",
    "downbeats",
)
"""Scores that are compared where available, in this order."""
UPSTREAM = ("vqvae", "synthesizer", "rhythm", "prior", "d2m_gan", "generate")
"""Sections of params.yaml that the ranges depend on."""

MEANING = (
    "The range is from the lowest to the highest training measured: a correct run has up to {share} % of its scores a little outside. "
    "It is broken where P4_beats is near 0 or many scores are far off. What each score means: docs/evaluation.md."
)

RUN = {"machine", "seed", "stages", "scores"}
"""Keys of each run."""


def ranges_file(corpus: str) -> Path:
    """The file of a corpus's ranges, relative to the working folder."""
    return Path("benchmarks") / "results" / f"seeds-{corpus}.json"


def model_scores(metrics: Mapping, stages: Sequence[str]) -> dict[str, dict[str, float]]:
    """{system: {score: number}} of those systems in the metrics.json of `evaluate` that depend on a training seed: the models and,
    if `stages` train them, reconstructions and rhythm."""
    remade = [n for n, s in metrics["systems"].items() if s["kind"] == "model"]
    remade += [
        n for n in metrics["systems"] if n.startswith("VQ reconstruction") and {"vqvae", "synthesizer"} & set(stages)
    ]
    found = {name: headline(metrics["systems"][name]) | _lower_bound(metrics["systems"][name]) for name in remade}
    if "rhythm" in stages and "rhythm" in metrics:
        read = {k: metrics["rhythm"][k] for k in ("beats", "downbeats")}
        scores = {k: v["difference"] for k, v in read.items()} | {f"{k}_F": v["own"] for k, v in read.items()}
        found["rhythm"] = {k: round(v, 3) for k, v in scores.items() if v is not None}
    return found


def _lower_bound(summary: Mapping) -> dict[str, float]:
    bound = (p4_kind(summary.get("P4", {}), "beats") or {}).get("difference_low")
    return {} if bound is None else {"P4_beats_low": round(bound, 3)}


def summarise(runs: Sequence[Mapping[str, Mapping[str, float]]]) -> dict[str, dict[str, dict]]:
    """`model_scores` of each run -> {system: {score: {'mean', 'min', 'max', 'runs'}}} over the runs with this system. A score that
    one of these runs lacks is left out."""
    result = {}
    for system in dict.fromkeys(name for run in runs for name in run):
        having = [run[system] for run in runs if system in run]
        result[system] = {}
        for score in having[0]:
            values = [scores[score] for scores in having if score in scores]
            if len(values) == len(having):
                result[system][score] = {
                    "mean": round(float(np.mean(values)), 4),
                    "min": min(values),
                    "max": max(values),
                    "runs": len(values),
                }
    return result


def sections(path: Path) -> dict:
    """The sections of a params file that the models' scores depend on, without seeds, threads and workers."""
    values = read_params(path)
    return {
        name: {k: v for k, v in (values[name] or {}).items() if k not in ("seed", "threads", "workers")}
        for name in UPSTREAM
        if name in values
    }


def machines(runs: Sequence[Mapping]) -> list[str]:
    """A text 'seeds 0, 1, 2 on <machine>' for each machine."""
    seeds = {}
    for run in runs:
        seeds.setdefault(run["machine"], []).append(str(run["seed"]))
    return [f"seed{'s' * (len(found) > 1)} {', '.join(found)} on {machine}" for machine, found in seeds.items()]


def read_ranges(path: Path) -> dict | None:
    """The content of a file of ranges; None if there is no file. UserError for a damaged file."""
    if not path.is_file():
        return None
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        missing = {"runs", "systems", "params"} - set(content)
        if not missing and not (isinstance(content["runs"], list) and all(RUN <= set(run) for run in content["runs"])):
            missing = {f"runs with {', '.join(sorted(RUN))}"}  # an older version named them by their seeds
    except (ValueError, TypeError):
        missing = {"JSON"}
    if missing:
        raise UserError(
            f"{path}: has no {', '.join(sorted(missing))}; run `python -m benchmarks.seeds` again or remove the file"
        )
    return content


def compare(metrics: Mapping, ranges: Mapping | None, layout: Layout) -> str:
    """A text with the scores of each model beside the measured range, which says which are outside."""
    if ranges is None:
        return f"No ranges over training seeds have been measured for {layout.corpus}: python -m benchmarks.seeds --corpus {layout.corpus} --seeds 0 1 2 3 4"
    stages = list(dict.fromkeys(stage for run in ranges["runs"] for stage in run["stages"]))
    lines = [
        f"This run beside trainings of {', '.join(stages)} that were measured ({'; '.join(machines(ranges['runs']))}):"
    ]
    lines.append(f"{'system':20s} {'score':12s} {'this run':>9s}   mean [lowest, highest] of trainings")
    here, measured, outside, held = model_scores(metrics, stages), ranges["systems"], [], 0
    for system in (s for s in measured if s in here):
        for score in (s for s in SHOWN if s in measured[system] and s in here[system]):
            value, known = here[system][score], measured[system][score]
            out = not known["min"] <= value <= known["max"]
            outside += [f"{system} {score}"] * out
            held += 1
            text = f"{known['mean']:.3f} [{known['min']:.3f}, {known['max']:.3f}] of {known['runs']}"
            lines.append(f"{system:20s} {score:12s} {value:9.3f}   {text}{'   OUTSIDE' if out else ''}")
    differ = [n for n, values in sections(layout.params).items() if ranges["params"].get(n) != values]
    if differ:
        lines.append(
            f"The range is of other settings: {', '.join(differ)} of params.yaml differ from those that were measured."
        )
    if missing := [s for s in here if s not in measured]:
        lines.append(f"Not measured: {', '.join(missing)}.")
    if outside:
        lines.append(f"{len(outside)} of {held} scores are OUTSIDE the measured range: {', '.join(outside)}.")
        lines.append(MEANING.format(share=round(200 / (len(ranges["runs"]) + 1))))
    else:
        lines.append(
            f"All {held} scores are inside the measured range." if held else "No system of this run has been measured."
        )
    return "\n".join(lines)
