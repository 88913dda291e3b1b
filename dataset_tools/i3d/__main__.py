"""i3d: visual features of every clip, data/<corpus>/clips -> data/<corpus>/i3d/<clip_id>.npy, float32 (W, 2048).

Row w is the 2 s window that starts at second w: 1024 RGB features, then 1024 optical flow features, from a two-stream I3D.
Numbers are rounded to 0.001, far less than the difference between two windows, so that equal runs give equal bytes.

To use the network alone, with any of the published files: `load_i3d(path)` and `i3d_features(net, x)` in `i3d/checkpoints.py`,
(B, 3 or 2, T, H, W) in -1..1 -> (B, 1024).
"""

from dataset_tools.lib.core import cli
from dataset_tools.lib.core.accounting import check_success_rate
from dataset_tools.lib.core.params import load_params


def main(argv: list[str] | None = None) -> int:
    """Run the stage."""
    parser = cli.stage_parser("dataset_tools.i3d", __doc__)
    args = parser.parse_args(argv)
    layout = cli.layout_of(args)
    layout.table("clips")  # before the networks are loaded

    from dataset_tools.i3d.params import Params
    from dataset_tools.i3d.stage import extract

    params = load_params(layout.params, "i3d", Params)
    rows = extract(layout, params)
    summary = check_success_rate(rows, stage="i3d", min_ok=params.min_ok, table=layout.stage("i3d") / "rows.csv")
    cli.say("i3d", f"{summary}, {sum(row.windows for row in rows)} windows")
    return 0


if __name__ == "__main__":
    cli.run(main)
