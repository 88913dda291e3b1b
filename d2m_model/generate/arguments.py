"""The command line of `generate`: its options, the parameters that they override, and the output files that they name."""

import argparse
import dataclasses
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

from d2m_model.generate.given_files import CONTAINERS, check_kept, given_files, videos_of
from d2m_model.generate.params import FARTHEST_SHIFT, MOTION, Params, check_tempo
from d2m_model.nets.variants import PRIOR
from d2m_model.rhythm.beats_file import EXPORTED
from dataset_tools.lib.core.atomic import check_writable
from dataset_tools.lib.core.cli import add_shards_option, stage_parser
from dataset_tools.lib.core.errors import UserError
from dataset_tools.lib.core.layout import Layout
from dataset_tools.lib.core.names import check_user_name
from dataset_tools.lib.core.params import load_params
from dataset_tools.lib.core.timebase import LEVELS

MOST_TAKES = 100
ON_BEATS = ("tempo", "snap", "shift", "beats_out")
"""Options that need beats, so they are for the prior and for own music."""


def parser_of(doc: str) -> argparse.ArgumentParser:
    """The parser of `python -m d2m_model.generate`; doc: text of its help."""
    parser = stage_parser("d2m_model.generate", doc)
    add_shards_option(parser)
    parser.add_argument("--level", choices=(*LEVELS, "both"), help="level of the codec, or both levels (default: high)")
    parser.add_argument("--variant", help="'prior' (default), or a trained variant of d2m_gan, such as full")
    parser.add_argument("--video", type=Path, help="your own dance video, or a folder of them")
    parser.add_argument("--out", type=Path, help="video or .wav to write; a folder if --video is a folder")
    parser.add_argument(
        "--pose", type=Path, help="pose of the dance, from any estimator: .npy, OpenPose, OpenPifPaf, AIST++"
    )
    parser.add_argument(
        "--pose-fps", type=float, help="frame rate of --pose (default: 60 for AIST++, else the video's, else 30)"
    )
    parser.add_argument(
        "--beats", type=Path, help="a .json with the dance's beats, instead of those read from its motion"
    )
    parser.add_argument("--dancer", type=int, help="which of several dancers (default: 0, the one in front)")
    parser.add_argument(
        "--tempo",
        type=_tempo,
        metavar="BPM",
        help="tempo in beats a minute, instead of the dance's own; 'half' takes every second beat, 'double' adds one between each two",
    )
    parser.add_argument(
        "--snap",
        type=Path,
        metavar="AUDIO",
        help="moves each beat to the nearest beat of an audio file or a video, or with 'motion' to where the dancer almost stops",
    )
    parser.add_argument("--shift", type=float, metavar="SECONDS", help="moves all beats later; earlier if negative")
    parser.add_argument(
        "--beats-out",
        type=Path,
        action="append",
        metavar="FILE",
        help="also write the beats that the music is made for: .json, .mid, or .wav for a click track; may be given several times",
    )
    parser.add_argument(
        "--own-music",
        type=Path,
        metavar="DIR",
        help="take the best-fitting excerpt of the songs in DIR instead of a model's music",
    )
    parser.add_argument(
        "--genre", help="genre of your dance, for a model that was trained with genres (d2m_gan.genres)"
    )
    parser.add_argument("--seed", type=int, help="overrides generate.seed of params.yaml")
    parser.add_argument(
        "--strictness",
        type=float,
        help="overrides generate.strictness: how strictly the prior keeps to the rhythm and the style",
    )
    parser.add_argument("--style", help="overrides generate.style: a genre of the corpus, or an audio file to imitate")
    parser.add_argument(
        "--takes", type=int, default=1, help="number of takes, with the seed and those that follow it (default: 1)"
    )
    parser.add_argument(
        "--from",
        type=Path,
        dest="take",
        metavar="TAKE.wav",
        help="an earlier take, of which a part is generated again",
    )
    parser.add_argument("--redo", metavar="A-B", help="the seconds of --from that are generated again")
    parser.add_argument(
        "--keep", metavar="A-B", help="the seconds of --from that are kept; the rest is generated again"
    )
    parser.add_argument(
        "--json", action="store_true", help="also write the detected beats and tempo of each result into a .json"
    )
    parser.add_argument(
        "--mix",
        type=float,
        metavar="GAIN",
        help="the video's original audio under the music, above 0 to 1 (default: none)",
    )
    parser.add_argument(
        "--loudness", type=float, help="overrides generate.loudness: loudness of the result in LUFS, -70 to 0"
    )
    parser.add_argument(
        "--denoise", type=float, help="overrides generate.denoise, for variants of d2m_gan: 0 (off) to 1"
    )
    return parser


