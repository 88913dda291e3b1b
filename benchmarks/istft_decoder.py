"""Compares an inverse-STFT decoder with JukeBox's convolutional decoder at equal CPU time of training.

    python -m d2m_model.demo.song_pool --out POOL.npy --songs 100
    python -m benchmarks.coded_pool --pool POOL.npy --out CODES
    python -m benchmarks.istft_decoder --pool POOL.npy --codes CODES --minutes 19 [--decoder istft] [--root . --corpus demo]

Trains a decoder from scratch for the codes of the demo's codec (encoder and codebook do not change), with the losses of the
codec's training, for some CPU minutes on one core. Then decodes the codes of the corpus's test clips with it and with the codec's
own decoder, and scores both like `evaluate`. `--decoder convolutional` trains JukeBox's decoder in the same way; `--share` prints
the decoder's share of the codec's own training. Needs the corpus's shards and rhythm (`make repro`). Adds its row to
benchmarks/results/istft_decoder.json.
"""

import json
import math
import time
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from benchmarks import demo_prior
from benchmarks.audio_scores import Clips, score_line, scores, test_clips, unheard_clips
from d2m_model.demo.song_pool import open_pool
from d2m_model.demo.train_vqvae import CODEC, HELD_OUT, PoolData, PoolTask, params_of
from d2m_model.losses.spectral import mel_l1, multispectral
from d2m_model.nets.istft_decoder import IstftConfig, IstftDecoder
from d2m_model.nets.jukebox_vqvae import Decoder, JukeboxVQVAE
from d2m_model.training.seeding import generator, seed_everything
from dataset_tools.lib.core.atomic import write_text
from dataset_tools.lib.core.cli import command_parser
from dataset_tools.lib.core.layout import Layout
from dataset_tools.lib.core.timebase import HOPS, LEVELS, SAMPLE_RATE

RESULTS = Path("benchmarks/results/istft_decoder.json")
SIZES = IstftConfig(width=192, depth=6)


