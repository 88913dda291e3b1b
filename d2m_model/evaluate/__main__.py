"""Score music against the dances' own music: protocols P1 to P4, with controls, chance and 95 % intervals (docs/evaluation.md).

Score any audio files, paired by name (X.wav with X.wav) or by a CSV with columns generated, reference, song and genre. Several
systems, or seeds of a system (NAME/seed0=DIR), are compared clip by clip. With --train, a folder of training music
(<genre>/<name>.wav), also genre accuracy, FAD and novelty:
    python -m d2m_model.evaluate --generated [NAME=]DIR ... --reference DIR [--pairs CSV] [--protocol P1|P2|P3|P4|all]
                                 [--out DIR] [--json OUT] [--train DIR [--embedding vggish|demo]]
As a pipeline stage, every level and variant of params.yaml, its baselines and the controls:
    python -m d2m_model.evaluate --corpus demo
"""

import argparse
from pathlib import Path

from d2m_model.evaluate.folders import named_folders, score_folders
from d2m_model.evaluate.kept_scores import KeptScores
from d2m_model.evaluate.params import Params
from d2m_model.metrics.embedding import WEIGHTS, Embedder
from d2m_model.metrics.inputs import training_files
from d2m_model.metrics.paired_folders import read_systems
from d2m_model.metrics.scoring import PROTOCOLS
from d2m_model.metrics.systems import file_name
from dataset_tools.lib.core.atomic import check_writable, write_text
from dataset_tools.lib.core.cli import add_shards_option, layout_of, run, say, stage_parser
from dataset_tools.lib.core.errors import UserError
from dataset_tools.lib.core.layout import Layout
from dataset_tools.lib.core.params import load_params

DEFAULT_EMBEDDING = Params().embedding


def embedder_of(args: argparse.Namespace) -> Embedder:
    """The embedding for the scores of --train. Raises as `Embedder`; the UserError names the embedding that needs no network."""
    name = args.embedding or DEFAULT_EMBEDDING
    try:
        return Embedder(name, Layout(root=args.root, corpus=""))
    except UserError as err:
        if name == "demo":
            raise
        raise UserError(f"{err}. Without a network, and for rendered or synthesised music: --embedding demo") from None


def on_folders(args: argparse.Namespace) -> int:
    """Score folders of audio files; the exit status."""
    if not (args.generated and args.reference):
        raise UserError("--generated and --reference go together: both folders are needed")
    for path in (args.json, args.out and args.out / "metrics.json"):
        if path:
            check_writable(path)
    if args.embedding and not args.train:
        raise UserError("--embedding is of the scores that --train adds: name a folder of training music")
    params = Params() if args.protocol == "all" else Params(protocols=(args.protocol,))
    pairs = read_systems(named_folders(args.generated), args.reference, args.pairs)

    from d2m_model.evaluate.outputs import as_json, as_text, rounded, write_scores, write_tables

    embedder = None
    if args.train:
        genres = {genre for _, genre in training_files(args.train)}
        if pairs.genres and "" not in genres and (unknown := set(pairs.genres.values()) - genres):
            raise UserError(
                f"{args.pairs}: no folder {args.train / min(unknown)}, but a dance has this genre; there are: {', '.join(sorted(genres))}"
            )
        embedder = embedder_of(args)
    kept = KeptScores(Layout(root=args.root, corpus="").cache("evaluate"))
    metrics, result = score_folders(pairs, params, kept, args.train, embedder)
    print(as_text(rounded(metrics), params.protocols))
    if args.json:
        write_text(args.json, as_json(metrics))
    if args.out:
        write_tables(args.out / "tables", metrics)
        write_scores(args.out, metrics, result)
    return 0


def on_corpus(args: argparse.Namespace) -> int:
    """Run the stage on a corpus; the exit status."""
    layout = layout_of(args)
    layout.require("shards")

    from d2m_model.evaluate.outputs import as_json, printed, rounded, write_scores
    from d2m_model.evaluate.stage import evaluate_corpus
    from d2m_model.metrics import overview
    from d2m_model.metrics.every_table import overview_table

    params = load_params(layout.params, "evaluate", Params)
    metrics, result = evaluate_corpus(layout, params)
    out = layout.stage("evaluate")
    for old in (out / "summary").glob("*.json"):  # of systems that are no longer in params.yaml
        old.unlink()
    for name, summary in metrics["systems"].items():
        write_text(out / "summary" / f"{file_name(name)}.json", as_json(overview.headline(summary)))
    write_scores(out, metrics, result)
    say("evaluate", f"{metrics['clips']} {params.split} clips of {metrics['songs']} songs, 95 % intervals over clips")
    print("\n".join(printed(overview_table(rounded(metrics["systems"]), brief=True))), flush=True)
    return 0


def main(argv: list[str] | None = None) -> int:
    """The command line; the exit status."""
    parser = stage_parser("d2m_model.evaluate", __doc__)
    add_shards_option(parser)
    parser.add_argument(
        "--generated",
        nargs="+",
        metavar="[NAME=]DIR",
        help="folders of generated audio files (.wav, .flac, .ogg, .mp3), one for each system; ours/seed0 is one seed of ours",
    )
    parser.add_argument("--reference", type=Path, help="folder of the dances' own music")
    parser.add_argument(
        "--pairs",
        type=Path,
        help="CSV with columns generated, reference and, where known, song and genre (default: equal names)",
    )
    parser.add_argument(
        "--out", type=Path, help="folder for all scores of --generated, a row a clip, and tables as md, csv and tex"
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
        "--embedding",
        choices=tuple(WEIGHTS),
        help="of --train's scores (default: vggish, fetched when first needed; demo needs no network, for rendered music)",
    )
    args = parser.parse_args(argv)
    if args.generated or args.reference:
        return on_folders(args)
    if args.pairs or args.json or args.out or args.train or args.embedding or args.protocol != "all":
        raise UserError(
            "--pairs, --json, --out, --protocol, --train and --embedding need --generated and --reference; the stage takes its "
            "section of params.yaml"
        )
    return on_corpus(args)


if __name__ == "__main__":
    run(main)
