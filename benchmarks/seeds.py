"""Measures how scores vary over training seeds: trains stages with several seeds, and generates and scores music for each.

    python -m benchmarks.seeds [--seeds 0 1 2 3 4] [--stages rhythm prior d2m_gan] [--root . --corpus demo] [--out FILE.json]

Needs a finished corpus (`make repro`). For each seed a scratch folder gets params.yaml with that seed in the sections of the
stages, and links to everything else of the corpus. There the commands of dvc.yaml run for the stages, `generate` and `evaluate`,
and the changed models are scored. All other inputs, such as the codec, are the same for all seeds; `--stages vqvae synthesizer
d2m_gan` trains the codec again, too.

Writes benchmarks/results/seeds-<corpus>.json: the scores of each run, and mean and range over all runs for each model and score.
Processors round differently, so a run belongs to a machine: processor and instruction set. Another machine adds its runs to the
file. So does this machine under ATEN_CPU_CAPABILITY=default ONEDNN_MAX_CPU_ISA=SSE41 MKL_CBWR=COMPATIBLE
OPENBLAS_CORETYPE=Nehalem, which rounds like a processor without vector instructions. Runs with the same settings are not trained
again, further stages of a seed are added, and runs with other settings are dropped. With `--threads 1` two commands can run side
by side. `python -m d2m_model.tables --compare` compares a run with the file.
"""

import itertools
import json
import platform
import re
import shlex
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import torch
import yaml

from d2m_model.metrics.seed_ranges import model_scores, ranges_file, sections, summarise
from dataset_tools.lib.core.atomic import write_text
from dataset_tools.lib.core.cli import command_parser, run, say
from dataset_tools.lib.core.errors import UserError
from dataset_tools.lib.core.layout import PROJECT, Layout

REMADE = ("generate", "evaluate")
"""Stages that run after every training."""


def machine() -> str:
    """The text '<processor>, <instruction set that torch uses>'."""
    info = Path("/proc/cpuinfo")
    found = re.search(r"model name\s*:\s*(.+)", info.read_text()) if info.is_file() else None
    name = found.group(1).strip() if found else platform.processor() or platform.machine()
    capability = torch.backends.cpu.get_cpu_capability()
    return f"{name}, {'no vector instructions' if capability == 'DEFAULT' else capability}"


def pipeline_of(layout: Layout) -> dict:
    """The content of dvc.yaml in the root or, without one there, of the project's own."""
    own = layout.root / "dvc.yaml"
    return yaml.safe_load((own if own.is_file() else PROJECT / "dvc.yaml").read_text(encoding="utf-8"))


def commands(pipeline: dict, params: dict, stage: str) -> list[list[str]]:
    """The command lines of a stage of dvc.yaml, one for each cell of its matrix, as the words after `python`."""
    entry = pipeline["stages"][stage]
    matrix = {
        name: params[re.fullmatch(r"\$\{(\w+)\}", values).group(1)] if isinstance(values, str) else values
        for name, values in entry.get("matrix", {}).items()
    }
    lines = []
    for cell in itertools.product(*matrix.values()):
        names = params | {f"item.{name}": value for name, value in zip(matrix, cell, strict=True)}
        line = re.sub(r"\$\{([\w.]+)\}", lambda found, names=names: str(names[found.group(1)]), entry["cmd"])
        lines.append(shlex.split(line)[1:])
    return lines


def prepare(layout: Layout, scratch: Path, params: dict, remade: list[str]) -> None:
    """Fill a working folder with params.yaml and links to data, manifests and all outputs except those of the stages `remade`."""
    write_text(scratch / "params.yaml", yaml.safe_dump(params, sort_keys=False))
    for name in ("data", "manifests"):
        (scratch / name).symlink_to((layout.root / name).resolve(), target_is_directory=True)
    for others in (params.get("evaluate") or {}).get("others", {}).values():
        (scratch / others).parent.mkdir(parents=True, exist_ok=True)
        (scratch / others).symlink_to((layout.root / others).resolve(), target_is_directory=True)
    runs = scratch / "runs" / layout.corpus
    runs.mkdir(parents=True)
    for folder in sorted((layout.root / "runs" / layout.corpus).iterdir()):
        if folder.is_dir() and folder.name not in {*remade, "tensorboard", "tables", "report"}:
            (runs / folder.name).symlink_to(folder.resolve(), target_is_directory=True)


def changed_models(params: dict, stages: list[str]) -> list[str]:
    """The models of params.yaml that change with a new training of the stages."""
    models = params.get("models") or params.get("variants") or []
    if set(stages) <= {"rhythm", "prior"}:
        return [m for m in models if m == "prior"]
    return [m for m in models if m != "prior"] if stages == ["d2m_gan"] else models