def _tempo(text: str) -> float | str:
    """The value of --tempo: a number, or else the text, which `check_tempo` judges."""
    try:
        return float(text)
    except ValueError:
        return text


def chosen(args: argparse.Namespace, layout: Layout) -> Params:
    """The parameters of params.yaml, overridden by the command line. Raises UserError for a value out of range."""
    given = {
        name: getattr(args, name)
        for name in ("seed", "loudness", "denoise", "strictness", "style")
        if getattr(args, name) is not None
    }
    try:
        params = dataclasses.replace(load_params(layout.params, "generate", Params), **given)
        dataclasses.replace(params, seed=params.seed + max(1, args.takes) - 1)  # checks the last take's seed
        return params
    except ValueError as err:
        raise UserError(f"generate: {err}") from None


def check_together(args: argparse.Namespace, params: Params) -> None:
    """Sets the defaults of the options `variant` ('prior'), `level` ('high'), `genre` ('') and `mix` (0.0).

    Raises UserError for options that don't go together or would change nothing, and for an output that is one of the
    input files, among them that of `params.style`.
    """
    dance = next((name for name in ("video", "pose", "own_music", "beats") if getattr(args, name) is not None), None)
    if (args.out is None) != (dance is None):
        raise UserError("generate: --out and one of --video, --pose, --beats and --own-music go together")
    if args.pose_fps is not None and args.pose is None:
        raise UserError("generate: --pose-fps is for --pose; give both")
    if args.own_music and not (args.video or args.pose or args.beats):
        raise UserError("generate: --own-music needs a dance: give --video, --pose or --beats")
    unused: tuple[str, ...] = (
        ("level", "variant", "style", "strictness", "denoise", "genre", "seed") if args.own_music else ()
    )
    if not args.own_music and args.variant in (None, PRIOR):
        unused = ("denoise", "genre")
    for name in unused:
        if getattr(args, name) is not None:
            raise UserError(
                f"generate: --{name} changes nothing with {'--own-music' if args.own_music else 'the prior'}; leave it out"
            )
    if args.variant not in (None, PRIOR) and args.takes > 1:
        raise UserError(
            f"generate: --takes is for the prior: variant {args.variant} of d2m_gan draws nothing at random, so its takes would be equal"
        )
    args.level, args.genre = args.level or "high", args.genre or ""
    args.variant = check_user_name(args.variant or PRIOR, "--variant")
    if args.variant != PRIOR:
        for name in ("beats", *ON_BEATS, "style", "strictness", "take"):
            if getattr(args, name) is not None:
                raise UserError(
                    f"generate: {_option(name)} is for the prior, not for variant {args.variant} of d2m_gan; leave --variant out"
                )
    if args.style is not None and not params.strictness:
        raise UserError("generate: --style changes nothing where strictness is 0; leave it out, or give --strictness 1")
    for name in (*ON_BEATS, "dancer", "take", "genre"):
        if getattr(args, name) not in (None, "") and dance is None:
            raise UserError(f"generate: {_option(name)} is for a dance of your own: give --video, --pose or --beats")
    for name in ("pose", "own_music", "beats", *ON_BEATS, "dancer", "take"):
        if getattr(args, name) is not None and args.video and args.video.is_dir():
            raise UserError(f"{args.video}: {_option(name)} is for one dance; --video must be one video, not a folder")
    _check_beats(args)
    if args.out and not args.video and args.out.suffix.lower() != ".wav":
        raise UserError(f"{args.out}: without --video there is no picture; --out must end in .wav")
    for path in (args.video, args.pose, args.beats, args.snap):
        if path and not path.exists() and path != MOTION:
            raise UserError(f"{path}: file not found")
    if bool(args.take) != bool(args.redo or args.keep) or (args.redo and args.keep):
        raise UserError("generate: --from TAKE.wav goes together with one of --redo A-B and --keep A-B")
    if args.mix is not None and not (args.video and 0 < args.mix <= 1):
        raise UserError(f"generate: --mix must be above 0 and at most 1, and needs --video, found {args.mix:g}")
    if args.mix is not None and args.take:
        raise UserError(
            "generate: --mix does not go with --from, because the take may contain the original audio already; leave it out"
        )
    args.mix = args.mix or 0.0
    if args.take and (args.own_music or args.level == "both"):
        raise UserError("generate: --from is for one level of the prior, not for --own-music or --level both")
    if not 1 <= args.takes <= MOST_TAKES or (
        args.takes > 1 and (args.own_music or dance is None or (args.video and args.video.is_dir()))
    ):
        if args.own_music:
            raise UserError("generate: --takes changes nothing with --own-music; leave it out")
        raise UserError(
            f"generate: --takes must be 1 to {MOST_TAKES}, and needs one dance of your own, found {args.takes}"
        )
    if args.out and args.video and args.video.is_dir() and args.out.exists() and args.out.samefile(args.video):
        raise UserError(f"{args.out}: --out must be another folder than --video")
    if args.out:
        written = list(_written(args))
        check_kept(written, given_files(args, params.style))
        twice = next((a for a, b in pairwise(sorted(path.absolute() for path in written)) if a == b), None)
        if twice:
            raise UserError(f"{twice}: two outputs have this name; name another file")


