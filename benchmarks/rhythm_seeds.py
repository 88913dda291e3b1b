"""Scores of the stage rhythm on the demo's test dances over several training seeds.

    python -m benchmarks.rhythm_seeds [--root .] [--corpus demo] [--seeds 5] [--out benchmarks/results/rhythm_seeds.json]

Trains with section `rhythm` of params.yaml once per seed. Writes the scores on the test clips and the CPU seconds of each seed,
with mean and range over the seeds. Needs the corpus's shards.
"""

import json
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path

import numpy as np

from d2m_model.rhythm.params import Params
from d2m_model.rhythm.sources import beats_source
from d2m_model.rhythm.stage import train_rhythm
from dataset_tools.lib.core.cli import command_parser
from dataset_tools.lib.core.layout import Layout
from dataset_tools.lib.core.params import load_params

KEPT = ("F_beats", "F_downbeats", "other", "difference", "style", "regular", "tempo")


def scored(layout: Layout, params: Params, keep: Path | None) -> dict[str, float]:
    """Scores on the test clips, and CPU seconds of training and prediction. keep: folder for the results; None for a temporary one."""
    source = beats_source(params, layout)
    start = time.process_time()
    with tempfile.TemporaryDirectory() as folder:
        shards, out = layout.stage("shards"), keep / str(params.seed) if keep else Path(folder)
        metrics = train_rhythm(shards, params, out, source=source.name, truth=source.truth, tracker=source.tracker)
    return {"cpu_seconds": time.process_time() - start} | {name: metrics["test"][name] for name in KEPT}


def main() -> None:
    parser = command_parser("benchmarks.rhythm_seeds", __doc__)
    parser.add_argument("--root", type=Path, default=Path())
    parser.add_argument("--corpus", default="demo")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--keep", type=Path, help="folder for the seeds' results (default: thrown away)")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/rhythm_seeds.json"))
    args = parser.parse_args()
    layout = Layout(root=args.root, corpus=args.corpus)
    params = load_params(layout.params, "rhythm", Params)
    with ProcessPoolExecutor(args.processes, mp_context=get_context("spawn")) as pool:
        found = list(
            pool.map(
                scored,
                [layout] * args.seeds,
                [replace(params, seed=seed) for seed in range(args.seeds)],
                [args.keep] * args.seeds,
            )
        )
    summary = {}
    for name in found[0]:
        values = [seed[name] for seed in found]
        summary[name] = {"mean": np.mean(values), "low": min(values), "high": max(values)}
    rounded = json.loads(
        json.dumps({"steps": params.steps, "seeds": found} | summary), parse_float=lambda text: round(float(text), 4)
    )
    args.out.write_text(json.dumps(rounded, indent=2) + "\n", encoding="utf-8")
    for name, value in summary.items():
        print(f"{name:>12}  {value['mean']:7.3f}  {value['low']:7.3f} to {value['high']:7.3f}")


if __name__ == "__main__":
    main()