def measure(layout: Layout, stages: list[str], seed: int, threads: int | None) -> dict[str, dict[str, float]]:
    """Train the stages with a seed, generate music and score it: `model_scores`. UserError where a command fails."""
    params = yaml.safe_load(layout.params.read_text(encoding="utf-8")) | {"corpus": layout.corpus}
    pipeline, remade = pipeline_of(layout), [*stages, *REMADE]
    for stage in stages:
        params[stage] = (params.get(stage) or {}) | {"seed": seed} | ({"threads": threads} if threads else {})
    params |= {"models": changed_models(params, stages)} if "models" in params else {}
    params |= {"systems": []} if "systems" in params else {}
    with tempfile.TemporaryDirectory(prefix="seeds-") as folder:
        scratch = Path(folder)
        prepare(layout, scratch, params, remade)
        for stage in (s for s in pipeline["stages"] if s in remade):
            for words in commands(pipeline, params, stage):
                done = subprocess.run([sys.executable, *words, "--root", str(scratch)], check=False)
                if done.returncode:
                    raise UserError(
                        f"seed {seed}: `python {' '.join(words)}` ended with exit {done.returncode}; see its message above"
                    )
        return model_scores(
            json.loads((scratch / "runs" / layout.corpus / "evaluate" / "metrics.json").read_text(encoding="utf-8")),
            stages,
        )


def known_runs(out: Path, facts: dict) -> dict[tuple[str, int], dict]:
    """{(machine, seed): run} of a file with the same settings; empty for other settings."""
    before = json.loads(out.read_text(encoding="utf-8")) if out.is_file() else {}
    return (
        {(run["machine"], run["seed"]): run for run in before["runs"]}
        if all(before.get(k) == v for k, v in facts.items())
        else {}
    )


def merge_run(run: dict, stages: list[str], scores: dict) -> dict:
    """A run with the scores of further stages of its seed."""
    both = list(dict.fromkeys([*run.get("stages", []), *stages]))
    return run | {"stages": both, "scores": run.get("scores", {}) | scores}


def main(argv: list[str] | None = None) -> int:
    parser = command_parser("benchmarks.seeds", __doc__)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    parser.add_argument(
        "--stages",
        nargs="+",
        default=["rhythm", "prior", "d2m_gan"],
        help="that are trained again, of those of dvc.yaml (default: rhythm prior d2m_gan)",
    )
    parser.add_argument("--threads", type=int, help="of each training (default: as params.yaml says)")
    parser.add_argument("--root", type=Path, default=Path())
    parser.add_argument("--corpus", default="demo")
    parser.add_argument("--out", type=Path, help="default: benchmarks/results/seeds-<corpus>.json under --root")
    args = parser.parse_args(argv)
    signal.signal(
        signal.SIGTERM, lambda *_: sys.exit(143)
    )  # ends the command that runs, too, and removes the scratch folder
    layout = Layout(root=args.root, corpus=args.corpus)
    out, seeds = args.out or args.root / ranges_file(args.corpus), sorted(set(args.seeds))
    if not (layout.root / "runs" / args.corpus).is_dir():
        raise UserError(
            f"{layout.root / 'runs' / args.corpus}: not there; run `make repro` first, for seeds share what comes before"
        )
    known = pipeline_of(layout)["stages"]
    if unknown := [s for s in args.stages if s not in known or s in REMADE]:
        raise UserError(
            f"--stages: {unknown[0]} is no stage that trains; of dvc.yaml there are {', '.join(s for s in known if s not in REMADE)}"
        )
    codec = bool({"vqvae", "synthesizer"} & set(args.stages))
    facts = {"corpus": args.corpus, "torch": torch.__version__, "codec": codec, "params": sections(layout.params)}
    here, content = machine(), {}
    for seed in seeds:
        run = known_runs(out, facts).get((here, seed), {"machine": here, "seed": seed})
        if not set(args.stages) <= set(run.get("stages", [])):
            say("seeds", f"seed {seed} of {', '.join(args.stages)}")
            scores = measure(layout, args.stages, seed, args.threads)
            run = merge_run(known_runs(out, facts).get((here, seed), run), args.stages, scores)
        runs = known_runs(out, facts) | {(here, seed): run}  # read again: another command may have added runs meanwhile
        rows = [runs[key] for key in sorted(runs)]
        content = facts | {"runs": rows, "systems": summarise([r["scores"] for r in rows])}
        write_text(out, json.dumps(content, indent=1) + "\n")
    for system, scores in content["systems"].items():
        for score in (s for s in ("P4_beats", "P4_beats_low", "P4_onsets", "FAD", "KAD", "genre") if s in scores):
            of = scores[score]
            say(
                "seeds",
                f"{system:12s} {score:12s} mean {of['mean']:.3f}, {of['min']:.3f} to {of['max']:.3f} of {of['runs']}",
            )
    return 0


if __name__ == "__main__":
    run(main)
