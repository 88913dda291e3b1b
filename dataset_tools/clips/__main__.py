"""clips: cut every clip of the sources out of its video and convert it to the corpus's format.

A clip is an mp4 file with 30 fps H.264 video, without still side panels, and FLAC audio of exactly frames / 30 s. A clip that
cannot be cut has a row with the reason.
"""

from dataset_tools.lib.core.accounting import check_success_rate
from dataset_tools.lib.core.cli import layout_of, run, say, stage_parser
from dataset_tools.lib.core.params import load_params


def main(argv: list[str] | None = None) -> int:
    """Run the stage."""
    args = stage_parser("dataset_tools.clips", __doc__).parse_args(argv)
    layout = layout_of(args)
    layout.table("sources", "clips.csv")  # before anything heavy is loaded

    from dataset_tools.clips.params import Params
    from dataset_tools.clips.stage import STAGE, clips

    params = load_params(layout.params, STAGE, Params)
    rows = clips(layout, params)
    say(STAGE, check_success_rate(rows, stage=STAGE, min_ok=params.min_ok, table=layout.stage(STAGE) / "rows.csv"))
    return 0


if __name__ == "__main__":
    run(main)
