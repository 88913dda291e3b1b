"""Studio: a dance video in; its music made, heard, corrected and exported in the browser.

Open it, on this machine only; Ctrl-C ends it, and everything is kept in runs/<corpus>/studio/:
    python -m d2m_model.studio
    python -m d2m_model.studio dance.mp4
Offer your own songs beside the model's music:
    python -m d2m_model.studio --own-music DIR
"""

import argparse
from pathlib import Path

from dataset_tools.lib.core.cli import layout_of, run, stage_parser
from dataset_tools.lib.core.errors import UserError
from dataset_tools.lib.core.params import load_params


def parser() -> argparse.ArgumentParser:
    """The command line."""
    found = stage_parser("d2m_model.studio", __doc__)
    found.add_argument("video", nargs="?", type=Path, help="a dance video to begin with")
    found.add_argument("--host", default="127.0.0.1", help="address to serve on (default: this machine only)")
    found.add_argument("--port", type=int, default=8322, help="0 takes any free one (default: 8322)")
    found.add_argument(
        "--own-music",
        type=Path,
        action="append",
        default=[],
        metavar="DIR",
        help="a folder of your songs; may be given again",
    )
    return found


def main(argv: list[str] | None = None) -> int:
    """The command line; the exit status."""
    args = parser().parse_args(argv)
    if not 0 <= args.port <= 65535:
        raise UserError(f"--port must be 0 to 65535, found {args.port}")
    layout = layout_of(args)
    if args.video and not args.video.is_file():
        raise UserError(f"{args.video}: file not found")

    from d2m_model.studio.params import NEEDED, Params

    params = load_params(layout.params, "studio", Params)
    layout.require(*NEEDED)  # before anything large is loaded
    from d2m_model.studio.serving import serve

    serve(layout, params, video=args.video, folders=args.own_music, host=args.host, port=args.port)
    return 0


if __name__ == "__main__":
    run(main)
