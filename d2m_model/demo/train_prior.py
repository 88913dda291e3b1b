"""Recipe of demo/weights/prior_demo_high.pt and _low.pt: small priors, trained on rendered songs that no corpus has.

    python -m d2m_model.demo.song_pool --out POOL.npy
    python -m d2m_model.demo.train_prior --pool POOL.npy --codes CODES --level high                 # songs to codes; and low with --songs 240
    python -m d2m_model.demo.train_prior --codes CODES --level high --steps 4500 --out FOLDER        # and low with --steps 3000

A corpus's own training continues from these weights. Each level is trained on one thread; a stopped training continues.
"""

import json
import time
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch

from d2m_model.checkpoints import load_jukebox
from d2m_model.demo.song_pool import genre_of, open_pool, score_of
from d2m_model.demo.train_vqvae import CODEC
from d2m_model.nets.jukebox_vqvae import JukeboxVQVAE
from d2m_model.prior.data import MusicData, TrainingMusic
from d2m_model.prior.model_file import PriorModel, save_prior
from d2m_model.prior.net import PriorNet
from d2m_model.prior.params import Params
from d2m_model.prior.style import encode_styles
from d2m_model.prior.task import PriorTask
from d2m_model.rhythm.music_beats import strengths
from d2m_model.training.coding import encode_long
from d2m_model.training.loop import Measurement, Run, train_loop
from d2m_model.training.seeding import seed_everything
from dataset_tools.lib.core import cli
from dataset_tools.lib.core.atomic import atomic_write, write_text
from dataset_tools.lib.core.timebase import HOPS, LEVELS, SAMPLE_RATE
from dataset_tools.lib.parallel.workers import run_all

HELD_OUT = 20
"""Number of held-out songs at the end of the pool, for measurements."""
SIZES: dict[str, dict[str, Any]] = {
    "high": {"width": 192, "depth": 6, "heads": 3, "local_width": 192},
    "low": {"width": 128, "depth": 3, "heads": 2, "local_width": 160},
}


def params_of(level: str, steps: int) -> Params:
    """Training parameters of a level, high or low."""
    training: dict[str, Any] = {
        "batch": 8,
        "steps": steps,
        "learning_rate": 1.5e-3,
        "warm_up": 200,
        "dropout": 0.0,
        "precision": "bf16",
    }
    seconds = 8.0 if level == "high" else 2.0
    return Params(
        **SIZES[level],
        **training,
        style_width=64,
        context_seconds=seconds,
        log_every=100,
        measure_every=500,
        checkpoint_every=500,
    )


def song_codes(job: tuple[Path, Path, str, int]) -> dict[str, np.ndarray]:
    """Codes, beats, down-beats and strengths of one song. job: (pool, codec, level, number of the song)."""
    pool, codec, level, number = job
    torch.set_num_threads(1)
    audio, score = open_pool(pool)[number].astype(np.float32) / 32767, score_of(number)
    codes = encode_long(_codec(codec), torch.from_numpy(audio), LEVELS[level]).numpy().astype(np.uint8)
    beats = score.beats[score.beats < len(audio) / SAMPLE_RATE]
    return {"codes": codes, "beats": beats, "downbeats": score.downbeats, "strength": strengths(audio, beats)}


@lru_cache
def _codec(path: Path) -> JukeboxVQVAE:
    return load_jukebox(path, CODEC)


def write_codes(pool: Path, codec: Path, level: str, out: Path, count: int, workers: int) -> None:
    """Write `song_codes` of the pool's first `count` songs, and the codebook, as one .npz."""
    jobs = [(pool, codec, level, number) for number in range(min(count, len(open_pool(pool))))]
    songs = run_all(song_codes, jobs, workers, "codes", unit="song")
    found: dict[str, Any] = {
        "codes": np.stack([song["codes"] for song in songs]),
        "codebook": _codec(codec).codebook(LEVELS[level]).k.numpy(),
    }
    found |= {f"{name}_{k}": song[name] for k, song in enumerate(songs) for name in ("beats", "downbeats", "strength")}
    with atomic_write(out) as aside, open(aside, "wb") as file:
        np.savez(file, **found)


