"""D2M-GAN (paper, section 3): learn to make music codes from dance, per level and variant.

    python -m d2m_model.d2m_gan --corpus demo --level high --variant full
    python -m d2m_model.d2m_gan --list-variants
"""

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from d2m_model.losses.gan_terms import Excerpt, discriminator_term, generator_terms, weighted_sum
from d2m_model.nets.discriminator import MultiScaleDiscriminator, discriminator_config
from d2m_model.nets.jukebox_vqvae import JukeboxVQVAE
from d2m_model.nets.presets import EMBEDDING, PRESETS, VARIANTS, DanceToCodes, Preset, preset_of
from d2m_model.training.balance import balanced_gradient
from d2m_model.training.curves import Curves, Steps
from d2m_model.training.dance_data import DanceBatch, DanceData
from d2m_model.training.music_model import save_generator
from d2m_model.training.seeding import generator, seed_everything
from d2m_model.training.shard_data import WindowData
from dataset_tools.base.atomic import write_text
from dataset_tools.base.cli import layout_of, run, say, stage_parser
from dataset_tools.base.errors import UserError
from dataset_tools.base.params import load_params, require
from dataset_tools.base.timebase import HOPS, LEVELS, SAMPLE_RATE


@dataclass(frozen=True, kw_only=True)
class Params:
    """Section `d2m_gan` of params.yaml."""

    preset: str = "fixed"
    """'paper', 'released' or 'fixed'."""
    width: float = 1.0
    """Multiplies the generator's channels."""
    discriminator_width: float = 1.0
    dropout: float = 0.1
    """`fixed` only."""
    seconds: int = 2
    """Length of a training window."""
    steps: int = 100_000
    batch: int = 16
    learning_rate: float = 1e-4
    discriminator_learning_rate: float = 1e-4
    betas: tuple[float, ...] = (0.5, 0.9)
    """Of Adam, for both."""
    warm_up: int = 0
    """Steps in which the learning rates rise from 0."""
    final_rate: float = 1.0
    """Learning rates end at this share of themselves, along a cosine; 1 keeps them, as in the paper."""
    gradient_norm: float = 1.0
    """Longer gradients are cut to it."""
    ema: float = 0.999
    """Decay of the moving average of the generator's weights, which is what generates."""
    jitter: int = 15
    """Frames by which a window may leave its whole second."""
    mirror: bool = True
    """Show half of the dances in a mirror."""
    judged_windows: int = 16
    """Windows of a batch that the discriminators read."""
    excerpt_windows: int = 16
    """Windows of a batch that are decoded for the wave and mel losses."""
    excerpt_seconds: float = 2.0
    """How much of each of them."""
    log_every: int = 50
    seed: int = 0
    threads: int = 2
    """CPU threads; results are equal to the byte for equal numbers of them."""

    def __post_init__(self):
        require(self.preset in PRESETS, f"preset must be one of {', '.join(PRESETS)}, found '{self.preset}'")
        for name in ("width", "discriminator_width", "learning_rate", "discriminator_learning_rate", "gradient_norm", "excerpt_seconds"):
            require(getattr(self, name) > 0, f"{name} must be above 0, found {getattr(self, name)}")
        for name in ("seconds", "steps", "batch", "judged_windows", "excerpt_windows", "log_every", "threads"):
            require(getattr(self, name) >= 1, f"{name} must be at least 1, found {getattr(self, name)}")
        require(len(self.betas) == 2 and all(0 <= b < 1 for b in self.betas), f"betas must be two numbers in 0..1, found {self.betas}")
        require(0 <= self.ema < 1 and 0 <= self.dropout < 1, "ema and dropout must be at least 0 and below 1")
        require(0 <= self.final_rate <= 1, f"final_rate must be 0 to 1, found {self.final_rate}")
        require(self.warm_up >= 0 and self.jitter >= 0, "warm_up and jitter must be at least 0")


