"""Beats of dances: train on a corpus, and predict the beats of any dance, from a video or from keypoints.

As a pipeline stage: train on the corpus's shards and predict the beats of all its dances -> runs/<corpus>/rhythm/:
    python -m d2m_model.rhythm --corpus demo
For your own dance video, or its pose from any estimator (.npy, OpenPose, OpenPifPaf, AIST++):
    python -m d2m_model.rhythm --video X.mp4 --out beats.json --click click.wav --midi beats.mid
    python -m d2m_model.rhythm --pose X.npy --fps 25 --out beats.json
Times are seconds from the dance's first frame.
"""

import argparse
import math
from collections.abc import Mapping
from pathlib import Path

from d2m_model.training.command import training_parser
from dataset_tools.lib.core import cli
from dataset_tools.lib.core.cli import layout_of, say
from dataset_tools.lib.core.errors import UserError
from dataset_tools.lib.core.params import load_params
from dataset_tools.lib.core.timebase import FPS


def _parser() -> argparse.ArgumentParser:
    parser = training_parser("d2m_model.rhythm", __doc__)
    parser.add_argument("--video", type=Path, help="your own dance video")
    parser.add_argument(
        "--pose", type=Path, help="pose of the dance, instead of a video: .npy, OpenPose, OpenPifPaf, AIST++"
    )
    parser.add_argument("--fps", type=float, help=f"frame rate of --pose (default: 60 for AIST++, else {FPS})")
    parser.add_argument("--dancer", type=int, help="which of several dancers (default: 0, the one in front)")
    parser.add_argument("--out", type=Path, help="the .json to write the beats to")
    parser.add_argument("--click", type=Path, help="the .wav to write a click track of the beats to")
    parser.add_argument("--midi", type=Path, help="the .mid to write the beats to, with their tempo and bars")
    return parser


def check_together(args: argparse.Namespace) -> None:
    """Raises UserError for options that do not go together, and for options without an effect."""
    own = args.video or args.pose
    if args.video and args.pose:
        raise UserError("rhythm: give --video or --pose, not both")
    if bool(own) != bool(args.out):
        raise UserError("rhythm: --out goes together with --video or --pose")
    for name in ("click", "midi", "dancer"):
        if getattr(args, name) is not None and not own:
            raise UserError(f"rhythm: --{name} goes together with --video or --pose")
    if args.dancer is not None and args.dancer < 0:
        raise UserError(f"rhythm: --dancer must be 0, the one in front, or more, found {args.dancer}")
    if args.fps is not None and not args.pose:
        raise UserError("rhythm: --fps is for --pose; a video has its own frame rate")
    if args.resume and own:
        raise UserError(
            "rhythm: --resume continues a training; with --video or --pose nothing is trained: leave it out"
        )


def main(argv: list[str] | None = None) -> int:
    """The command line; the exit status."""
    args = _parser().parse_args(argv)
    layout = layout_of(args)
    check_together(args)
    if args.out:
        from d2m_model.rhythm.own_dance import write_own_beats

        write_own_beats(
            layout, args.out, video=args.video, pose=args.pose, fps=args.fps, dancer=args.dancer or 0, click=args.click,
            midi=args.midi,
        )  # fmt: skip
        return 0
    layout.require("shards")
    from d2m_model.rhythm.params import Params
    from d2m_model.rhythm.sources import beats_source
    from d2m_model.rhythm.stage import train_rhythm
    from d2m_model.training.loop import training_run

    params = load_params(layout.params, "rhythm", Params)
    shards = layout.stage("shards")
    source = beats_source(params, layout)
    run = training_run(layout, "rhythm", "", params, [shards, *source.inputs], "", args.resume)
    metrics = train_rhythm(
        shards, params, layout.stage("rhythm"), source=source.name, truth=source.truth, tracker=source.tracker, run=run
    )
    test = metrics.get("test")
    scored = f"; test clips: {_told(test)}" if test else ""
    say("rhythm", f"{params.steps} steps on {metrics['train_clips']} clips, beats from {source.name}{scored}")
    return 0


def _told(test: Mapping[str, float]) -> str:
    """The scores of the test clips; what is undefined, because they are too few or too short, is said."""
    beats = f"F {test['F_beats']:.3f} beats, {test['F_downbeats']:.3f} down-beats"
    if math.isfinite(test["difference"]):
        return f"{beats}, own - other {test['difference']:+.3f}"
    return f"{beats}; they are too few or too short to compare each with other songs' beats"


if __name__ == "__main__":
    cli.run(main)
