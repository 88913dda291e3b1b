"""2-D pose of every clip: data/<corpus>/clips -> data/<corpus>/pose/<clip_id>.npy, float32 (T, P, J, 3).

x px, y px, confidence 0..1 of P dancers, slot 0 the primary one; what was not found is 0. OpenPifPaf finds the people,
`pose.tracking` tells them apart. Numbers come in steps of 1/16 px and 1/256, so that equal runs give equal bytes.
Where the corpus came with its pose (weights 'annotated') no network runs, and the body's annotated motion goes with it:
<clip_id>.motion.npy, float32 (T, R, 219), R steps for each video frame.

`--overlay CLIP --out FILE.mp4` draws what was found over a clip instead: a colour for each dancer, the primary one framed,
lines as opaque as they are sure.
"""

from pathlib import Path

from dataset_tools.lib.core import cli
from dataset_tools.lib.core.accounting import check_success_rate
from dataset_tools.lib.core.errors import UserError
from dataset_tools.lib.core.params import load_params


def main(argv: list[str] | None = None) -> int:
    """The command line; the exit status."""
    parser = cli.stage_parser("dataset_tools.pose", __doc__)
    parser.add_argument("--overlay", metavar="CLIP", help="only draw this posed clip's dancers over its picture")
    parser.add_argument("--out", type=Path, metavar="FILE.mp4", help="where to write that video")
    args = parser.parse_args(argv)
    if (args.overlay is None) != (args.out is None):
        raise UserError("--overlay CLIP and --out FILE.mp4 go together")
    layout = cli.layout_of(args)

    from dataset_tools.pose.params import Params
    from dataset_tools.pose.stage import pose_clips, write_overlay

    if args.overlay:
        frames = write_overlay(layout, args.overlay, args.out)
        cli.say("pose", f"{args.out}: {frames} frames of {args.overlay}")
        return 0
    params = load_params(layout.params, "pose", Params)
    rows = pose_clips(layout, params)
    summary = check_success_rate(rows, stage="pose", min_ok=params.min_ok, table=layout.stage("pose") / "rows.csv")
    cli.say("pose", f"{summary}, {sum(row.people for row in rows)} dancers")
    return 0


if __name__ == "__main__":
    cli.run(main)
