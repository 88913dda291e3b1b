"""Measures whether the prior runs in real time and keeps the tempo: 60 s of music in one piece from a list of beats, demo weights.

    python -m benchmarks.prior_60s [--level high] [--seconds 60] [--tempo 120] [--threads 1]

Prints the time for codes and audio, without pose and rhythm, and for each quarter of the piece the share of the beats with an
onset within 70 ms. A drifting tempo would miss the last beats.
"""

import time

import numpy as np
import torch

from benchmarks.demo_prior import hits, player
from d2m_model.generate.generators import Dance, PriorGenerator
from d2m_model.generate.params import Params
from d2m_model.rhythm.beats_file import Beats
from dataset_tools.lib.core.cli import command_parser
from dataset_tools.lib.core.timebase import FPS, LEVELS


def main() -> None:
    parser = command_parser("benchmarks.prior_60s", __doc__)
    parser.add_argument("--level", choices=tuple(LEVELS), default="high")
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--tempo", type=float, default=120.0)
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    generator = PriorGenerator(player(args.level))
    times = np.arange(0.25, args.seconds, 60 / args.tempo)
    beats = Beats(
        fps=FPS,
        seconds=args.seconds,
        beats=times,
        downbeats=times[::4],
        strength=np.full(len(times), 0.9),
        tempo=args.tempo,
    )
    begun = time.perf_counter()
    made = generator.generate(Dance(frames=args.seconds * FPS, size=(1, 1), beats=beats), Params(threads=args.threads))
    wall = time.perf_counter() - begun
    quarters = " ".join(f"{part:.0%}" for part in hits(made.audio, times))
    print(
        f"{args.level}: {args.seconds} s in {wall:.1f} s, {args.seconds / wall:.1f} times real time, {args.threads} threads; beats with an onset, by quarter: {quarters}"
    )


if __name__ == "__main__":
    main()
