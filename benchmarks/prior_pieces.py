"""Measures the coherence of long pieces: 60 s in one piece under the beats of held-out songs, compared with these songs.

    python -m benchmarks.prior_pieces [--level high] [--songs 6]

The demo's weights generate each piece in the style of its song. Means over the pieces, over the songs, and over the songs encoded
and decoded are printed and written to benchmarks/results/prior_pieces-<level>.json:
- tempo: for each quarter of the piece the share of the beats with an onset within 70 ms;
- bars again: the share of the bars after the first that resemble an earlier bar of the piece; their log-mel spectra, each band
  minus its mean over the piece, correlate by at least 0.8 or 0.9;
- seams: the spectral jump where the Transformer's full context is replaced by its second half, divided by the 95th percentile of
  the piece's own jumps (`generate.regions.seam`), and the same at as many other places.
"""

import itertools
import json

import librosa
import numpy as np
import torch

from benchmarks import demo_prior
from d2m_model.demo.song_pool import score_of
from d2m_model.generate.regions import seam
from d2m_model.prior.data import REFERENCE_SECONDS
from d2m_model.prior.sampling import DRAWS
from d2m_model.prior.style import encode_style
from d2m_model.rhythm.beats_file import Beats
from d2m_model.rhythm.music_beats import strengths
from d2m_model.training.shard_data import peak_gain
from dataset_tools.demo.music.songs import synthesise
from dataset_tools.lib.core.atomic import write_text
from dataset_tools.lib.core.cli import command_parser
from dataset_tools.lib.core.layout import PROJECT
from dataset_tools.lib.core.timebase import FPS, HOPS, LEVELS, SAMPLE_RATE

FIRST = 9000
"""Number of the first song, far behind those that codec and prior were trained on."""
ALIKE = (0.8, 0.9, 0.95)
GRID = 64
"""Frames to which every bar is resampled."""


def bars_again(audio: np.ndarray, downbeats: np.ndarray) -> list[float]:
    """For each correlation in `ALIKE` the share of the bars after the first that correlate at least so with an earlier bar."""
    mel = librosa.power_to_db(
        librosa.feature.melspectrogram(y=audio, sr=SAMPLE_RATE, n_fft=1024, hop_length=256, n_mels=40), top_db=60
    )
    mel -= mel.mean(axis=1, keepdims=True)
    bars = []
    for start, end in itertools.pairwise(downbeats):
        frames = np.linspace(start, end, GRID, endpoint=False) * SAMPLE_RATE / 256
        bar = np.stack([np.interp(frames, np.arange(mel.shape[1]), band) for band in mel]).ravel()
        bars.append((bar - bar.mean()) / (bar.std() + 1e-9))
    alike = np.array(bars) @ np.array(bars).T / bars[0].size
    best = np.array([alike[n, :n].max() for n in range(1, len(bars))])
    return [float((best >= least).mean()) for least in ALIKE]


def main() -> None:
    parser = command_parser("benchmarks.prior_pieces", __doc__)
    parser.add_argument("--level", choices=tuple(LEVELS), default="high")
    parser.add_argument("--songs", type=int, default=6)
    args = parser.parse_args()
    torch.set_num_threads(1)
    player = demo_prior.player(args.level)
    net = (player.low or player.high).net
    patch, half = net.sizes.patch * HOPS[LEVELS[args.level]] / SAMPLE_RATE, net.sizes.context // 2
    found: dict[str, list] = {}
    for number in range(FIRST, FIRST + args.songs):
        score = score_of(number)
        song = synthesise(score, SAMPLE_RATE).astype(np.float32)
        song *= peak_gain(song)
        codes = player.encode(song, "high")
        times = {"beats": score.beats, "downbeats": score.downbeats, "strength": strengths(song, score.beats)}
        beats = Beats(fps=FPS, seconds=score.duration, tempo=score.tempo, **times)
        style = encode_style(player.high.net, codes, round(REFERENCE_SECONDS * SAMPLE_RATE / HOPS[2]))
        drawn = player.codes(beats, len(song), style, DRAWS["high"], number)
        again = {args.level: player.encode(song, args.level)}
        turns = [(net.sizes.context + n * half) * patch for n in range(99)]
        turns = [t for t in turns if t < score.duration - 1]
        elsewhere = list(np.random.default_rng(number).uniform(1, score.duration - 1, len(turns)))
        for name, audio in {
            "pieces": player.play(drawn, len(song)),
            "songs": song,
            "coded again": player.play(again, len(song)),
        }.items():
            measured = {"tempo": demo_prior.hits(audio, score.beats), "bars again": bars_again(audio, score.downbeats)}
            measured |= (
                {"seams": [seam(audio, turns)], "elsewhere": [seam(audio, elsewhere)]} if name == "pieces" else {}
            )
            for measure, values in measured.items():
                found.setdefault(f"{name}, {measure}", []).append(values)
    means = {name: [round(float(v), 3) for v in np.mean(values, axis=0)] for name, values in found.items()}
    out = PROJECT / "benchmarks" / "results" / f"prior_pieces-{args.level}.json"
    write_text(
        out, json.dumps({"level": args.level, "songs": args.songs, "alike": ALIKE, "means": means}, indent=1) + "\n"
    )
    for name, values in means.items():
        print(f"{args.level}: {name:24s} {' '.join(f'{v:.2f}' for v in values)}")


if __name__ == "__main__":
    main()
