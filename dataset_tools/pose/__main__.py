"""pose: 2D pose of every clip, data/<corpus>/clips -> data/<corpus>/pose/<clip_id>.npy, float32 (T, P, J, 3).

The numbers are x px, y px and confidence 0..1 of P dancers. Slot 0 is the primary dancer; missing joints are 0. OpenPifPaf finds
the people, `pose.tracking` tracks them. Values are rounded to 1/16 px and 1/256, so that equal runs give equal bytes.

If the corpus comes with poses (weights 'annotated'), no network runs, and the annotated body motion is written too:
<clip_id>.motion.npy, float32 (T, R, 219), R steps for each video frame.

`--overlay CLIP --out FILE.mp4` draws the result over a clip instead: one colour per dancer, a box around the primary one, lines
as opaque as they are confident.
"""

from pathlib import Path

from dataset_tools.lib.core import cli
from dataset_tools.lib.core.accounting import check_success_rate
from dataset_tools.lib.core.errors import UserError
from dataset_tools.lib.core.params import load_params


def main(argv: list[str] | None = None) -> int:
    """Run the stage, or draw an overlay."""
    parser = cli.stage_parser("dataset_tools.pose", __doc__)
    parser.add_argument("--overlay", metavar="CLIP", help="only draw the dancers of this clip over its video")
    parser.add_argument("--out", type=Path, metavar="FILE.mp4", help="file for this video")
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
