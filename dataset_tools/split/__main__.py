"""Split a corpus so that no song is in two parts, and prove it, by its labels and by ear. (Official val and test parts may
share songs with each other, as AIST++'s do; never with training.)

For anyone, straight from the manifest, without any video downloaded:
    python -m dataset_tools.split --corpus tiktok --strategy official --out FILE.csv
    python -m dataset_tools.split --corpus tiktok --strategy random --seed 1 --test-fraction 0.2 --out FILE.csv
    python -m dataset_tools.split --corpus tiktok --strategy kfold --folds 5 --fold 0 --out FILE.csv --json
As a pipeline stage it splits the clips that were cut: data/<corpus>/clips/rows.csv -> data/<corpus>/split/.

Strategies: `official` takes the corpus's own labels; `random` draws whole songs until the test part has its share;
`kfold` deals whole songs into folds of even size, one of which is the test part (the column `fold` says of every clip
for which fold it is test). `--hold-out compilation` keeps whole compilations together too: stricter, since clips of one
compilation share a room, a camera and an edit. Lengths in a manifest without times are those of its 2 s segments.

Labels can be wrong: where data/<corpus>/audio holds the clips' sound, fingerprints find the same recording under two
song ids, sped up or slowed down (0.8 to 1.3, with its pitch or without) or a semitone higher or lower (445 clips take some 5
minutes, more with the square of their number). `--same-recording refuse` ends with an error if that puts one recording
into training and into another part, and remarks on what it leaves under two ids in one part; `merge` treats such songs as
one (under `official` it goes where most of its clips are labelled); `ignore` does not listen.
"""

import argparse
import dataclasses
import json
from pathlib import Path

from dataset_tools.lib.core.cli import layout_of, run, say, stage_parser
from dataset_tools.lib.core.errors import UserError
from dataset_tools.lib.core.layout import Layout
from dataset_tools.lib.core.params import load_params
from dataset_tools.split.params import CHOICES, IDLE, Params
from dataset_tools.split.stage import split_corpus
from dataset_tools.split.summary import lines_of


def _parser() -> argparse.ArgumentParser:
    parser = stage_parser("dataset_tools.split", __doc__)
    parser.add_argument("--out", type=Path, help="split the manifest into this file (else: run as a pipeline stage)")
    parser.add_argument("--strategy", choices=CHOICES["strategy"])
    parser.add_argument("--hold-out", choices=CHOICES["hold_out"])
    parser.add_argument("--balance", choices=CHOICES["balance"])
    parser.add_argument("--seed", type=int)
    parser.add_argument("--test-fraction", type=float)
    parser.add_argument("--folds", type=int)
    parser.add_argument("--fold", type=int, help="which fold is the test part (default: 0)")
    parser.add_argument("--same-recording", choices=CHOICES["same_recording"])
    parser.add_argument("--json", action="store_true", help="print the summary as JSON")
    return parser


def _chosen(args: argparse.Namespace, layout: Layout) -> Params:
    """Parameters of the stage (params.yaml) or, with --out, the defaults; arguments override either."""
    params = Params() if args.out else load_params(layout.params, "split", Params)
    given = {f.name: getattr(args, f.name) for f in dataclasses.fields(Params) if getattr(args, f.name) is not None}
    try:
        chosen = dataclasses.replace(params, **given)
    except ValueError as err:
        raise UserError(f"split: {err}") from None
    if idle := [f"--{name.replace('_', '-')}" for name in IDLE[chosen.strategy] if name in given]:
        raise UserError(
            f"split: {', '.join(idle)} would change nothing under --strategy {chosen.strategy}; leave it out"
        )
    return chosen


def main(argv: list[str] | None = None) -> int:
    """The command line; the exit status."""
    args = _parser().parse_args(argv)
    layout = layout_of(args)
    must_hear = args.same_recording in ("refuse", "merge")
    summary = split_corpus(layout, _chosen(args, layout), args.out, must_hear=must_hear)
    if args.json:
        print(json.dumps(summary, indent=2))
    else:
        for line in lines_of(summary):
            say("split", line)
    return 0


if __name__ == "__main__":
    run(main)
