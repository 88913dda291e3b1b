"""What training seeds make of the scores: ranges that were measured (benchmarks/seeds.py), and where a run is outside of them.

The file of a corpus is benchmarks/results/seeds-<corpus>.json: {'corpus', 'processor', 'torch', 'seeds', 'stages', 'params':
{section of params.yaml: its values}, 'systems': {system: {score: {'mean', 'min', 'max', 'per_seed'}}}}. Scores are those of
`overview.headline`; the stage rhythm has a system of its own, `rhythm`.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import yaml

from d2m_model.metrics.overview import headline
from dataset_tools.base.errors import UserError
from dataset_tools.base.layout import Layout

SHOWN = ("P4_beats", "P4_onsets", "FAD", "KAD", "genre", "onset_ratio", "hum_ratio", "novelty", "beats_F", "beats", "downbeats_F", "downbeats")
"""Scores that are compared, in this order, of those that there are."""
UPSTREAM = ("vqvae", "synthesizer", "rhythm", "prior", "d2m_gan", "generate")
"""Sections of params.yaml that a range depends on."""


def ranges_file(corpus: str) -> Path:
    """Under the working folder."""
    return Path("benchmarks") / "results" / f"seeds-{corpus}.json"


def model_scores(metrics: Mapping, stages: Sequence[str]) -> dict[str, dict[str, float]]:
    """{system: {score: number}} of what a training seed can change in metrics.json of `evaluate`: the models and, where the
    stages make them, reconstructions and rhythm."""
    remade = [n for n, s in metrics["systems"].items() if s["kind"] == "model"]
    remade += [n for n in metrics["systems"] if n.startswith("VQ reconstruction") and {"vqvae", "synthesizer"} & set(stages)]
    found = {name: headline(metrics["systems"][name]) for name in remade}
    if "rhythm" in stages and "rhythm" in metrics:
        read = {k: metrics["rhythm"][k] for k in ("beats", "downbeats")}
        scores = {k: v["difference"] for k, v in read.items()} | {f"{k}_F": v["own"] for k, v in read.items()}
        found["rhythm"] = {k: round(v, 3) for k, v in scores.items() if v is not None}
    return found


def summarised(runs: Mapping[int, Mapping[str, Mapping[str, float]]]) -> dict[str, dict[str, dict]]:
    """{seed: `model_scores`} -> {system: {score: {'mean', 'min', 'max', 'per_seed'}}} of what every seed has."""
    first = next(iter(runs.values()))
    result = {}
    for system, scores in first.items():
        result[system] = {}
        for score in scores:
            values = [run[system].get(score) for run in runs.values()]
            if None not in values:
                mean = round(float(np.mean(values)), 4)
                result[system][score] = {"mean": mean, "min": min(values), "max": max(values), "per_seed": values}
    return result


def sections(path: Path) -> dict:
    """The sections of a params file that scores of models depend on, training seeds left out."""
    values = yaml.safe_load(path.read_text(encoding="utf-8"))
    return {name: {k: v for k, v in (values[name] or {}).items() if k != "seed"} for name in UPSTREAM if name in values}


def read_ranges(path: Path) -> dict | None:
    """The content of a file of ranges; None where there is none. UserError where it is damaged."""
    if not path.is_file():
        return None
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        missing = {"seeds", "systems", "params", "stages", "processor"} - set(content)
    except (ValueError, TypeError):
        missing = {"JSON"}
    if missing:
        raise UserError(f"{path}: has no {', '.join(sorted(missing))}; run `python -m benchmarks.seeds` again or remove the file")
    return content


def compared(metrics: Mapping, ranges: Mapping | None, layout: Layout) -> str:
    """Lines of text: each model's scores beside the measured range, and plainly which are outside."""
    if ranges is None:
        return f"No ranges over training seeds have been measured for {layout.corpus}: python -m benchmarks.seeds --corpus {layout.corpus} --seeds 0 1 2 3 4"
    seeds = ranges["seeds"]
    lines = [f"This run beside {len(seeds)} training seed{'s' * (len(seeds) > 1)} of {', '.join(ranges['stages'])} ({', '.join(map(str, seeds))}; {ranges['processor']}):"]
    lines.append(f"{'system':20s} {'score':12s} {'this run':>9s}   mean [lowest, highest]")
    here, measured, outside, held = model_scores(metrics, ranges["stages"]), ranges["systems"], [], 0
    for system in (s for s in measured if s in here):
        for score in (s for s in SHOWN if s in measured[system] and s in here[system]):
            value, known = here[system][score], measured[system][score]
            out = not known["min"] <= value <= known["max"]
            outside += [f"{system} {score}"] * out
            held += 1
            text = f"{known['mean']:.3f} [{known['min']:.3f}, {known['max']:.3f}]"
            lines.append(f"{system:20s} {score:12s} {value:9.3f}   {text}{'   OUTSIDE' if out else ''}")
    differ = [n for n, values in sections(layout.params).items() if ranges["params"].get(n) != values]
    if differ:
        lines.append(f"The range is of other settings: {', '.join(differ)} of params.yaml differ from those that were measured.")
    if missing := [s for s in here if s not in measured]:
        lines.append(f"Not measured: {', '.join(missing)}.")
    verdict = f"{len(outside)} of {held} scores are OUTSIDE the measured range: {', '.join(outside)}."
    inside = f"All {held} scores are inside the measured range." if held else "No system of this run has been measured."
    return "\n".join([*lines, verdict if outside else inside])
