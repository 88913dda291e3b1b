"""Recipe of demo/weights/vqvae_demo.pt: a small JukeBox VQ-VAE, trained on synthesised songs that are in no corpus.

    python -m d2m_model.demo.song_pool --out POOL.npy
    python -m d2m_model.demo.train_vqvae --pool POOL.npy --level 2 --out PARTS                   # and 1; and 0 with --steps 3000
    python -m d2m_model.demo.train_vqvae --join PARTS --out dataset_tools/demo/weights/vqvae_demo.pt

It takes the place of JukeBox's VQ-VAE, which was trained on 1.2 million songs. The file has the layout of JukeBox's published
one, in fp16. Each level is trained separately on one thread; a stopped training continues. Convolutions run in bf16 with
channels last, which halves the time on processors with bf16, and in fp32 for the last part of the steps.
"""

import json
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from d2m_model.demo.song_pool import open_pool
from d2m_model.nets.jukebox_vqvae import JUKEBOX_LEVELS, JukeboxVQVAE, VqVaeConfig
from d2m_model.training.autoencoding import measure
from d2m_model.training.loop import Measurement, Run, train_loop
from d2m_model.training.seeding import generator, seed_everything
from d2m_model.training.vqvae_files import load_vqvae, save_vqvae
from d2m_model.vqvae.params import Params
from d2m_model.vqvae.task import LevelTask
from dataset_tools.lib.core import cli
from dataset_tools.lib.core.atomic import atomic_write, check_writable, write_text
from dataset_tools.lib.core.timebase import HOPS, SAMPLE_RATE

CODEC = VqVaeConfig(width=32, depth=4, multipliers=(1, 1, 1), bins=256)
"""Sizes of `vqvae_demo`."""
SECONDS = {0: 0.1, 1: 0.2, 2: 0.4}
"""Level -> length of a training window in seconds."""
HELD_OUT = 20
"""Number of held-out songs at the end of the pool, for measurements."""


def params_of(level: int, steps: int) -> Params:
    """Training parameters of a level, 0 to 2."""
    sizes: dict[str, Any] = {name: getattr(CODEC, name) for name in ("width", "depth", "multipliers", "bins")}
    training: dict[str, Any] = {
        "batch": 8,
        "seconds": SECONDS[level],
        "learning_rate": 1.5e-3,
        "gradient_norm": 2.0,
        "warm_up": 0.1,
        "mel": 1.0,
        "dead_code_threshold": 0.05,
    }
    every: dict[str, Any] = {
        "log_every": 100,
        "measure_every": 2000,
        "checkpoint_every": 500,
        "test_windows": 40,
        "measure_clips": 20,
    }
    return Params(**sizes, **training, **every, steps=(steps,) * 3)