class Trainer:
    """Generator, its moving average, discriminators and their optimizers; `step` trains both on one batch."""

    def __init__(self, preset: Preset, level: str, vqvae: JukeboxVQVAE, joints: int, frames: int, params: Params, device: torch.device):
        self.params, self.device, self.vqvae = params, device, vqvae.to(device).eval().requires_grad_(False)
        sizes = {"frames": frames, "joints": joints, "width": params.width, "dropout": params.dropout}
        self.codebook = sizes["codebook"] = vqvae.codebook(LEVELS[level]).k
        self.net = DanceToCodes(preset, level, **sizes).to(device)
        self.average = DanceToCodes(preset, level, **sizes).to(device).requires_grad_(False)
        self.average.load_state_dict(self.net.state_dict())
        config = discriminator_config(preset.discriminator, width=params.discriminator_width, scales=preset.scales)
        self.judge = MultiScaleDiscriminator(config, EMBEDDING if preset.code_order == "none" else 1).to(device)
        adam = {"betas": tuple(params.betas)}
        self.net_adam = torch.optim.Adam(self.net.parameters(), params.learning_rate, **adam)
        self.judge_adam = torch.optim.Adam(self.judge.parameters(), params.discriminator_learning_rate, **adam)
        self.rates = [(self.net_adam, params.learning_rate), (self.judge_adam, params.discriminator_learning_rate)]

    def expect(self, codes: torch.Tensor) -> None:
        """Tell both generators how often real music has each code, from all its codes (N,)."""
        for net in (self.net, self.average):
            net.expect(codes.to(self.device))

    def step(self, number: int, batch: DanceBatch) -> dict[str, float]:
        """One step of the discriminators and one of the generator; gives every term, unweighted.

        Raises UserError where a term is not finite.
        """
        params, net, weights = self.params, self.net, self.net.preset.weights
        for adam, rate in self.rates:
            adam.param_groups[0]["lr"] = rate * _schedule(number, params)
        net.train()
        predicted = net(batch.pose, batch.size, batch.visual)
        terms = {}
        shown = params.judged_windows
        if weights.adversarial or weights.feature:
            judged = discriminator_term(net, self.judge, self.codebook, predicted[:shown], batch.music.codes[:shown])
            self._descend(number, {"discriminator": judged}, judged, self.judge_adam)
            terms["discriminator"] = judged
        self.judge.requires_grad_(False)
        excerpt = excerpt_of(number, predicted.shape[-1], net.level, params)
        made = predicted.detach().requires_grad_() if net.preset.balanced else predicted
        own = generator_terms(net, self.judge, self.vqvae, made, batch.music, excerpt)
        total = weighted_sum(own, weights)
        if net.preset.balanced:
            self._descend_balanced(number, own, made, predicted)
        else:
            self._descend(number, own, total, self.net_adam)
        self.judge.requires_grad_(True)
        self._average(number)
        return {name: value.item() for name, value in (terms | own | {"total": total}).items()}

    def _descend(self, number: int, terms: dict[str, torch.Tensor], loss: torch.Tensor, adam: torch.optim.Adam) -> None:
        self._check(number, terms)
        adam.zero_grad(set_to_none=True)
        loss.backward()
        self._walk(adam)

    def _descend_balanced(self, number: int, terms: dict[str, torch.Tensor], made: torch.Tensor, predicted: torch.Tensor) -> None:
        self._check(number, terms)
        self.net_adam.zero_grad(set_to_none=True)
        lookup = [self.net.sharpness]
        gradient, rest = balanced_gradient(terms, dataclasses.asdict(self.net.preset.weights), made, lookup)
        predicted.backward(gradient)
        for parameter, value in zip(lookup, rest, strict=True):
            parameter.grad = value
        self._walk(self.net_adam)

    def _walk(self, adam: torch.optim.Adam) -> None:
        torch.nn.utils.clip_grad_norm_(adam.param_groups[0]["params"], self.params.gradient_norm)
        adam.step()

    def _check(self, number: int, terms: dict[str, torch.Tensor]) -> None:
        for name, value in terms.items():
            if not torch.isfinite(value):
                raise UserError(
                    f"d2m_gan: loss '{name}' is {value.item()} at step {number}; lower learning_rate or gradient_norm in "
                    "section d2m_gan of params.yaml"
                )

    @torch.no_grad()
    def _average(self, number: int) -> None:
        decay = min(self.params.ema, (1 + number) / (10 + number))  # short memory at first: the start is no model
        for kept, new in zip(self.average.state_dict().values(), self.net.state_dict().values(), strict=True):
            kept.lerp_(new, 1 - decay) if kept.is_floating_point() else kept.copy_(new)


def _schedule(number: int, params: Params) -> float:
    rise = min(1.0, (number + 1) / params.warm_up) if params.warm_up else 1.0
    fall = 0.5 * (1 + np.cos(np.pi * number / params.steps))
    return rise * (params.final_rate + (1 - params.final_rate) * fall)


