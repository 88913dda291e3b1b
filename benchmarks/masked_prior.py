"""Compares a masked prior with the causal prior at equal training time.

    python -m d2m_model.demo.song_pool --out POOL.npy --songs 100
    python -m benchmarks.coded_pool --pool POOL.npy --out CODES
    python -m benchmarks.masked_prior train choose score --pool POOL.npy --codes CODES --keep FOLDER [--minutes 15] [--root . --corpus demo]

`train` trains both from scratch, one after the other: equal sizes and numbers of parameters, equal batches and conditions, some
CPU minutes on one core. `choose` generates music for held-out songs like those of the pool with several sampling settings, and
chooses those with the highest P4 - FAD / 10 for each prior. `score` generates music for the corpus's test dances with them, under
the beats that the stage `rhythm` predicted, and scores it like `evaluate`; it needs the corpus's shards and rhythm (`make
repro`). `score --draw GUIDANCE NOISE` also scores the masked prior with these settings.
Results go to benchmarks/results/masked_prior.json.

The masked prior (MaskGIT, Chang et al., 2022; VampNet, Flores Garcia et al., 2023) reads codes on both sides. It is trained to
predict hidden codes, a share cos(pi u / 2) of an excerpt with u uniform. To sample, it predicts all hidden codes of an excerpt
at once, keeps the most certain ones, hides the rest again, and repeats.
"""

import json
import math
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

from benchmarks import demo_prior
from benchmarks.audio_scores import Clips, score_line, scores, test_clips, unheard_clips
from d2m_model.demo.song_pool import genre_of, open_pool
from d2m_model.demo.train_prior import params_of, read_music
from d2m_model.generate.finish import normalise
from d2m_model.generate.params import Params as Finish
from d2m_model.nets.cpu.memory import keep_freed_memory
from d2m_model.prior.conditions import features_of
from d2m_model.prior.data import MusicData, MusicExcerpts
from d2m_model.prior.model_file import PriorModel, load_prior, save_prior
from d2m_model.prior.net import PatchAttention, PriorNet, PriorSizes, _rotate
from d2m_model.prior.sampling import Draw, sample
from d2m_model.prior.style import encode_styles, style_for
from d2m_model.prior.task import PriorTask, condition_mask
from d2m_model.training.coding import decode_long
from d2m_model.training.loop import backward_and_step
from d2m_model.training.seeding import generator, seed_everything
from dataset_tools.lib.core.atomic import write_text
from dataset_tools.lib.core.cli import command_parser
from dataset_tools.lib.core.layout import Layout
from dataset_tools.lib.core.timebase import HOPS, LEVELS, SAMPLE_RATE

RESULTS = Path("benchmarks/results/masked_prior.json")
LEVEL = "high"
HOP = HOPS[LEVELS[LEVEL]]
SIZES = {"width": 96, "depth": 4, "heads": 2, "local_width": 96, "context_seconds": 4.0}
"""Smaller than the shipped prior (192, 6, 3, 192 and 8 s), so that some minutes of training give music."""


class Everywhere(PatchAttention):
    """Attention to the patches on both sides, without a cache."""

    def forward(self, x: torch.Tensor, cache: None = None) -> torch.Tensor:
        q, k, v = self.qkv(x).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        angle = torch.arange(x.shape[1], device=x.device)[:, None] * self.turns
        out = F.scaled_dot_product_attention(_rotate(q, angle), _rotate(k, angle), v)
        return self.out(out.transpose(1, 2).flatten(2))


