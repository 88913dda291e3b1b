"""Does the prior keep up with real time, and does its tempo hold? 60 s of music in one piece from a list of beats, demo weights.

    python -m benchmarks.prior_60s [--level high] [--seconds 60] [--tempo 120] [--threads 1]

Prints the time that codes and sound take, pose and rhythm apart, and the share of the beats that have an onset within 70 ms in
each quarter of the piece: a tempo that drifts would lose the last ones.
"""

import argparse
import time

import numpy as np
import torch

from d2m_model.demo.train_vqvae import CODEC
from d2m_model.generation.composing import Dance, Rhythmic
from d2m_model.generation.settings import Params
from d2m_model.imports import load_jukebox
from d2m_model.metrics.onset_alignment import onset_times
from d2m_model.prior.model_file import load_prior
from d2m_model.prior.player import Player
from d2m_model.rhythm.beats_file import Beats
from dataset_tools.base.layout import PROJECT
from dataset_tools.base.timebase import FPS, LEVELS

WEIGHTS = PROJECT / "dataset_tools" / "demo" / "weights"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--level", choices=tuple(LEVELS), default="high")
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--tempo", type=float, default=120.0)
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    decoder = load_jukebox(WEIGHTS / "vqvae_demo.pt", CODEC)
    high, low = (load_prior(WEIGHTS / f"prior_demo_{level}.pt") for level in ("high", "low"))
    composer = Rhythmic(Player(high=high, low=low if args.level == "low" else None, decoder=decoder))
    times = np.arange(0.25, args.seconds, 60 / args.tempo)
    beats = Beats(fps=FPS, seconds=args.seconds, beats=times, downbeats=times[::4], strength=np.full(len(times), 0.9), tempo=args.tempo)
    begun = time.perf_counter()
    made = composer.compose(Dance(frames=args.seconds * FPS, size=(1, 1), beats=beats), Params(threads=args.threads))
    wall = time.perf_counter() - begun
    onsets = onset_times(made.audio)
    hit = np.array([np.abs(onsets - t).min(initial=9) < 0.07 for t in times])
    quarters = " ".join(f"{part.mean():.0%}" for part in np.array_split(hit, 4))
    print(f"{args.level}: {args.seconds} s in {wall:.1f} s, {args.seconds / wall:.1f} times real time, {args.threads} threads; beats with an onset, by quarter: {quarters}")


if __name__ == "__main__":
    main()
