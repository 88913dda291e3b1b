"""Train and measure the demo's embedding network, demo/weights/embedding_demo.pt, on the genres of synthesised songs.

    python -m dataset_tools.demo.train_embedding --out dataset_tools/demo/weights/embedding_demo.pt

The songs are synthesised as for the demo corpus, with seeds that no corpus can have. A .json file beside the weights has the
accuracy on held-out songs and that of guessing. Takes about 2 minutes on one CPU thread.
"""

import json
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional as F

from dataset_tools.demo.music.genres import GENRES
from dataset_tools.demo.music.songs import compose, synthesise
from dataset_tools.lib.core import cli
from dataset_tools.lib.core.atomic import check_writable, write_text
from dataset_tools.lib.core.progress import progress
from dataset_tools.lib.core.timebase import SAMPLE_RATE
from dataset_tools.lib.embedding.log_mel import OFFSET, segment_patches
from dataset_tools.lib.embedding.net import EmbeddingNet, load_embedding, save_embedding

FIRST_SEED = 2**32
"""The seeds of a corpus's songs are below this."""
NET_SEED = 73001
SONG_SECONDS, EXCERPT_SECONDS = 60.0, 24.0
BATCH, RATE, WEIGHT_DECAY = 64, 3e-3, 1e-2
NAMES = sorted(GENRES)


def render_excerpt(number: int) -> tuple[np.ndarray, int]:
    """(patches (N, 1, 96, 64) of a 24 s excerpt of song `number`, index of its genre)."""
    genre = number % len(NAMES)
    song = synthesise(compose(FIRST_SEED + number, NAMES[genre], seconds=SONG_SECONDS), SAMPLE_RATE)
    start = int(np.random.default_rng([NET_SEED, number]).uniform(0, SONG_SECONDS - EXCERPT_SECONDS) * SAMPLE_RATE)
    return np.concatenate(
        segment_patches(song[start : start + round(EXCERPT_SECONDS * SAMPLE_RATE)], SAMPLE_RATE)
    ), genre


def augment(patches: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Patches (B, 1, 96, 64), degraded as by a coarse codec or a bad loudspeaker, so that the embedding tolerates generated audio: up to
    6 dB louder or softer, with spectral tilt, a noise floor and a low-pass, and half of them blurred."""
    draw = lambda *shape: torch.rand(len(patches), *shape, generator=generator)
    magnitude = (patches.exp() - OFFSET).clamp(min=0)
    blurred = F.avg_pool2d(magnitude, (5, 3), 1, (2, 1), count_include_pad=False)
    magnitude = torch.where(draw(1, 1, 1) < 0.5, blurred, magnitude)
    band = torch.linspace(0, 1, patches.shape[-1])
    gain, tilt = 1.4 * draw(1, 1, 1) - 0.7, 2.8 * draw(1, 1, 1) - 1.4
    dull = torch.sigmoid(
        (0.3 + draw(1, 1, 1) - band) / 0.05
    )  # cutoff of the low-pass; for a third of the patches it is inside the band
    magnitude = magnitude * (gain + tilt * (band - 0.5)).exp() * dull
    floor = magnitude.mean((1, 2, 3), keepdim=True) * 10 ** (-2.5 + 2 * draw(1, 1, 1))  # -50 to -10 dB
    return (magnitude + floor * 2 * draw(*patches.shape[1:]) + OFFSET).log()


def train(patches: torch.Tensor, genres: torch.Tensor, epochs: int) -> EmbeddingNet:
    """Train a network for `epochs` epochs on patches (N, 1, 96, 64) with genres (N,)."""
    torch.manual_seed(NET_SEED)
    generator = torch.Generator().manual_seed(NET_SEED)
    net = EmbeddingNet(len(NAMES)).train()
    optimizer = torch.optim.AdamW(net.parameters(), lr=RATE, weight_decay=WEIGHT_DECAY)
    steps = epochs * (len(patches) // BATCH)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, total_steps=steps)
    for step in progress(range(steps), "train", steps, unit="step"):
        if step % (len(patches) // BATCH) == 0:
            order = torch.randperm(len(patches), generator=generator)
        chosen = order[(step * BATCH) % (len(patches) // BATCH * BATCH) :][:BATCH]
        loss = F.cross_entropy(net.genre(net(augment(patches[chosen], generator))), genres[chosen], label_smoothing=0.1)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        schedule.step()
    return net.eval()


def accuracy(net: EmbeddingNet, songs: list[tuple[np.ndarray, int]]) -> dict[str, float]:
    """Fraction of patches, and of 2 s segments (mean score of two patches), whose genre is classified correctly."""
    patches, segments = [], []
    with torch.inference_mode():
        for found, genre in songs:
            scores = net.genre(net(torch.from_numpy(found)))
            patches += (scores.argmax(1) == genre).tolist()
            segments += (scores.unflatten(0, (-1, 2)).mean(1).argmax(1) == genre).tolist()
    return {
        "patches": round(float(np.mean(patches)), 3),
        "segments": round(float(np.mean(segments)), 3),
        "chance": 1 / len(NAMES),
    }


def main(argv: list[str] | None = None) -> int:
    """Train, write and measure the network."""
    parser = cli.command_parser("dataset_tools.demo.train_embedding", __doc__)
    parser.add_argument(
        "--out", type=Path, required=True, help="weights to write; the accuracies go beside it as .json"
    )
    parser.add_argument("--songs", type=int, default=150, help="rendered songs to train on (default: 150)")
    parser.add_argument("--held-out", type=int, default=40, help="rendered songs to measure on (default: 40)")
    parser.add_argument("--epochs", type=int, default=8, help="passes over the songs (default: 8)")
    args = parser.parse_args(argv)
    check_writable(args.out)
    torch.set_num_threads(1)
    songs = [render_excerpt(n) for n in progress(range(args.songs + args.held_out), "render", unit="song")]
    known, unknown = songs[: args.songs], songs[args.songs :]
    patches = torch.from_numpy(np.concatenate([p for p, _ in known]))
    genres = torch.cat([torch.full((len(p),), g) for p, g in known])
    save_embedding(args.out, train(patches, genres, args.epochs), NAMES)
    found = accuracy(load_embedding(args.out), unknown)
    recipe = {
        "songs": args.songs,
        "held_out_songs": args.held_out,
        "epochs": args.epochs,
        "batch": BATCH,
        "genres": NAMES,
    }
    write_text(args.out.with_suffix(".json"), json.dumps(recipe | {"accuracy": found}, indent=2) + "\n")
    cli.say("train_embedding", ", ".join(f"{name} {share:.3f}" for name, share in found.items()))
    return 0


if __name__ == "__main__":
    cli.run(main)