class MaskedNet(PriorNet):
    """`PriorNet` with the same parameters, which predicts each code from those on both sides; `start` stands for a hidden code."""

    def __init__(self, sizes: PriorSizes):
        super().__init__(sizes)
        for block in self.blocks:
            block.attention = Everywhere(sizes.width, sizes.heads)

    def forward(
        self,
        codes: torch.Tensor,
        rhythm: torch.Tensor,
        condition: torch.Tensor,
        shown: torch.Tensor,
        at: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Logits (B, N * P, bins) from codes (B, N * P) int64, in which `start` stands for hidden codes. With `at` (B, N * P) bool,
        logits (n, bins) of these places only. rhythm, condition and shown are as in `PriorNet.forward`."""
        sizes, side = self.sizes, self.sizes.seen // 2
        spread = self.within.spread(
            self.through(codes.unflatten(1, (-1, sizes.patch)), condition), rhythm * shown[:, None, None]
        )
        around = F.pad(codes, (side, side), value=self.start).unfold(1, 2 * side + 1, 1)
        near = torch.cat([around[..., :side], around[..., side + 1 :]], -1)
        if at is not None:
            spread, near = spread[at], near[at]
        return self.within.scores(spread, self.code(near).flatten(-2))


class MaskedTask(PriorTask):
    """`PriorTask` of a `MaskedNet`: the cross-entropy of the hidden codes."""

    def loss(self, excerpts: MusicExcerpts, shown: torch.Tensor) -> torch.Tensor:
        with torch.autocast("cpu", torch.bfloat16, enabled=self.params.precision == "bf16"):
            _, codes, rhythm, reference, _ = excerpts
            hidden = (torch.rand(codes.shape) < torch.cos(math.pi / 2 * torch.rand(len(codes), 1))) & (codes >= 0)
            hidden[0, 0] = True
            seen = torch.where(hidden, self.net.start, codes.clamp(min=0))
            condition = self.net.condition(rhythm, self.net.style(reference), has_rhythm=shown[0], has_style=shown[1])
            return F.cross_entropy(self.net(seen, rhythm, condition, shown[0], hidden).float(), codes[hidden])


@dataclass(frozen=True, kw_only=True)
class MaskedDraw:
    """How hidden codes are sampled."""

    passes: int = 36
    """Passes of the network over each excerpt (36 as in VampNet)."""
    guidance: float = 1.0
    temperature: float = 1.0
    noise: float = 3.0
    """Scale of the Gumbel noise on the network's certainty in the first pass; it decreases linearly to 0."""


def hidden_after(pass_: int, passes: int, count: int) -> int:
    """Number of the `count` codes that are still hidden after pass `pass_` (from 0): a cosine schedule, with none after the last."""
    return int(math.cos(math.pi / 2 * (pass_ + 1) / passes) * count + 1e-9)


@torch.inference_mode()
def masked_sample(
    net: MaskedNet, rhythm: torch.Tensor, style: torch.Tensor, draw: MaskedDraw, rng: torch.Generator
) -> torch.Tensor:
    """Codes (L,) int64 for rhythm (L, RHYTHM) and style (style,). Music longer than the network's context continues from the second
    half of the codes so far."""
    sizes, count = net.sizes, len(rhythm)
    rhythm = F.pad(rhythm, (0, 0, 0, -count % sizes.patch))
    whole, codes = sizes.context * sizes.patch, torch.full((len(rhythm),), net.start)
    for first in range(0, max(1, len(rhythm) - whole // 2), whole // 2):
        part = slice(first, min(first + whole, len(rhythm)))
        codes[part] = _filled_in(net, codes[part], rhythm[part], style, draw, rng)
    return codes[:count]


def _filled_in(
    net: MaskedNet,
    codes: torch.Tensor,
    rhythm: torch.Tensor,
    style: torch.Tensor,
    draw: MaskedDraw,
    rng: torch.Generator,
) -> torch.Tensor:
    """Codes (L,) of one excerpt, with the hidden ones sampled."""
    shown = torch.tensor([True, False] if draw.guidance != 1 else [True])
    rows, count = len(shown), int((codes == net.start).sum())
    rhythm, style = rhythm.expand(rows, -1, -1), style.expand(rows, -1)
    condition = net.condition(rhythm, style, has_rhythm=shown, has_style=shown)
    for number in range(draw.passes):
        hidden = codes == net.start
        scores = net(codes.expand(rows, -1), rhythm, condition, shown, hidden.expand(rows, -1)).unflatten(0, (rows, -1))
        mixed = scores[0] if rows == 1 else scores[1] + draw.guidance * (scores[0] - scores[1])
        share = (mixed / draw.temperature).log_softmax(-1)
        drawn = torch.multinomial(share.exp(), 1, generator=rng)
        gumbel = -torch.log(-torch.log(torch.rand(len(drawn), generator=rng).clamp(1e-9, 1 - 1e-7)))
        sure = share.gather(1, drawn)[:, 0] + draw.noise * (1 - (number + 1) / draw.passes) * gumbel
        drawn[sure.argsort()[: hidden_after(number, draw.passes, count)]] = net.start
        codes = codes.clone()
        codes[hidden] = drawn[:, 0]
    return codes


NETS, TASKS = {"causal": PriorNet, "masked": MaskedNet}, {"causal": PriorTask, "masked": MaskedTask}
DRAWS = {
    "causal": [Draw()],
    "masked": [
        MaskedDraw(guidance=guidance, noise=noise) for guidance, noise in ((1, 1), (1, 3), (2, 3), (1, 10), (2, 10))
    ],
}
"""Candidate sampling settings of each prior; for the causal prior those that were chosen when it was developed."""


def train(kind: str, codes: Path, minutes: float, keep: Path) -> None:
    """Train for `minutes` of CPU time and write prior_<kind>.pt and facts about the training to `keep`."""
    params, device = replace(params_of(LEVEL, 1000), **SIZES), seed_everything(0, 1)
    music, codebook = read_music(codes, LEVEL)
    sizes = params.sizes(LEVEL, len(codebook))
    data, net = MusicData(music, sizes, HOP), NETS[kind](sizes)
    task = TASKS[kind](net, data, params, device)
    keep_freed_memory()
    begun, number, losses = time.process_time(), 0, []
    net.train()
    while (share := (time.process_time() - begun) / (60 * minutes)) < 1:
        for group in task.optimizers["net"].param_groups:
            group["lr"] = (
                params.learning_rate
                * min(1.0, (number + 1) / 100)
                * (0.05 + 0.95 * 0.5 * (1 + math.cos(math.pi * share)))
            )
        shown = condition_mask(torch.rand(params.batch, generator=generator(0, "hidden", number)), params.hidden)
        loss = task.loss(data.batch(0, number, params.batch), shown)
        backward_and_step(loss, task.optimizers["net"], params.gradient_norm)
        losses.append(float(loss.detach()))
        number += 1
        if number % 50 == 0:
            print(f"{kind}: step {number}, {share:.0%}: {np.mean(losses[-50:]):.3f} nats", flush=True)
    styles = encode_styles(net.eval(), data, {piece.song: genre_of(int(piece.song)) for piece in data.pieces})
    save_prior(keep / f"prior_{kind}.pt", PriorModel(net=net, codebook=codebook, level=LEVEL, styles=styles))
    facts = {
        "cpu_minutes": minutes,
        "steps": number,
        "batch": params.batch,
        "songs": len(data.pieces),
        "loss": round(float(np.mean(losses[-100:])), 4),
    }
    write_text(
        keep / f"{kind}.json", json.dumps(facts | {"parameters": sum(p.numel() for p in net.parameters())}) + "\n"
    )


def load_trained(kind: str, keep: Path) -> PriorModel:
    """The prior of a kind that `train` wrote."""
    model = load_prior(keep / f"prior_{kind}.pt")
    if kind == "causal":
        return model
    net = MaskedNet(model.net.sizes)
    net.load_state_dict(model.net.state_dict())
    return PriorModel(net=net.eval(), codebook=model.codebook, level=model.level, styles=model.styles)


def generate_music(
    model: PriorModel, draw: Draw | MaskedDraw, clips: Clips, seed: int = 0
) -> tuple[dict[str, np.ndarray], float]:
    """({clip: music for its rhythm}, CPU seconds of sampling per second of music)."""
    codec, audio, used, length = demo_prior.codec(), {}, 0.0, 0
    draw_codes, finish = sample if isinstance(draw, Draw) else masked_sample, Finish()
    for clip, own in clips.audio.items():
        beats, begun = clips.rhythm[clip], time.process_time()
        rhythm, style = (
            features_of(beats, -(-len(own) // HOP), HOP),
            style_for(model.styles, clips.genres[clip], beats, seed),
        )
        codes = draw_codes(model.net, rhythm, style, draw, torch.Generator().manual_seed(seed))
        used, length = used + time.process_time() - begun, length + len(own)
        audio[clip] = normalise(
            decode_long(codec, codes, LEVELS[LEVEL])[: len(own)].numpy(), finish.loudness, finish.peak
        )
    return audio, used * SAMPLE_RATE / length


def score_draw(kind: str, draw: Draw | MaskedDraw, clips: Clips, keep: Path, seed: int = 0) -> dict:
    """Scores of a prior with these sampling settings."""
    audio, cost = generate_music(load_trained(kind, keep), draw, clips, seed)
    found = {"draw": asdict(draw), "cpu_seconds_a_second": round(cost, 3)} | scores(audio, clips, LEVEL)
    print(
        score_line(f"{kind} {' '.join(f'{v:g}' for v in asdict(draw).values())}", found),
        f" {1 / cost:.1f} times real time",
        flush=True,
    )
    return found


def selection_score(found: dict) -> float:
    """The criterion of `choose`: 0.1 of P4 is worth a FAD of 1."""
    return found["P4"] - found["FAD"] / 10


def main() -> None:
    parser = command_parser("benchmarks.masked_prior", __doc__)
    parser.add_argument("what", nargs="+", choices=("train", "choose", "score"))
    parser.add_argument("--kind", choices=tuple(NETS), help="only this one")
    parser.add_argument("--minutes", type=float, default=15.0, help="of CPU time for each (default: 15)")
    parser.add_argument("--pool", type=Path)
    parser.add_argument("--codes", type=Path)
    parser.add_argument("--keep", type=Path, required=True, help="folder of what was trained")
    parser.add_argument("--seeds", type=int, default=1, help="of drawing, for score")
    parser.add_argument(
        "--draw",
        type=float,
        nargs=2,
        metavar=("GUIDANCE", "NOISE"),
        help="of the masked prior, for score, beside the chosen draw",
    )
    parser.add_argument("--root", type=Path, default=Path())
    parser.add_argument("--corpus", default="demo")
    parser.add_argument("--out", type=Path, default=RESULTS)
    args = parser.parse_args()
    seed_everything(0, 1)
    layout, kinds = (
        Layout(root=args.root, corpus=args.corpus),
        ["masked"] if args.draw else [args.kind] if args.kind else list(NETS),
    )
    content = json.loads(args.out.read_text(encoding="utf-8")) if args.out.is_file() else {}
    args.keep.mkdir(parents=True, exist_ok=True)
    for what in args.what:
        if what == "train":
            for kind in kinds:
                train(kind, args.codes, args.minutes, args.keep)
            continue
        clips = unheard_clips(6, 8.0, open_pool(args.pool), layout) if what == "choose" else test_clips(layout)
        for kind in kinds:
            results = content.setdefault(kind, {})
            results |= json.loads((args.keep / f"{kind}.json").read_text(encoding="utf-8"))
            if what == "choose":
                results["unheard songs"] = [score_draw(kind, draw, clips, args.keep) for draw in DRAWS[kind]]
            elif args.draw:
                draw = MaskedDraw(guidance=args.draw[0], noise=args.draw[1])
                results["test clips, other draws"] = [
                    *results.get("test clips, other draws", ()),
                    score_draw(kind, draw, clips, args.keep),
                ]
            else:
                best = max(results["unheard songs"], key=selection_score)["draw"]
                draw = (Draw if kind == "causal" else MaskedDraw)(**best)
                results["test clips"] = [score_draw(kind, draw, clips, args.keep, seed) for seed in range(args.seeds)]
            write_text(args.out, json.dumps(content, indent=1) + "\n")


if __name__ == "__main__":
    main()
