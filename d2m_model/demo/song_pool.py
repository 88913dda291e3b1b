"""Renders the pool of songs on which the demo's codec and priors are pretrained. No corpus has any of these songs.

    python -m d2m_model.demo.song_pool --out POOL --songs 600

Song k is composed from the seed FIRST_SEED + k in genre k modulo the number of genres. So k alone gives its score with beats and
down-beats (`score_of`). The seeds of corpora are below 2**32, those of the demo's embedding just above.
"""

from pathlib import Path

import numpy as np

from dataset_tools.demo.music.genres import GENRES
from dataset_tools.demo.music.songs import Score, compose, synthesise
from dataset_tools.lib.core import cli
from dataset_tools.lib.core.errors import UserError
from dataset_tools.lib.core.timebase import SAMPLE_RATE
from dataset_tools.lib.parallel.workers import run_all

FIRST_SEED = 2**32 + 1_000_000
SECONDS = 60.0
NAMES = sorted(GENRES)
PEAK = 0.95
"""Peak of each song, as of clips in training."""


def score_of(number: int) -> Score:
    """The score of song `number` of the pool."""
    return compose(FIRST_SEED + number, genre_of(number), seconds=SECONDS)


def genre_of(number: int) -> str:
    """The genre of song `number`; genres alternate."""
    return NAMES[number % len(NAMES)]


def open_pool(path: Path) -> np.ndarray:
    """The pool (N, S) int16, memory-mapped, full scale 32767; S = 60 s at 22 050 Hz. Raises UserError for a missing file."""
    if not path.is_file():
        raise UserError(f"{path}: no pool of songs; make it with `python -m d2m_model.demo.song_pool --out {path}`")
    return np.load(path, mmap_mode="r")


def _render(number: int) -> np.ndarray:
    song = synthesise(score_of(number), SAMPLE_RATE)
    return np.round(song * (PEAK * 32767 / max(1e-4, float(np.abs(song).max())))).astype(np.int16)


def main(argv: list[str] | None = None) -> int:
    """The command line; the exit status."""
    parser = cli.command_parser("d2m_model.demo.song_pool", __doc__)
    parser.add_argument("--out", type=Path, required=True, help="the .npy file to write: 2.6 MB a song")
    parser.add_argument("--songs", type=int, default=600, help="how many (default: 600, 10 hours)")
    parser.add_argument("--workers", type=int, default=2, help="processes that render (default: 2)")
    args = parser.parse_args(argv)
    part = args.out.with_suffix(".part")
    pool = np.lib.format.open_memmap(part, "w+", np.int16, (args.songs, round(SECONDS * SAMPLE_RATE)))
    for first in range(0, args.songs, 40):
        numbers = list(range(first, min(first + 40, args.songs)))
        for number, song in zip(
            numbers, run_all(_render, numbers, args.workers, f"songs from {first}", unit="song"), strict=True
        ):
            pool[number] = song
    pool.flush()
    part.rename(args.out)
    cli.say("song_pool", f"{args.songs} songs, {args.songs * SECONDS / 3600:.1f} hours -> {args.out}")
    return 0


if __name__ == "__main__":
    cli.run(main)
