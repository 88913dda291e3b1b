"""Is the seam of a region that was made anew heard? Measured on takes of a trained prior.

    python -m benchmarks.redo_seams --root CLONE [--corpus demo] [--pieces 20]

For each piece (12 s of steady beats at a tempo, genre and seed of its own) the prior makes a take, and 2 to 4 s of it again with
another seed, as `generate --redo` and the studio do. `generate.regions.seam` then compares the spectral jump at the ends of the region
with the 95th percentile of all the take's jumps: below 1, a seam stands out no more than the music's own events. "elsewhere" is the same at
as many other places of the take; "cut" is another take put in there as it is, without a cross-fade. Writes benchmarks/results/redo_seams.json.
"""

import json
import statistics
from dataclasses import replace
from pathlib import Path

import numpy as np

from d2m_model.generate.generators import Dance, PriorGenerator
from d2m_model.generate.models import load_model
from d2m_model.generate.params import Params
from d2m_model.generate.regions import Region, seam, splice
from d2m_model.generate.takes import FADE, made_again
from d2m_model.nets.variants import PRIOR
from d2m_model.rhythm.beats_file import Beats
from dataset_tools.lib.core.atomic import write_text
from dataset_tools.lib.core.cli import command_parser
from dataset_tools.lib.core.layout import Layout
from dataset_tools.lib.core.params import load_params
from dataset_tools.lib.core.timebase import FPS, LEVELS

RESULT = Path(__file__).parent / "results" / "redo_seams.json"
SECONDS = 12


def measure(generator: PriorGenerator, params: Params, number: int) -> dict[str, float]:
    """The three values for one piece. number: decides its tempo, genre, seeds and region."""
    rng = np.random.default_rng(number)
    period = 60 / rng.uniform(85, 140)
    times = np.arange(0.2, SECONDS, period)
    beats = Beats(fps=FPS, seconds=SECONDS, beats=times, downbeats=times[::4], tempo=60 / period)
    dance = Dance(frames=SECONDS * FPS, size=(1, 1), beats=beats)
    genres = sorted({genre for genre in generator.player.styles.genres if genre})
    params = replace(params, style=genres[number % len(genres)], seed=number)
    take = generator.generate(dance, params).audio
    start = float(rng.uniform(2, 6))
    region: Region = start, start + float(rng.uniform(2, 4))
    new = replace(params, seed=1000 + number)
    redone = made_again(generator, dance, new, take, [region])
    ends = [start, start + FADE, region[1] - FADE, region[1]]
    elsewhere = sorted(rng.uniform(0.5, SECONDS - 0.5, len(ends)))
    return {
        "seams": seam(redone, ends),
        "elsewhere": seam(take, list(elsewhere)),
        "cut": seam(splice(take, generator.generate(dance, new).audio, region, 0.0), region),
    }


def main() -> None:
    parser = command_parser("benchmarks.redo_seams", __doc__)
    parser.add_argument("--root", type=Path, default=Path())
    parser.add_argument("--corpus", default="demo")
    parser.add_argument("--pieces", type=int, default=20)
    args = parser.parse_args()
    layout = Layout(root=args.root.resolve(), corpus=args.corpus)
    params = load_params(layout.params, "generate", Params)
    result: dict[str, dict[str, dict[str, float]]] = {}
    for level in LEVELS:
        generator = load_model(layout, level, PRIOR, {})
        assert isinstance(generator, PriorGenerator)
        found = [measure(generator, params, number) for number in range(args.pieces)]
        result[level] = {
            name: {
                "median": round(statistics.median(piece[name] for piece in found), 3),
                "largest": round(max(piece[name] for piece in found), 3),
                "below 1": sum(piece[name] < 1 for piece in found),
            }
            for name in found[0]
        }
        for name, values in result[level].items():
            print(f"{level} {name:10s} " + ", ".join(f"{key} {value}" for key, value in values.items()))
    write_text(RESULT, json.dumps({"pieces": args.pieces, "levels": result}, indent=1) + "\n")


if __name__ == "__main__":
    main()