def read_music(folder: Path, level: str) -> tuple[list[TrainingMusic], torch.Tensor]:
    """The pool as training music of a level, and the level's codebook, from the files of `write_codes` in `folder`."""
    with np.load(folder / f"{level}.npz") as file, np.load(folder / "high.npz") as above:
        own, upper = file["codes"], None if level == "high" else torch.from_numpy(above["codes"])
        times = lambda k: {name: file[f"{name}_{k}"] for name in ("beats", "downbeats", "strength")}
        music = [
            TrainingMusic(
                song=str(k), codes=torch.from_numpy(own[k]), upper=None if upper is None else upper[k], **times(k)
            )
            for k in range(len(own))
        ]
        return music, torch.from_numpy(file["codebook"])


class HeldOut:
    """Measures the cross-entropy of held-out songs in nats per code, with and without rhythm and style."""

    def __init__(self, task: PriorTask, data: MusicData):
        self.task, self.data = task, data

    @torch.no_grad()
    def measure(self, _net: PriorNet) -> Measurement:
        """Cross-entropy of held-out songs, with and without their conditions."""
        scores = {}
        for name, seen in (("held_out", True), ("held_out_unconditional", False)):
            shown = torch.full((2, 8), seen, device=self.task.device)
            scores[name] = float(np.mean([float(self.task.loss(self.data.batch(0, k, 8), shown)) for k in range(4)]))
        return Measurement(scores, {})


def train_level(codes: Path, level: str, steps: int, out: Path) -> None:
    """Train the prior of one level and write it to `out`/prior_demo_<level>.pt."""
    params = params_of(level, steps)
    device = seed_everything(0, 1)
    music, codebook = read_music(codes, level)
    sizes, hop = params.sizes(level, len(codebook)), HOPS[LEVELS[level]]
    data, net = MusicData(music[:-HELD_OUT], sizes, hop), PriorNet(sizes)
    task = PriorTask(net, data, params, device)
    task.held_out = HeldOut(task, MusicData(music[-HELD_OUT:], sizes, hop, jitter=0, mask=0))
    started = time.monotonic()
    run = Run(stage="train_prior", name=level, state=out / f"state_{level}.pt", resume=True, again="the same command")
    curves = train_loop(task, steps, params, run)
    last = {name: round(value, 4) for name, value in curves.rows[-1].items() if name != "step"}
    facts = {
        "steps": steps,
        "batch": params.batch,
        "songs": len(music) - HELD_OUT,
        "seconds_on_one_core": round(time.monotonic() - started),
    }
    styles = (
        encode_styles(net.eval(), data, {piece.song: genre_of(int(piece.song)) for piece in data.pieces})
        if sizes.style
        else None
    )
    save_prior(out / f"prior_demo_{level}.pt", PriorModel(net=net, codebook=codebook, level=level, styles=styles))
    curves.write(out / f"curves_{level}.csv")
    write_text(
        out / f"prior_demo_{level}.json",
        json.dumps(facts | {"sizes": sizes.as_dict(), "cross_entropy": last}, indent=2) + "\n",
    )


def main(argv: list[str] | None = None) -> int:
    """The command line; the exit status."""
    parser = cli.command_parser("d2m_model.demo.train_prior", __doc__)
    parser.add_argument("--pool", type=Path, help="songs, as song_pool writes them: turn them into codes")
    parser.add_argument(
        "--codec", type=Path, default=Path("dataset_tools/demo/weights/vqvae_demo.pt"), help="weights of the codec"
    )
    parser.add_argument("--codes", type=Path, help="folder of the songs' codes: written with --pool, else read")
    parser.add_argument(
        "--songs", type=int, default=10**6, help="how many of the pool's songs to turn into codes (default: all)"
    )
    parser.add_argument("--workers", type=int, default=2, help="processes that turn songs into codes (default: 2)")
    parser.add_argument("--level", choices=tuple(LEVELS), default="high")
    parser.add_argument("--steps", type=int, default=4500, help="training steps (default: 4500)")
    parser.add_argument("--out", type=Path, help="folder for the weights of the level")
    args = parser.parse_args(argv)
    if args.pool and args.codes:
        write_codes(args.pool, args.codec, args.level, args.codes / f"{args.level}.npz", args.songs, args.workers)
    elif args.codes and args.out:
        args.out.mkdir(parents=True, exist_ok=True)
        train_level(args.codes, args.level, args.steps, args.out)
    else:
        parser.error("--pool and --codes, or --codes and --out are needed")
    return 0


if __name__ == "__main__":
    cli.run(main)