def excerpt_of(number: int, codes: int, level: str, params: Params) -> Excerpt:
    """The part of the batch that step `number` decodes."""
    wanted = max(1, min(round(params.excerpt_seconds * SAMPLE_RATE / HOPS[LEVELS[level]]), codes - 2))
    first = 1 + int(torch.randint(codes - 1 - wanted, (1,), generator=generator(params.seed, "excerpt", number)))
    return Excerpt(params.excerpt_windows, first, wanted, params.judged_windows)


@torch.no_grad()
def code_scores(net: DanceToCodes, data: DanceData, codebook: torch.Tensor) -> dict[str, float]:
    """How well the codes of all windows of a split are told: mean cross-entropy in nats, share that is right."""
    net.eval()
    surprise, right, count = 0.0, 0, 0
    for index in range(len(data.windows)):
        batch = data.window(index)
        logits = net.logits(net(batch.pose, batch.size, batch.visual), codebook).flatten(0, 1)
        codes = batch.music.codes.flatten()
        surprise += torch.nn.functional.cross_entropy(logits, codes, reduction="sum").item()
        right += int((logits.argmax(-1) == codes).sum())
        count += len(codes)
    return {"cross_entropy": surprise / count, "accuracy": right / count}


def train(shards: Path, vqvae: JukeboxVQVAE, level: str, variant: str, params: Params, out: Path) -> dict:
    """Train one level and variant on the shards' train split and write `out`; gives what metrics.json says."""
    preset = preset_of(params.preset, variant)
    device = seed_everything(params.seed, params.threads)
    windows = WindowData(shards, "train", params.seconds)
    data = DanceData(windows, vqvae, level, jitter=params.jitter, mirror=params.mirror)
    trainer = Trainer(preset, level, vqvae, windows.shards.info.joints, windows.frames, params, device)
    trainer.expect(torch.cat(list(data.codes.values())))
    curves, recent = Curves(), []
    for number in (steps := Steps(params.steps, params.batch, f"d2m_gan {level}-{variant}")):
        recent.append(trainer.step(number, data.batch(params.seed, number, params.batch).to(device)))
        if (number + 1) % params.log_every == 0 or number + 1 == params.steps:
            means = {name: float(np.mean([r[name] for r in recent])) for name in recent[0]}
            curves.add(number + 1, means)
            steps.show(total=means["total"])
            recent = []
    net = trainer.average.eval().cpu()
    metrics = {
        "level": level, "variant": variant, "preset": preset.name, "steps": params.steps,
        "train_clips": len(windows.clips), "train_windows": len(windows),
        "generator_parameters": sum(p.numel() for p in net.parameters()),
        "discriminator_parameters": sum(p.numel() for p in trainer.judge.parameters()),
        "losses": {name: round(value, 6) for name, value in means.items()},
    }  # fmt: skip
    save_generator(out / "model.pt", net, trainer.codebook.cpu(), variant)
    curves.write(out / "curves.csv")
    write_text(out / "metrics.json", json.dumps(metrics, indent=2) + "\n")
    return metrics


def listing() -> str:
    """The variants, one a line, with the preset's fields they change."""
    return "\n".join(f"{name}: {', '.join(f'{k} = {v}' for k, v in lines.items()) or 'the preset as it is'}" for name, lines in VARIANTS.items())


def main(argv: list[str] | None = None) -> int:
    parser = stage_parser("d2m_model.d2m_gan", __doc__)
    parser.add_argument("--level", choices=tuple(LEVELS), default="high")
    parser.add_argument("--variant", default="full", help="see --list-variants (default: full)")
    parser.add_argument("--preset", choices=tuple(PRESETS), help="overrides d2m_gan.preset of params.yaml")
    parser.add_argument("--list-variants", action="store_true", help="print the variants and stop")
    args = parser.parse_args(argv)
    if args.list_variants:
        print(listing())
        return 0
    from d2m_model.training.vqvae_files import load_vqvae

    layout = layout_of(args)
    params = load_params(layout.params, "d2m_gan", Params)
    if args.preset:
        params = dataclasses.replace(params, preset=args.preset)
    preset_of(params.preset, args.variant)
    vqvae = load_vqvae(layout.stage("synthesizer") / args.level / "model.pt")
    out = layout.stage("d2m_gan") / f"{args.level}-{args.variant}"
    metrics = train(layout.stage("shards"), vqvae, args.level, args.variant, params, out)
    shown = ", ".join(f"{name} {value:.3f}" for name, value in metrics["losses"].items())
    say("d2m_gan", f"{args.level}-{args.variant} ({params.preset}): {params.steps} steps on {metrics['train_windows']} windows; {shown}")
    return 0


if __name__ == "__main__":
    run(main)
