"""split: split a corpus so that no song is in two parts, and verify it by labels and by audio. (Official val and test parts may share
songs with each other, as in AIST++, but never with training.)

From the manifest alone, without downloads:
    python -m dataset_tools.split --corpus tiktok --strategy official --out FILE.csv
    python -m dataset_tools.split --corpus tiktok --strategy random --seed 1 --test-fraction 0.2 --out FILE.csv
    python -m dataset_tools.split --corpus tiktok --strategy kfold --folds 5 --fold 0 --out FILE.csv --json
As a pipeline stage it splits the clips that were cut: data/<corpus>/clips/rows.csv -> data/<corpus>/split/.

Strategies: `official` takes the corpus's own labels. `random` draws whole songs until the test part has its share. `kfold`
deals whole songs into folds of equal size, one of which is the test part (the column `fold` has the fold in which a clip is
test). `--hold-out compilation` also keeps whole compilations together, which is stricter, because clips of one compilation
share a room, a camera and an editing style. In a manifest without times, lengths are those of the 2 s segments.

Labels can be wrong. If data/<corpus>/audio has the clips' audio, fingerprints find the same recording under two song ids, also
sped up or slowed down (0.8 to 1.3, with or without a change of pitch) or a semitone higher or lower. Up to 500 clips, all pairs
are compared, in minutes. Of more, hash codes select the pairs, and the time grows with the number of clips (docs/scale.md).
`--same-recording refuse` ends with an error if one recording is in
training and in another part, and reports recordings that have two ids within one part. `merge` treats such songs as one (under
`official` it goes where most of its clips are labelled). `ignore` does not compare audio.
"""

import argparse
import dataclasses
import json
from pathlib import Path

from dataset_tools.lib.core.cli import layout_of, run, say, stage_parser
from dataset_tools.lib.core.errors import UserError
from dataset_tools.lib.core.layout import Layout
from dataset_tools.lib.core.params import load_params
from dataset_tools.split.params import CHOICES, UNUSED_PARAMS, Params
from dataset_tools.split.stage import split_corpus
from dataset_tools.split.summary import format_summary


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


def _chosen_params(args: argparse.Namespace, layout: Layout) -> Params:
    """Parameters from params.yaml or, with --out, the defaults, overridden by the arguments."""
    params = Params() if args.out else load_params(layout.params, "split", Params)
    given = {
        f.name: getattr(args, f.name) for f in dataclasses.fields(Params) if getattr(args, f.name, None) is not None
    }
    try:
        chosen = dataclasses.replace(params, **given)
    except ValueError as err:
        raise UserError(f"split: {err}") from None
    if idle := [f"--{name.replace('_', '-')}" for name in UNUSED_PARAMS[chosen.strategy] if name in given]:
        raise UserError(f"split: {', '.join(idle)} has no effect with --strategy {chosen.strategy}; leave it out")
    return chosen


def main(argv: list[str] | None = None) -> int:
    """Run the stage, or split a manifest into the file --out."""
    args = _parser().parse_args(argv)
    layout = layout_of(args)
    must_compare = args.same_recording in ("refuse", "merge")
    summary = split_corpus(layout, _chosen_params(args, layout), args.out, must_compare=must_compare)
    if args.json:
        print(json.dumps(summary, indent=2))
    else:
        for line in format_summary(summary):
            say("split", line)
    return 0


if __name__ == "__main__":
    run(main)