class CodedSongs:
    """Windows of codes and audio from a pool's first songs."""

    def __init__(self, pool: np.ndarray, codes: np.ndarray, hop: int, seconds: float):
        self.pool, self.codes, self.hop = pool, codes, hop
        self.size = round(seconds * SAMPLE_RATE / hop)
        self.power = float(np.mean([np.mean((song[:: 1 << 6] / 32767.0) ** 2) for song in pool[: len(codes)]]))

    def batch(self, seed: int, step: int, size: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Codes (B, L) int64 and their audio (B, L * hop), from random places."""
        rng = generator(seed, "coded", step)
        rows = torch.randint(len(self.codes), (size,), generator=rng).tolist()
        starts = torch.randint(self.codes.shape[1] - self.size, (size,), generator=rng).tolist()
        codes = np.stack([self.codes[r, s : s + self.size] for r, s in zip(rows, starts, strict=True)]).astype(np.int64)
        audio = np.stack(
            [self.pool[r, s * self.hop : (s + self.size) * self.hop] for r, s in zip(rows, starts, strict=True)]
        )
        return torch.from_numpy(codes), torch.from_numpy(audio.astype(np.float32) / 32767)


def build_decoder(kind: str, level: int) -> nn.Module:
    """An untrained decoder."""
    if kind == "convolutional":
        return Decoder(CODEC, level)
    return IstftDecoder(CODEC.emb_width, HOPS[level], SIZES, polar=kind == "istft")


def train(
    net: nn.Module,
    codec: JukeboxVQVAE,
    level: int,
    data: CodedSongs,
    minutes: float,
    *,
    wall: float,
    rate: float,
    batch: int = 8,
) -> dict:
    """Train for `minutes` of CPU time, but at most `wall` minutes; the learning rate follows a cosine of the time used. Returns facts
    about the training."""
    adam = torch.optim.AdamW(net.parameters(), lr=rate, betas=(0.8, 0.99), weight_decay=0.01)
    begun, at, number, losses = time.process_time(), time.monotonic(), 0, []
    while (share := max((time.process_time() - begun) / (60 * minutes), (time.monotonic() - at) / (60 * wall))) < 1:
        adam.param_groups[0]["lr"] = (
            rate * min(1.0, (number + 1) / 100) * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * share)))
        )
        codes, audio = data.batch(0, number, batch)
        with torch.no_grad():
            z = codec.embed(codes, level)
        with torch.autocast("cpu", torch.bfloat16, enabled=share < 0.9):
            rebuilt = net(z).float()[:, 0]
        loss = (
            F.mse_loss(rebuilt, audio) / data.power + multispectral(rebuilt, audio, data.power) + mel_l1(rebuilt, audio)
        )
        adam.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(net.parameters(), 2.0)
        adam.step()
        losses.append(float(loss.detach()))
        number += 1
        if number % 200 == 0:
            print(f"step {number}, {share:.0%}: loss {np.mean(losses[-200:]):.4f}", flush=True)
    facts = {
        "cpu_minutes": round((time.process_time() - begun) / 60, 2),
        "steps": number,
        "batch": batch,
        "loss": round(float(np.mean(losses[-100:])), 4),
    }
    return facts | {"songs": len(data.codes), "learning_rate": rate}


@torch.inference_mode()
def decode_clips(
    decoder: nn.Module, codec: JukeboxVQVAE, level: int, clips: Clips
) -> tuple[dict[str, np.ndarray], float]:
    """(the clips' music, encoded and decoded; CPU seconds of decoding per second of music)."""
    audio, used, length = {}, 0.0, 0
    for clip, wave in clips.audio.items():
        z = codec.embed(codec.encode(torch.from_numpy(wave)[None], level), level)
        begun = time.process_time()
        found = decoder(z)[0, 0].numpy()
        used, length = used + time.process_time() - begun, length + len(found)
        audio[clip] = np.pad(found, (0, len(wave) - len(found)))
    return audio, used * SAMPLE_RATE / length


def decoder_share(pool: np.ndarray, level: int, steps: int = 12) -> float:
    """Share of the decoder and of the losses on its output in the time of a training step of the codec (`train_vqvae`, in bf16)."""
    params = params_of(level, 10_000)
    task = PoolTask(
        JukeboxVQVAE(params.config()),
        level,
        PoolData(pool[:60], params.seconds),
        PoolData(pool[-HELD_OUT:], 2.0),
        params,
        10_000,
    )
    whole, own, model = [], [], task.model
    task.quantised_from = 0
    for number in range(steps):
        begun = time.process_time()
        task.step(number, lambda *_: None)
        whole.append(time.process_time() - begun)
        audio = task.data.batch(0, number, params.batch).audio
        audio = model.trim_to_hops(audio, 2)
        z = model.latents(audio, level).detach()
        begun = time.process_time()
        rebuilt = model.decode_latents(z, level)
        (F.mse_loss(rebuilt, audio) + multispectral(rebuilt, audio, task.power) + mel_l1(rebuilt, audio)).backward()
        own.append(time.process_time() - begun)
    return float(np.median(own) / np.median(whole))


def main() -> None:
    parser = command_parser("benchmarks.istft_decoder", __doc__)
    parser.add_argument("--pool", type=Path, required=True)
    parser.add_argument("--codes", type=Path, help="folder of <level>.npz")
    parser.add_argument("--decoder", choices=("istft", "istft-cartesian", "convolutional"), default="istft")
    parser.add_argument("--level", choices=tuple(LEVELS), default="high")
    parser.add_argument("--minutes", type=float, default=19.0, help="of CPU time (default: 19)")
    parser.add_argument(
        "--wall",
        type=float,
        default=math.inf,
        help="minutes by the clock after which it ends anyway, on a busy machine (default: none)",
    )
    parser.add_argument("--rate", type=float, default=1e-3, help="learning rate (default: 0.001)")
    parser.add_argument(
        "--share", action="store_true", help="only say which share of the codec's training its decoder took"
    )
    parser.add_argument(
        "--keep", type=Path, help="where to keep the trained decoder; one that is there is not trained again"
    )
    parser.add_argument(
        "--on",
        choices=("test", "unheard"),
        default="test",
        help="clips of the corpus, or songs of the pool's kind that nothing was trained on",
    )
    parser.add_argument("--root", type=Path, default=Path())
    parser.add_argument("--corpus", default="demo")
    parser.add_argument("--out", type=Path, default=RESULTS)
    args = parser.parse_args()
    seed_everything(0, 1)
    level, pool, layout = LEVELS[args.level], open_pool(args.pool), Layout(root=args.root, corpus=args.corpus)
    if args.share:
        print(f"{args.level}: the decoder takes {decoder_share(pool, level):.2f} of a step")
        return
    codec, net, facts = demo_prior.codec(), build_decoder(args.decoder, level), {}
    if args.keep and args.keep.is_file():
        kept = torch.load(args.keep, weights_only=True)
        net.load_state_dict(kept["net"])
        facts = kept["facts"]
    else:
        with np.load(args.codes / f"{args.level}.npz") as file:
            data = CodedSongs(pool, file["codes"], HOPS[level], 0.6)
        facts = train(net, codec, level, data, args.minutes, wall=args.wall, rate=args.rate)
        if args.keep:
            torch.save({"net": net.state_dict(), "facts": facts}, args.keep)
    clips = test_clips(layout) if args.on == "test" else unheard_clips(20, 10.0, pool, layout)
    before = json.loads(args.out.read_text(encoding="utf-8")) if args.out.is_file() else {}
    for name, decoder, extra in (("codec's own", codec.decoders[level], {}), (args.decoder, net.eval(), facts)):
        audio, cost = decode_clips(decoder, codec, level, clips)
        parameters = sum(p.numel() for p in decoder.parameters())
        found = (
            extra
            | {"parameters": parameters, "cpu_seconds_a_second": round(cost, 4)}
            | scores(audio, clips, args.level)
        )
        before[f"{args.level}, {args.on}: {name}" + (f", {extra['cpu_minutes']:g} min" if extra else "")] = found
        print(score_line(name, found), flush=True)
    write_text(args.out, json.dumps(before, indent=1) + "\n")


if __name__ == "__main__":
    main()