def _check_beats(args: argparse.Namespace) -> None:
    """Raises UserError for options about the dancer and the beats that are out of range, or would change nothing."""
    posed = args.video or args.pose
    if args.tempo is not None:
        check_tempo(args.tempo)
    if args.shift is not None and not 0 < abs(args.shift) <= FARTHEST_SHIFT:
        raise UserError(
            f"generate: --shift must be {-FARTHEST_SHIFT:g} to {FARTHEST_SHIFT:g} seconds and not 0, found {args.shift:g}"
        )
    if args.snap and args.snap != MOTION and args.snap.is_dir():
        raise UserError(f"{args.snap}: --snap takes an audio file or a video, or the word motion, found a folder")
    if args.snap == MOTION and not posed:
        raise UserError("generate: --snap motion needs the dancer: give --video or --pose")
    if args.dancer is not None and args.dancer < 0:
        raise UserError(f"generate: --dancer must be 0, the one in front, or more, found {args.dancer}")
    if args.dancer is not None and args.beats and args.snap != MOTION:
        raise UserError(
            "generate: --dancer changes nothing with --beats, because no dancer is looked for; leave it out"
        )
    for path in args.beats_out or ():
        if path.suffix.lower() not in EXPORTED:
            raise UserError(f"{path}: --beats-out must end in {', '.join(EXPORTED)}")


def _option(name: str) -> str:
    """The option that sets the attribute `name`."""
    return "--from" if name == "take" else f"--{name.replace('_', '-')}"


def outputs(out: Path, level: str, takes: int = 1) -> list[dict[str, Path]]:
    """For each take, level to output file. Raises UserError for a suffix that can't be written, for a missing folder,
    and as `check_writable`."""
    if out.suffix.lower() not in (*CONTAINERS, ".wav"):
        raise UserError(f"{out}: --out must end in {', '.join(CONTAINERS)} or .wav")
    if not out.parent.is_dir():
        raise UserError(f"{out.parent}: no such folder; make it first")
    found = _names(out, level, takes)
    for path in (path for paths in found for path in paths.values()):
        check_writable(path)
    return found


def out_of(video: Path, folder: Path) -> Path:
    """The output file in `folder` for a video of another folder."""
    suffix = video.suffix.lower()
    return folder / f"{video.stem}{suffix if suffix in CONTAINERS else '.mp4'}"


def _names(out: Path, level: str, takes: int = 1) -> list[dict[str, Path]]:
    names = [out if takes == 1 else out.with_name(f"{out.stem}-{number}{out.suffix}") for number in range(1, takes + 1)]
    both = lambda name: {part: name.with_name(f"{name.stem}-{part}{name.suffix}") for part in LEVELS}
    return [{level: name} if level != "both" else both(name) for name in names]


def _written(args: argparse.Namespace) -> Iterator[Path]:
    """All files that these options write."""
    yield from args.beats_out or ()
    folder = args.video and args.video.is_dir()
    level = "own" if args.own_music else args.level
    for out in [out_of(video, args.out) for video in videos_of(args.video)] if folder else [args.out]:
        for path in (path for paths in _names(out, level, args.takes) for path in paths.values()):
            yield path
            if args.json:
                yield path.with_suffix(".json")
