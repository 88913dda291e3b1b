"""Beats of dances: train on a corpus, and predict the beats of any dance video or track of keypoints.

As a pipeline stage: train on the corpus's shards and predict the beats of all its dances -> runs/<corpus>/rhythm/:
    python -m d2m_model.rhythm --corpus demo
For your own dance video, or its pose from any estimator (.npy, OpenPose, OpenPifPaf, AIST++):
    python -m d2m_model.rhythm --video X.mp4 --out beats.json --click click.wav
    python -m d2m_model.rhythm --pose X.npy --fps 25 --out beats.json
Times are seconds from the dance's first frame.
"""

import argparse
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from d2m_model.training.command import training_parser
from dataset_tools.lib.core import cli
from dataset_tools.lib.core.atomic import check_writable
from dataset_tools.lib.core.cli import layout_of, say
from dataset_tools.lib.core.errors import UserError
from dataset_tools.lib.core.layout import Layout
from dataset_tools.lib.core.params import load_params
from dataset_tools.lib.core.timebase import FPS, frames_to_seconds

if TYPE_CHECKING:
    import numpy as np


def _parser() -> argparse.ArgumentParser:
    parser = training_parser("d2m_model.rhythm", __doc__)
    parser.add_argument("--video", type=Path, help="your own dance video")
    parser.add_argument(
        "--pose", type=Path, help="the dance's pose in place of a video: .npy, OpenPose, OpenPifPaf, AIST++"
    )
    parser.add_argument("--fps", type=float, help=f"frames a second of --pose (default: 60 for AIST++, else {FPS})")
    parser.add_argument("--dancer", type=int, help="which dancer of several (default: 0, the foremost)")
    parser.add_argument("--out", type=Path, help="file of beats to write, .json")
    parser.add_argument("--click", type=Path, help="click track of the beats to write, .wav")
    return parser


def own_dance(args: argparse.Namespace, layout: Layout) -> tuple["np.ndarray", float]:
    """Keypoints (T, J, 3) of the chosen dancer of --video or --pose, and their frames per second."""
    dancer = args.dancer or 0
    if args.video:
        from d2m_model.generate.own_video import read_posed

        with tempfile.TemporaryDirectory(prefix="d2m-") as scratch:
            posed = read_posed(args.video, Path(scratch), layout, any_estimator=True, stage="rhythm")
        say(
            "rhythm",
            f"{args.video.name}: {frames_to_seconds(len(posed.pose)):.1f} s, dancer seen in {posed.coverage:.0%} of the frames",
        )
        if not 0 <= dancer < posed.pose.shape[1]:
            raise UserError(f"{args.video}: has dancers 0 to {posed.pose.shape[1] - 1}, found {dancer}")
        return posed.pose[:, dancer], float(FPS)
    from d2m_model.generate.pose_files import read_pose

    given = read_pose(args.pose, fps=args.fps, dancer=dancer)
    return given.pose, given.fps


def read_own(args: argparse.Namespace, layout: Layout) -> None:
    """Write the beats of the user's own dance."""
    for path, suffix in ((args.out, ".json"), (args.click, ".wav")):
        if path and path.suffix.lower() != suffix:
            raise UserError(f"{path}: must end in {suffix}")
        if path:
            check_writable(path)
    trained = layout.stage("rhythm") / "model.pt"
    if not trained.is_file():
        raise UserError(
            f"{trained}: no rhythm trained yet; train it with `python -m d2m_model.rhythm --corpus {layout.corpus}`"
        )
    if not (args.video or args.pose).exists():
        raise UserError(f"{args.video or args.pose}: file not found")
    from d2m_model.generate.finish import write_wav
    from d2m_model.rhythm.beats_file import clicks, write_beats
    from d2m_model.rhythm.model import load_rhythm
    from d2m_model.rhythm.scoring import likeliest_style

    model = load_rhythm(trained)
    pose, fps = own_dance(args, layout)
    try:
        beats = replace(model.beats_of(pose), fps=fps)
    except ValueError as err:  # not a pose, or longer than `Beats` allows
        raise UserError(f"{args.video or args.pose}: {err}") from None
    write_beats(args.out, beats)
    if args.click:
        write_wav(args.click, clicks(beats, beats.seconds))
    tempo = f"{beats.tempo:.1f} beats a minute" if beats.tempo else "no tempo"
    style = f", most like {likeliest_style(beats)}" if beats.style else ""
    say("rhythm", f"{len(beats.beats)} beats, {len(beats.downbeats)} down-beats, {tempo}{style} -> {args.out}")
    if not len(beats.beats):
        say("rhythm", "warning: no beat was found; is a dancer visible?")


def check_together(args: argparse.Namespace) -> None:
    """Raises UserError for options that do not go together, and for options without an effect."""
    own = args.video or args.pose
    if args.video and args.pose:
        raise UserError("rhythm: give --video or --pose, not both")
    if bool(own) != bool(args.out):
        raise UserError("rhythm: --out goes together with --video or --pose")
    for name in ("click", "dancer"):
        if getattr(args, name) is not None and not own:
            raise UserError(f"rhythm: --{name} goes together with --video or --pose")
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
        read_own(args, layout)
        return 0
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
    scored = (
        f"; test clips: F {test['F_beats']:.3f} beats, {test['F_downbeats']:.3f} down-beats, own - other {test['difference']:+.3f}"
        if test
        else ""
    )
    say("rhythm", f"{params.steps} steps on {metrics['train_clips']} clips, beats from {source.name}{scored}")
    return 0


if __name__ == "__main__":
    cli.run(main)
