"""The command line of `generate`: its options, and the files that --out and --level mean."""

import argparse
from pathlib import Path

from d2m_model.generation.mux import CONTAINERS
from dataset_tools.base.atomic import check_writable
from dataset_tools.base.cli import stage_parser
from dataset_tools.base.errors import UserError
from dataset_tools.base.timebase import LEVELS


def parser_of(doc: str) -> argparse.ArgumentParser:
    """Parser of `python -m d2m_model.generate`, which `doc` describes."""
    parser = stage_parser("d2m_model.generate", doc)
    parser.add_argument("--level", choices=(*LEVELS, "both"), default="high", help="codes of the model (default: high)")
    parser.add_argument("--variant", default="full", help="which trained variant (default: full)")
    parser.add_argument("--video", type=Path, help="your own dance video, or a folder of them")
    parser.add_argument("--out", type=Path, help="video or .wav to write; a folder where --video is one")
    parser.add_argument("--pose", type=Path, help="the dance's pose, of any estimator: .npy, OpenPose, OpenPifPaf, AIST++")
    parser.add_argument("--pose-fps", type=float, help="frames a second of --pose (default: 60 for AIST++, else the video's, else 30)")
    parser.add_argument("--beats", type=Path, help="the dance's beats, a .json; for --own-music")
    parser.add_argument("--tempo", type=float, help="beats a minute instead of the dance's own; for --own-music")
    parser.add_argument("--own-music", type=Path, metavar="DIR", help="take the best-fitting excerpt of the songs in DIR, and no model")
    parser.add_argument("--genre", default="", help="of your dance, for a model that is told it (d2m_gan.genres)")
    parser.add_argument("--seed", type=int, help="overrides generate.seed of params.yaml")
    parser.add_argument("--json", action="store_true", help="write the detected beats and tempo beside each sound")
    parser.add_argument("--loudness", type=float, help="overrides generate.loudness: LUFS, -70 to 0")
    parser.add_argument("--denoise", type=float, help="overrides generate.denoise: 0 (off) to 1")
    return parser


def check_together(args: argparse.Namespace) -> None:
    """Raises UserError for options that don't go together."""
    if (args.out is None) != (args.video is None and args.pose is None and args.own_music is None):
        raise UserError("generate: --out and one of --video, --pose and --own-music go together")
    for name in ("pose_fps", "beats", "tempo"):
        needs = "pose" if name == "pose_fps" else "own_music"
        if getattr(args, name) is not None and getattr(args, needs) is None:
            raise UserError(f"generate: --{name.replace('_', '-')} is for --{needs.replace('_', '-')}; give both")
    if args.own_music and not args.beats:
        raise UserError("generate: --own-music needs the dance's beats: give them with --beats FILE.json")
    if args.own_music and args.pose:
        raise UserError("generate: --own-music goes by --beats, and needs no --pose")
    if args.video and args.video.is_dir() and (args.pose or args.own_music):
        raise UserError(f"{args.video}: --pose and --own-music are for one dance; --video must be one video, not a folder")
    if args.video and not args.video.exists():
        raise UserError(f"{args.video}: file not found")
    if args.out and not args.video and args.out.suffix.lower() != ".wav":
        raise UserError(f"{args.out}: without --video there is no picture; --out must end in .wav")
    for given in (args.video, args.pose, args.beats):
        if given and given.is_file() and args.out.exists() and args.out.samefile(given):
            raise UserError(f"{args.out}: --out is {given} itself, which would be lost; name another file")


def outputs(out: Path, level: str) -> dict[str, Path]:
    """Level to output file. Raises UserError for a suffix that can't be written or a folder that isn't there, and as
    `check_writable`."""
    if out.suffix.lower() not in (*CONTAINERS, ".wav"):
        raise UserError(f"{out}: --out must end in {', '.join(CONTAINERS)} or .wav")
    if not out.parent.is_dir():
        raise UserError(f"{out.parent}: no such folder; make it first")
    found = {level: out} if level != "both" else {name: out.with_name(f"{out.stem}-{name}{out.suffix}") for name in LEVELS}
    for path in found.values():
        check_writable(path)
    return found