class PoolData:
    """Windows of `seconds` from songs (N, S) int16 of a pool, with the interface of `WindowData` that `autoencoding` uses."""

    def __init__(self, songs: np.ndarray, seconds: float):
        self.songs, self.size = songs, round(seconds * SAMPLE_RATE)
        self.clips = [SimpleNamespace(clip_id=f"song {k}") for k in range(min(60, len(songs)))]
        """Enough songs to measure their mean power."""
        spread = range(0, songs.shape[1] - self.size, songs.shape[1] // 2)
        self.windows = [(k, start) for k in range(len(songs)) for start in spread]

    def clip_audio(self, index: int) -> torch.Tensor:
        """The whole audio of a song, (S,) float32, full scale 1."""
        return self._audio(index, 0, self.songs.shape[1])

    def batch(self, seed: int, step: int, size: int, jitter: int = 0) -> SimpleNamespace:
        """Audio (B, S) of batch number `step`: windows from random places in random songs."""
        rng = generator(seed, "window", step)
        rows = torch.randint(len(self.songs), (size,), generator=rng).tolist()
        starts = torch.randint(self.songs.shape[1] - self.size, (size,), generator=rng).tolist()
        return self.gather(zip(rows, starts, strict=True))

    def gather(self, windows) -> SimpleNamespace:
        """Audio (B, S) of the given windows, each (song, first sample)."""
        return SimpleNamespace(audio=torch.stack([self._audio(row, start, self.size) for row, start in windows]))

    def _audio(self, row: int, start: int, size: int) -> torch.Tensor:
        return torch.from_numpy(self.songs[row, start : start + size].astype(np.float32) / 32767)


class PoolTask(LevelTask):
    """`LevelTask` in bf16 for the first `coarse` steps."""

    def __init__(self, model: JukeboxVQVAE, level: int, data: PoolData, test: PoolData, params: Params, coarse: int):
        super().__init__(model, level, data, test, params)  # type: ignore[arg-type]  # PoolData has what is used of WindowData
        self.coarse, self.number = coarse, 0
        for net in (model.encoders[level], model.decoders[level]):
            _on_rows(net)
            net.forward = self._in_bf16(net.forward)

    def step(self, number: int, guard) -> dict[str, torch.Tensor]:
        """Do step `number`; returns the losses."""
        self.number = number
        return super().step(number, guard)

    def measure(self) -> Measurement:
        """Scores only, without audio."""
        return Measurement(super().measure().scores, {})

    def _in_bf16(self, forward):
        def wrapped(x):
            with torch.autocast("cpu", torch.bfloat16, enabled=self.number < self.coarse and torch.is_grad_enabled()):
                return forward(x).float()

        return wrapped


def _on_rows(net: nn.Module) -> None:
    """Let the convolutions of `net` compute with channels last in memory: equal up to rounding, and faster on CPUs."""
    rows = torch.channels_last
    for part in net.modules():
        if type(part) is nn.Conv1d:

            def forward(x, c=part):
                x = x[:, :, None].contiguous(memory_format=rows)
                return F.conv2d(x, c.weight[:, :, None], c.bias, (1, *c.stride), (0, *c.padding), (1, *c.dilation))[
                    :, :, 0
                ]
        elif type(part) is nn.ConvTranspose1d:

            def forward(x, c=part):
                x = x[:, :, None].contiguous(memory_format=rows)
                return F.conv_transpose2d(x, c.weight[:, :, None], c.bias, (1, *c.stride), (0, *c.padding))[:, :, 0]
        else:
            continue
        part.forward = forward  # type: ignore[method-assign]  # of this one layer


def train_level(pool: Path, level: int, steps: int, coarse: float, out: Path) -> None:
    """Train one level and write it to `out`/level_<level>.pt, with its curves and facts about the training."""
    params = params_of(level, steps)
    seed_everything(level, 1)
    songs, model = open_pool(pool), JukeboxVQVAE(params.config())
    data, test = PoolData(songs[:-HELD_OUT], params.seconds), PoolData(songs[-HELD_OUT:], 2.0)
    task = PoolTask(model, level, data, test, params, round(coarse * steps))
    started = time.monotonic()
    run = Run(
        stage="train_vqvae",
        name=f"level {level}",
        state=out / f"state_{level}.pt",
        resume=True,
        again="the same command",
    )
    curves = train_loop(task, steps, params, run)
    facts: dict[str, Any] = {
        "steps": steps,
        "batch": params.batch,
        "window_seconds": params.seconds,
        "songs": len(songs) - HELD_OUT,
    }
    facts |= {
        "seconds_on_one_core": round(time.monotonic() - started),
        "held_out": measure(model.eval(), level, test, 40),  # type: ignore[arg-type]  # as above
    }
    save_vqvae(out / f"level_{level}.pt", model, {})
    curves.write(out / f"curves_{level}.csv")
    write_text(out / f"level_{level}.json", json.dumps(facts, indent=2) + "\n")


def join(parts: Path, out: Path) -> None:
    """Join the levels in `parts` into one file of JukeBox's layout, in fp16, and write facts about the trainings as .json."""
    check_writable(out)
    model, facts = JukeboxVQVAE(params_of(0, 1).config()), {}
    for level in JUKEBOX_LEVELS:
        model.copy_level(load_vqvae(parts / f"level_{level}.pt"), level)
        facts[f"level_{level}"] = {"hop": HOPS[level]} | json.loads((parts / f"level_{level}.json").read_text())
    with atomic_write(out) as aside:
        torch.save({"model": {name: value.half() for name, value in model.state_dict().items()}}, aside)
    write_text(out.with_suffix(".json"), json.dumps({"config": model.config.as_dict()} | facts, indent=2) + "\n")


def main(argv: list[str] | None = None) -> int:
    """The command line; the exit status."""
    parser = cli.command_parser("d2m_model.demo.train_vqvae", __doc__)
    parser.add_argument("--pool", type=Path, help="songs, as song_pool writes them")
    parser.add_argument(
        "--level", type=int, choices=JUKEBOX_LEVELS, default=2, help="JukeBox's level (default: 2, which is 'high')"
    )
    parser.add_argument("--steps", type=int, default=10_000, help="training steps (default: 10000)")
    parser.add_argument("--coarse", type=float, default=0.9, help="share of the steps in bf16 (default: 0.9)")
    parser.add_argument("--join", type=Path, help="folder of trained levels, to be joined into one file")
    parser.add_argument(
        "--out", type=Path, required=True, help="folder of trained levels, or with --join the file to write"
    )
    args = parser.parse_args(argv)
    if args.join:
        join(args.join, args.out)
    elif args.pool:
        args.out.mkdir(parents=True, exist_ok=True)
        train_level(args.pool, args.level, args.steps, args.coarse, args.out)
    else:
        parser.error("--pool or --join is needed")
    cli.say("train_vqvae", f"-> {args.out}")
    return 0


if __name__ == "__main__":
    cli.run(main)
