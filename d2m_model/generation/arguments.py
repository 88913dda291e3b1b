"""The command line of `generate`: its options, and the files that --out and --level mean."""

import argparse
from pathlib import Path

from d2m_model.generation.mux import CONTAINERS
from d2m_model.metrics.systems import PRIOR
from dataset_tools.base.atomic import check_writable
from dataset_tools.base.cli import stage_parser
from dataset_tools.base.errors import UserError
from dataset_tools.base.timebase import LEVELS


def parser_of(doc: str) -> argparse.ArgumentParser:
    """Parser of `python -m d2m_model.generate`, which `doc` describes."""
    parser = stage_parser("d2m_model.generate", doc)
    parser.add_argument("--level", choices=(*LEVELS, "both"), default="high", help="codes of the model (default: high)")
    parser.add_argument("--variant", default=PRIOR, help="'prior' (default), or a trained variant of d2m_gan, such as full")
    parser.add_argument("--video", type=Path, help="your own dance video, or a folder of them")
    parser.add_argument("--out", type=Path, help="video or .wav to write for --video; a folder where that is one")
    parser.add_argument("--genre", default="", help="of your dance, for a model that is told it (d2m_gan.genres)")
    parser.add_argument("--seed", type=int, help="overrides generate.seed of params.yaml")
    parser.add_argument("--strictness", type=float, help="overrides generate.strictness: how strictly the prior keeps the rhythm")
    parser.add_argument("--style", help="overrides generate.style: a genre of the corpus, or a sound file to sound like")
    parser.add_argument("--json", action="store_true", help="write the detected beats and tempo beside each sound")
    parser.add_argument("--loudness", type=float, help="overrides generate.loudness: LUFS, -70 to 0")
    parser.add_argument("--denoise", type=float, help="overrides generate.denoise: 0 (off) to 1")
    return parser


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
