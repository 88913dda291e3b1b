"""Score music against the dances' own music: protocols P1 to P4, with controls and 95 % intervals (docs/evaluation.md).

Score any sound files, paired by name (X.wav with X.wav) or by a CSV with columns generated, reference, song and genre. With
--train, a folder of training music (<genre>/<name>.wav), also genre accuracy, FAD and novelty:
    python -m d2m_model.evaluate --generated DIR --reference DIR [--pairs CSV] [--protocol P1|P2|P3|P4|all] [--json OUT]
                                 [--train DIR [--embedding vggish|demo]]
As a pipeline stage, every level and variant of params.yaml, its baselines and the controls:
    python -m d2m_model.evaluate --corpus demo
"""

import argparse
from pathlib import Path

from d2m_model.evaluate.params import Params
from d2m_model.evaluate.stage import as_json, as_text, evaluate_corpus, rounded, score_pairs, table_text
from d2m_model.metrics import overview
from d2m_model.metrics.embedding import WEIGHTS, Embedder
from d2m_model.metrics.inputs import read_pairs, training_files
from d2m_model.metrics.scoring import PROTOCOLS
from dataset_tools.lib.core.atomic import check_writable, write_text
from dataset_tools.lib.core.cli import layout_of, run, say, stage_parser
from dataset_tools.lib.core.errors import UserError
from dataset_tools.lib.core.layout import Layout
from dataset_tools.lib.core.params import load_params


def score_folders(args: argparse.Namespace) -> int:
    """Score two folders of sounds; the exit status."""
    if not (args.generated and args.reference):
        raise UserError("--generated and --reference go together: both folders are needed")
    if args.json:
        check_writable(args.json)
    if args.embedding and not args.train:
        raise UserError("--embedding is of the scores that --train adds: name a folder of training music")
    params = Params() if args.protocol == "all" else Params(protocols=(args.protocol,))
    pairs = read_pairs(args.generated, args.reference, args.pairs)
    embedder = None
    if args.train:
        genres = {genre for _, genre in training_files(args.train)}
        if pairs.genres and "" not in genres and (unknown := set(pairs.genres.values()) - genres):
            raise UserError(
                f"{args.pairs}: no folder {args.train / min(unknown)}, but a dance has this genre; there are: {', '.join(sorted(genres))}"
            )
        embedder = Embedder(args.embedding or params.embedding, Layout(root=args.root, corpus=""))
    metrics = score_pairs(pairs, params, args.train, embedder)
    print(as_text(rounded(metrics), params.protocols))
    if args.json:
        write_text(args.json, as_json(metrics))
    return 0


def main(argv: list[str] | None = None) -> int:
    """The command line; the exit status."""
    parser = stage_parser("d2m_model.evaluate", __doc__)
    parser.add_argument("--generated", type=Path, help="folder of generated sound files (.wav, .flac, .ogg, .mp3)")
    parser.add_argument("--reference", type=Path, help="folder of the dances' own music")
    parser.add_argument(
        "--pairs",
        type=Path,
        help="CSV with columns generated, reference and, where known, song and genre (default: equal names)",
    )
    parser.add_argument("--json", type=Path, help="where to write all scores of --generated")
    parser.add_argument(
        "--protocol",
        default="all",
        choices=(*PROTOCOLS, "all"),
        help="which to compute (default: all; the stage takes params.yaml's)",
    )
    parser.add_argument(
        "--train",
        type=Path,
        help="folder of the music that was trained on, <genre>/<name>.wav: adds genre accuracy, FAD and novelty",
    )
    parser.add_argument(
        "--embedding", choices=tuple(WEIGHTS), help="of --train's scores (default: vggish, fetched when first needed)"
    )
    args = parser.parse_args(argv)
    if args.generated or args.reference:
        return score_folders(args)
    if args.pairs or args.json or args.train or args.embedding or args.protocol != "all":
        raise UserError(
            "--pairs, --json, --protocol, --train and --embedding need --generated and --reference; the stage takes its section of params.yaml"
        )
    layout = layout_of(args)
    params = load_params(layout.params, "evaluate", Params)
    metrics, rows = evaluate_corpus(layout, params)
    out = layout.stage("evaluate")
    write_text(out / "per_clip.csv", table_text(rows))
    write_text(out / "metrics.json", as_json(metrics))
    for old in (out / "summary").glob("*.json"):  # of systems that are no longer in params.yaml
        old.unlink()
    for name, summary in metrics["systems"].items():
        write_text(out / "summary" / f"{name.replace(' ', '-')}.json", as_json(overview.headline(summary)))
    write_text(
        out / "systems.csv",
        table_text([{"system": n, "kind": s["kind"]} | overview.headline(s) for n, s in metrics["systems"].items()]),
    )
    say("evaluate", f"{metrics['clips']} {params.split} clips of {metrics['songs']} songs, 95 % intervals over clips")
    print(overview.systems_table(rounded(metrics["systems"]), brief=True).to_string(index=False), flush=True)
    return 0


if __name__ == "__main__":
    run(main)
