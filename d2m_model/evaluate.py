"""Score generated music against the dances' own: protocols P1 to P4, with controls and intervals.

As a pipeline stage it scores every folder of runs/<corpus>/generate/ and the controls:
    python -m d2m_model.evaluate --corpus demo
Anyone's sound files, paired by name (X.wav with X.wav):
    python -m d2m_model.evaluate --generated DIR --reference DIR [--json OUT]
"""

import csv
import io
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from d2m_model.metrics.controls import click_track, derangement, fitted, silence, white_noise
from d2m_model.metrics.inputs import read_folder, true_beats
from d2m_model.metrics.scoring import PROTOCOLS, Reference, score_system
from dataset_tools.base.atomic import write_text
from dataset_tools.base.cli import layout_of, run, say, stage_parser
from dataset_tools.base.errors import UserError
from dataset_tools.base.layout import Layout
from dataset_tools.base.params import load_params, require
from dataset_tools.base.shard_format import ShardSet
from dataset_tools.base.timebase import LEVELS
from dataset_tools.base.workers import progress

CONTROLS = ("ground truth", "shuffled ground truth", "random training song", "fixed click", "silence", "white noise")


@dataclass(frozen=True, kw_only=True)
class Params:
    """Section `evaluate` of params.yaml."""

    protocols: tuple[str, ...] = PROTOCOLS
    draws: int = 2000
    """Bootstrap resamples of the clips."""
    seed: int = 0
    """Of the bootstrap and of the random controls."""
    split: str = "test"

    def __post_init__(self):
        require(set(self.protocols) <= set(PROTOCOLS), f"protocols must be among {', '.join(PROTOCOLS)}")
        require(self.draws >= 100, f"draws must be at least 100, found {self.draws}")


def score_folders(generated: Path, reference: Path, params: Params) -> dict:
    """Score a folder against a folder; every generated file must have a reference of the same name."""
    sounds, truth = read_folder(generated), read_folder(reference)
    missing = sorted(set(sounds) - set(truth))
    if missing:
        raise UserError(f"{reference}: no reference named {missing[0]} ({len(missing)} of {len(sounds)} generated files have none)")
    summary, _ = score_system(
        sounds,
        Reference(audio=truth, songs={c: c for c in truth}),
        protocols=params.protocols,
        draws=params.draws,
        seed=params.seed,
    )
    return summary


def control_sounds(test: ShardSet, train: ShardSet, seed: int) -> dict[str, dict[str, np.ndarray]]:
    """{control: {clip: sound}}, each as long as the clip's own music."""
    own = {c.clip_id: _audio(test, c) for c in test.clips}
    other = derangement([c.song for c in test.clips], seed)
    rng = np.random.default_rng(seed)
    result = {name: {} for name in CONTROLS}
    for i, clip in enumerate(test.clips):
        audio = own[clip.clip_id]
        n = len(audio)
        result["ground truth"][clip.clip_id] = audio
        if other[i] >= 0:
            result["shuffled ground truth"][clip.clip_id] = fitted(own[test.clips[other[i]].clip_id], n)
        drawn = train.clips[int(rng.integers(len(train.clips)))]
        result["random training song"][clip.clip_id] = fitted(_audio(train, drawn), n, offset=int(rng.integers(n)))
        result["fixed click"][clip.clip_id] = click_track(n)
        result["silence"][clip.clip_id] = silence(n)
        result["white noise"][clip.clip_id] = white_noise(n, seed + i)
    return {name: sounds for name, sounds in result.items() if sounds}


def reconstructions(test: ShardSet, synthesizer: Path, level: str) -> dict[str, np.ndarray]:
    """{clip: sound}: the ground truth coded and decoded again, the upper bound for a level."""
    import torch

    from d2m_model.training.vqvae_files import load_vqvae

    model, index = load_vqvae(synthesizer / level / "model.pt"), LEVELS[level]
    result = {}
    with torch.no_grad():
        for clip in test.clips:
            audio = _audio(test, clip)
            decoded = model.decode(model.encode(torch.from_numpy(audio)[None], index), index)[0].numpy()
            result[clip.clip_id] = fitted(np.pad(decoded, (0, max(0, len(audio) - len(decoded)))), len(audio))
    return result


def _audio(shards: ShardSet, clip) -> np.ndarray:
    return shards.read(clip.clip_id, 0, clip.frames).audio


