"""audio: extract the audio of every clip as mono float32 at 22 050 Hz, exactly 735 samples per frame."""

from dataset_tools.lib.core.accounting import check_success_rate
from dataset_tools.lib.core.cli import layout_of, run, say, stage_parser
from dataset_tools.lib.core.params import load_params


def main(argv: list[str] | None = None) -> int:
    """Run the stage."""
    args = stage_parser("dataset_tools.audio", __doc__).parse_args(argv)
    layout = layout_of(args)
    layout.table("clips")  # before anything heavy is loaded

    from dataset_tools.audio.params import Params
    from dataset_tools.audio.stage import STAGE, audio

    params = load_params(layout.params, STAGE, Params)
    rows = audio(layout, params)
    cut = [row for row in rows if row.status != "dropped"]
    say(STAGE, check_success_rate(cut, stage=STAGE, min_ok=params.min_ok, table=layout.stage(STAGE) / "rows.csv"))
    return 0


if __name__ == "__main__":
    run(main)