def evaluate_corpus(layout: Layout, params: Params) -> tuple[dict, list[dict]]:
    """Every generated system and every control of a corpus -> (metrics, per-clip rows)."""
    shards = layout.stage("shards")
    test, train = ShardSet(shards, params.split), ShardSet(shards, "train")
    generated = layout.stage("generate")
    if not generated.is_dir():
        raise UserError(f"{generated}: not there; run `python -m d2m_model.generate --corpus {layout.corpus}` first")
    folders = sorted(f for f in generated.iterdir() if f.is_dir())
    strange = [f for f in folders if f.name.split("-")[0] not in LEVELS]
    if strange:
        raise UserError(f"{strange[0]}: folders here are named <level>-<variant>, level {' or '.join(LEVELS)}; move it away")
    systems = {f.name: read_folder(f) for f in folders}
    everything = dict(systems)
    for level in sorted({name.split("-")[0] for name in systems}):
        everything[f"VQ reconstruction {level}"] = reconstructions(test, layout.stage("synthesizer"), level)
    everything |= control_sounds(test, train, params.seed)
    reference = Reference(
        audio={c.clip_id: _audio(test, c) for c in test.clips},
        songs={c.clip_id: c.song for c in test.clips},
        beats=true_beats(layout.stage("sources") / "truth", [c.clip_id for c in test.clips]),
    )
    genres = {c.clip_id: c.genre for c in test.clips}
    metrics, rows = {"clips": len(test.clips), "songs": len({c.song for c in test.clips}), "systems": {}}, []
    for name, sounds in progress(everything.items(), "evaluate", total=len(everything)):
        unknown = sorted(set(sounds) - set(genres))
        if unknown:
            raise UserError(f"{layout.stage('generate') / name}: {unknown[0]} is no clip of the {params.split} split; delete it")
        summary, per_clip = score_system(sounds, reference, protocols=params.protocols, draws=params.draws, seed=params.seed)
        metrics["systems"][name] = {"kind": "model" if name in systems else "control"} | summary
        rows += [{"system": name, "genre": genres[r["clip_id"]]} | r for r in per_clip]
    return metrics, rows


def rounded(value, digits: int = 6):
    """Numbers of nested dicts rounded, nan as null: the same bytes on every run and valid JSON."""
    if isinstance(value, dict):
        return {k: rounded(v, digits) for k, v in value.items()}
    if isinstance(value, float):
        return None if np.isnan(value) else round(value, digits)
    return value


def headline(name: str, summary: dict) -> str:
    """One line: the P4 difference with its interval."""
    kinds = summary.get("P4", {})
    parts = []
    for kind, label in (("beats_70ms", "own beats - other dances' beats"), ("onsets_70ms", "onsets")):
        if kind in kinds:
            p = kinds[kind]
            parts.append(f"{label} {p['difference']:+.3f} [{p['difference_low']:+.3f}, {p['difference_high']:+.3f}]")
    return f"{name:24s} P4 " + "; ".join(parts)


def main(argv: list[str] | None = None) -> int:
    parser = stage_parser("d2m_model.evaluate", __doc__)
    parser.add_argument("--generated", type=Path, help="folder of generated sound files")
    parser.add_argument("--reference", type=Path, help="folder of the dances' own music, same names")
    parser.add_argument("--json", type=Path, help="where to write the scores of --generated")
    parser.add_argument("--protocol", default="all", choices=(*PROTOCOLS, "all"))
    args = parser.parse_args(argv)
    if args.generated or args.reference:
        if not (args.generated and args.reference):
            raise UserError("--generated and --reference go together: both folders are needed")
        params = Params() if args.protocol == "all" else Params(protocols=(args.protocol,))
        summary = score_folders(args.generated, args.reference, params)
        text = json.dumps(rounded(summary), indent=2) + "\n"
        print(text, end="")
        if args.json:
            write_text(args.json, text)
        return 0
    layout = layout_of(args)
    params = load_params(layout.params, "evaluate", Params)
    metrics, rows = evaluate_corpus(layout, params)
    out = layout.stage("evaluate")
    fields = list(dict.fromkeys(k for r in rows for k in r))
    text = io.StringIO()
    writer = csv.DictWriter(text, fields, lineterminator="\n")
    writer.writeheader()
    writer.writerows([rounded(r) for r in rows])
    write_text(out / "per_clip.csv", text.getvalue())
    write_text(out / "metrics.json", json.dumps(rounded(metrics), indent=2) + "\n")
    say("evaluate", f"{metrics['clips']} test clips of {metrics['songs']} songs, P4 difference at 70 ms with 95 % interval:")
    for name, summary in metrics["systems"].items():
        say("evaluate", headline(name, summary))
    return 0


if __name__ == "__main__":
    run(main)
