"""D2M-GAN (paper, section 3): learn to make music codes from dance, per level and variant.

    python -m d2m_model.d2m_gan --corpus demo --level high --variant full
    python -m d2m_model.d2m_gan --corpus demo --level high --variant paper.full
    python -m d2m_model.d2m_gan --list-variants
With the published motion encoder and generator in training's place:
    python -m d2m_model.d2m_gan --level high --variant released.full --motion-weights FILE --generator-weights FILE
"""

import dataclasses
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from torch.profiler import record_function

from d2m_model.generation.listening import Listener
from d2m_model.losses.gan_terms import Excerpt, discriminator_term, generator_terms, weighted_sum
from d2m_model.nets.discriminator import MultiScaleDiscriminator, discriminator_config
from d2m_model.nets.jukebox_vqvae import JukeboxVQVAE
from d2m_model.nets.presets import EMBEDDING, PRESETS, DanceToCodes, Preset, preset_of
from d2m_model.nets.variants import listing, variant_of
from d2m_model.training.acceleration import accelerate
from d2m_model.training.balance import balanced_gradient
from d2m_model.training.curves import Curves
from d2m_model.training.dance_data import DanceData
from d2m_model.training.distributed import processes, rank, require_even, share_statistics, world
from d2m_model.training.loop import (
    Measurement,
    Run,
    TrainingParams,
    Watch,
    descend,
    ends_row,
    run_of,
    train_loop,
    training_parser,
    walk,
)
from d2m_model.training.music_model import inputs_of, save_generator
from d2m_model.training.seeding import generator, seed_everything
from d2m_model.training.shard_data import WindowData
from dataset_tools.base import cli
from dataset_tools.base.atomic import write_text
from dataset_tools.base.cli import layout_of, say
from dataset_tools.base.errors import UserError
from dataset_tools.base.params import load_params, require
from dataset_tools.base.shard_set import ShardSet
from dataset_tools.base.timebase import FPS, HOPS, LEVELS, SAMPLE_RATE
from dataset_tools.base.weights import locate
from dataset_tools.base.work_cache import file_sha256


@dataclass(frozen=True, kw_only=True)
class Params(TrainingParams):
    """Section `d2m_gan` of params.yaml."""

    preset: str = "fixed"
    """'paper', 'released' or 'fixed': of the variants that name none."""
    width: float = 1.0
    """Multiplies the generator's channels."""
    discriminator_width: float = 1.0
    dropout: float = 0.1
    """`fixed` only."""
    stream: str = "pose"
    """What the motion encoder reads: 'pose', keypoints, or 'motion', the 219 numbers of SMPL motion that AIST++ has."""
    genres: tuple[str, ...] = ()
    """`released` only, whether `preset` or the variant names it: tell the generator the dance's true genre, in training and
    after, as the published program does on AIST++; the corpus's genres in the order of the embedding."""
    also: tuple[str, ...] = ()
    """Further corpora whose training clips are learnt from; their pose layout and I3D weights must be this one's."""
    motion_weights: str = ""
    generator_weights: str = ""
    """Both or neither: the published networks of D2M-GAN that take training's place, in preset `released`: names in
    manifests/weights.csv or files; {level} in them becomes high or low."""
    seconds: int = 2
    """Length of a training window."""
    steps: int = 100_000
    learning_rate: float = 1e-4
    discriminator_learning_rate: float = 1e-4
    betas: tuple[float, ...] = (0.5, 0.9)
    """Of Adam, for both."""
    warm_up: int = 0
    """Steps in which the learning rates rise from 0."""
    final_rate: float = 1.0
    """Learning rates end at this share of themselves, along a cosine; 1 keeps them, as in the paper."""
    gradient_norm: float = 1.0
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
    threads: int = 2

    def __post_init__(self):
        super().__post_init__()
        require(self.preset in PRESETS, f"preset must be one of {', '.join(PRESETS)}, found '{self.preset}'")
        for name in ("width", "discriminator_width", "learning_rate", "discriminator_learning_rate", "excerpt_seconds"):
            require(getattr(self, name) > 0, f"{name} must be above 0, found {getattr(self, name)}")
        for name in ("seconds", "steps", "judged_windows", "excerpt_windows"):
            require(getattr(self, name) >= 1, f"{name} must be at least 1, found {getattr(self, name)}")
        require(self.excerpt_seconds >= 0.03, f"excerpt_seconds must be at least 0.03, for the mel loss, found {self.excerpt_seconds}")
        require(len(self.betas) == 2 and all(0 <= b < 1 for b in self.betas), f"betas must be two numbers in 0..1, found {self.betas}")
        require(0 <= self.ema < 1 and 0 <= self.dropout < 1, "ema and dropout must be at least 0 and below 1")
        require(self.stream in ("pose", "motion"), f"stream must be pose or motion, found '{self.stream}'")
        require(bool(self.motion_weights) == bool(self.generator_weights), "motion_weights and generator_weights go together")
        require(len(set(self.genres)) == len(self.genres), f"genres must differ, found {self.genres}")
        require(0 <= self.final_rate <= 1, f"final_rate must be 0 to 1, found {self.final_rate}")
        require(self.warm_up >= 0 and self.jitter >= 0, "warm_up and jitter must be at least 0")


class GanTask:
    """Generator, its moving average and the discriminators, trained against each other on dances with their music."""

    def __init__(self, preset: Preset, level: str, vqvae: JukeboxVQVAE, data: DanceData, params: Params, device: torch.device):
        self.params, self.device, self.data, self.vqvae = params, device, data, vqvae.to(device)
        frames, info = data.windows.frames, data.windows.shards.info
        reads = {"steps": info.motion_rate // FPS} if data.stream == "motion" else {"joints": info.joints}
        sizes = {"frames": frames, **reads, "genres": params.genres if preset.name == "released" else (), "width": params.width, "dropout": params.dropout}
        self.codebook = sizes["codebook"] = vqvae.codebook(LEVELS[level]).k
        self.net = DanceToCodes(preset, level, **sizes).to(device)
        # Made anew and not from `net`, for the discriminators' first weights are drawn after those of two networks.
        start = DanceToCodes(preset, level, **sizes).to(device)
        self.average = AveragedModel(start, multi_avg_fn=moving_average(params.ema), use_buffers=True).requires_grad_(False).eval()
        config = discriminator_config(preset.discriminator, width=params.discriminator_width, scales=preset.scales)
        self.judge = MultiScaleDiscriminator(config, EMBEDDING if preset.code_order == "none" else 1).to(device)
        self.net.genre_index([clip.genre for clip in data.windows.clips])  # said now, if there is one it does not know
        self.net.expect(torch.cat(list(data.codes.values())).to(device))
        self.average.update_parameters(self.net)  # the first of those averaged: a copy
        self.net = share_statistics(self.net, device)
        self.nets = {"net": self.net, "average": self.average, "judge": self.judge}
        adam = {"betas": tuple(params.betas), "fused": True}
        self.adams = {
            "net": torch.optim.Adam(self.net.parameters(), params.learning_rate, **adam),
        }
        if preset.weights.adversarial or preset.weights.feature:
            self.adams["judge"] = torch.optim.Adam(self.judge.parameters(), params.discriminator_learning_rate, **adam)
        for net in (self.net, self.judge):
            accelerate(net, device, params.precision, params.compile)
        accelerate(self.vqvae.decoders[LEVELS[level]], device, params.sound_precision, params.compile)
        self.listener: Listener | None = None

    def step(self, number: int, watch: Watch) -> dict[str, torch.Tensor]:
        """One step of the discriminators and one of the generator; gives every term, unweighted, and the weighted total of
        those that train the generator."""
        params, net, weights, clip = self.params, self.net, self.net.preset.weights, self.params.gradient_norm
        batch = self.data.batch(params.seed, number, params.batch).to(self.device)
        net.train()
        with record_function("generator"):
            predicted = net(batch.pose, batch.size, batch.visual, net.genre_index(batch.genres))
        terms = {}
        shown = -(-params.judged_windows // world())
        if "judge" in self.adams:
            judged = discriminator_term(net, self.judge, self.codebook, predicted[:shown], batch.music.codes[:shown])
            terms["discriminator"] = judged
            watch(number, terms)
            descend(judged, self.adams["judge"], clip)
        self.judge.requires_grad_(False)
        excerpt = excerpt_of(number, predicted.shape[-1], net.level, params)
        if not (net.preset.straight_through or ends_row(number, params.steps, params.log_every)):
            excerpt = excerpt._replace(windows=0)  # what is decoded trains nothing and is wanted for the curves alone
        made = predicted.detach().requires_grad_() if net.preset.balanced else predicted
        own = generator_terms(net, self.judge, self.vqvae, made, batch.music, excerpt)
        watch(number, own)
        total = weighted_sum({name: term for name, term in own.items() if term.requires_grad}, weights)
        if net.preset.balanced:
            self._descend_balanced(own, made, predicted)
        else:
            descend(total, self.adams["net"], clip)
        self.judge.requires_grad_(True)
        self.average.update_parameters(net)
        return terms | own | {"total": total}

    def rate_share(self, number: int) -> float:
        """Share of the learning rates at a step: up in a line, down along a cosine."""
        params = self.params
        rise = min(1.0, (number + 1) / params.warm_up) if params.warm_up else 1.0
        fall = 0.5 * (1 + np.cos(np.pi * number / params.steps))
        return float(rise * (params.final_rate + (1 - params.final_rate) * fall))

    def measure(self) -> Measurement:
        """How the moving average's music follows held-out dances."""
        return self.listener.measure(self.average.module)

    def _descend_balanced(self, terms: dict[str, torch.Tensor], made: torch.Tensor, predicted: torch.Tensor) -> None:
        adam, lookup = self.adams["net"], [self.net.sharpness] if self.net.preset.placed else []
        adam.zero_grad(set_to_none=True)
        with record_function("backward"):
            gradient, rest = balanced_gradient(terms, dataclasses.asdict(self.net.preset.weights), made, lookup)
        with record_function("backward"):
            predicted.backward(gradient)
        for parameter, value in zip(lookup, rest, strict=True):
            parameter.grad = value
        walk(adam, self.params.gradient_norm)


def moving_average(decay: float) -> Callable:
    """The exponential one of weights, as AveragedModel's `multi_avg_fn`; its memory is short at first, for the start is no
    model. Whole numbers, which count batches, are those of the last."""

    def average(kept: list[torch.Tensor], new: list[torch.Tensor], count: torch.Tensor) -> None:
        if kept[0].is_floating_point():
            get_ema_multi_avg_fn(min(decay, int(count) / (9 + int(count))))(kept, new, count)
        else:
            torch._foreach_copy_(kept, new)

    return average


def excerpt_of(number: int, codes: int, level: str, params: Params) -> Excerpt:
    """The part of the batch, or of this process's share of it, that step `number` decodes."""
    wanted = max(1, min(round(params.excerpt_seconds * SAMPLE_RATE / HOPS[LEVELS[level]]), codes - 2))
    first = 1 + int(torch.randint(codes - 1 - wanted, (1,), generator=generator(params.seed, "excerpt", number)))
    return Excerpt(-(-params.excerpt_windows // world()), first, wanted, -(-params.judged_windows // world()))


def refuse_held_out(shards: Path, also: Sequence[Path]) -> None:
    """Raises UserError where a clip or song that this corpus holds out is one that a further corpus trains on."""
    for folder in also:
        theirs = ShardSet(folder, "train").clips
        for split in ("val", "test"):
            held = ShardSet(shards, split).clips if any(Path(shards).glob(f"{split}-*.h5")) else []
            for kind in ("clip_id", "song"):
                if shared := {getattr(c, kind) for c in held} & {getattr(c, kind) for c in theirs}:
                    raise UserError(
                        f"{folder}: trains on {kind.removesuffix('_id')} {min(shared)} ({len(shared)} such), which {shards} holds out in "
                        f"{split}; leave that corpus out of d2m_gan.also, or give what differs another name"
                    )


def train(
    shards: Path, vqvae: JukeboxVQVAE, level: str, variant: str, params: Params, out: Path, run: Run | None = None,
    also: Sequence[Path] = (),
) -> dict:  # fmt: skip
    """Train one level and variant on the shards' train split and write `out`; gives what metrics.json says. Of several
    processes the first writes and gives it. also: folders of further corpora's shards.

    Raises UserError for shards without train windows, or a loss that is no number.
    """
    preset, run = preset_of(params.preset, variant), run or Run(stage="d2m_gan")
    shared = {"batch": params.batch, "excerpt_windows": params.excerpt_windows, "judged_windows": params.judged_windows}
    require_even("d2m_gan", **shared)
    device = seed_everything(params.seed, params.threads)
    refuse_held_out(shards, also)
    windows = WindowData(shards, "train", variant_of(variant).seconds or params.seconds, also=also)
    vqvae = vqvae.to(device).eval().requires_grad_(False)
    kept = preset.weights.latent > 0
    data = DanceData(windows, vqvae, level, jitter=params.jitter, mirror=params.mirror, stream=params.stream, latents=kept)
    task = GanTask(preset, level, vqvae, data, params, device)
    if params.measure_every:
        task.listener = Listener(shards, vqvae, params.measure_clips)
    curves = train_loop(task, params.steps, params, run)
    if rank() > 0:
        return {}
    net, last = task.average.module.cpu(), {k: round(v, 6) for k, v in curves.rows[-1].items() if k != "step"}
    measured = {name: value for name, value in last.items() if name.startswith("P4")}
    metrics = {
        "level": level, "variant": variant, "preset": preset.name, "seed": params.seed, "steps": params.steps,
        "train_clips": len(windows.clips), "train_windows": len(windows),
        "generator_parameters": sum(p.numel() for p in net.parameters()),
        "discriminator_parameters": sum(p.numel() for p in task.judge.parameters()),
        "losses": {name: value for name, value in last.items() if name not in measured},
    } | measured  # fmt: skip
    save_generator(out / "model.pt", net, task.codebook.cpu(), variant, inputs_of(windows.shards.info, params.stream))
    curves.write(out / "curves.csv")
    write_text(out / "metrics.json", json.dumps(metrics, indent=2) + "\n")
    run.finish()
    return metrics


def take_published(motion: Path, generator: Path, vqvae: JukeboxVQVAE, level: str, variant: str, params: Params, out: Path) -> dict:
    """Write what `train` would, with the published networks of the two files in place of trained ones and curves without a
    row; gives what metrics.json says.

    Raises UserError for files of other networks, and for a variant that changes them.
    """
    from d2m_model.imports.released import published_net

    preset = preset_of(params.preset, variant)
    if preset.name != "released" or not (preset.motion and preset.visual and preset.scaled) or variant_of(variant).seconds:
        raise UserError(f"d2m_gan: the published networks are of preset released with motion, visual features and windows of 2 s; {variant} of {preset.name} is not")
    codebook = vqvae.codebook(LEVELS[level]).k
    net, inputs = published_net(motion, generator, level, codebook, params.genres)
    metrics = {
        "level": level, "variant": variant, "preset": preset.name, "steps": 0,
        "generator_parameters": sum(p.numel() for p in net.parameters()), "losses": {},
        "weights_sha256": [file_sha256(file) for file in (motion, generator)],
    }  # fmt: skip
    save_generator(out / "model.pt", net, codebook, variant, inputs)
    Curves().write(out / "curves.csv")
    write_text(out / "metrics.json", json.dumps(metrics, indent=2) + "\n")
    return metrics


def main(argv: list[str] | None = None) -> int:
    """The command line; the exit status."""
    parser = training_parser("d2m_model.d2m_gan", __doc__)
    parser.add_argument("--level", choices=tuple(LEVELS), default="high")
    parser.add_argument("--variant", default="full", help="see --list-variants; of another preset: paper.full (default: full)")
    parser.add_argument("--preset", choices=tuple(PRESETS), help="overrides d2m_gan.preset of params.yaml")
    for part in ("motion", "generator"):
        parser.add_argument(f"--{part}-weights", help=f"overrides d2m_gan.{part}_weights of params.yaml: published, not trained")
    parser.add_argument("--list-variants", action="store_true", help="print the variants and stop")
    args = parser.parse_args(argv)
    if args.list_variants:
        print(listing())
        return 0
    from d2m_model.training.vqvae_files import decoder_of, load_vqvae

    layout = layout_of(args)
    params = load_params(layout.params, "d2m_gan", Params)
    given = {name: value for name in ("preset", "motion_weights", "generator_weights") if (value := getattr(args, name))}
    try:
        params = dataclasses.replace(params, **given)
    except ValueError as err:
        raise UserError(f"d2m_gan: {err}") from None
    preset = preset_of(params.preset, args.variant).name
    if args.preset and args.preset != preset:
        raise UserError(f"d2m_gan: --preset {args.preset} and --variant {args.variant} name two presets; leave one out")
    if preset in (same := variant_of(args.variant).same):
        say("d2m_gan", f"{args.variant} of preset {preset} is no different from full: {same[preset]}")
    if params.genres and preset != "released":
        say("d2m_gan", f"{args.variant} of preset {preset} is not told the genre: d2m_gan.genres is read by preset released alone")
    shards, decoder = layout.stage("shards"), decoder_of(layout, args.level, args.variant)
    name = f"{args.level}-{args.variant}"
    options = f"--level {args.level} --variant {args.variant}" + (f" --preset {args.preset}" if args.preset else "")
    with processes():
        vqvae = load_vqvae(decoder)
        if params.motion_weights:
            if rank() == 0:
                files = [locate(spec.replace("{level}", args.level), layout) for spec in (params.motion_weights, params.generator_weights)]
                take_published(*files, vqvae, args.level, args.variant, params, layout.stage("d2m_gan") / name)
                say("d2m_gan", f"{name}: {' and '.join(file.name for file in files)} taken as published, not trained")
            return 0
        also = [dataclasses.replace(layout, corpus=corpus).stage("shards") for corpus in params.also]
        run = run_of(layout, "d2m_gan", name, params, [shards, decoder, *also], options, args.resume)
        metrics = train(shards, vqvae, args.level, args.variant, params, layout.stage("d2m_gan") / name, run, also)
    if metrics:
        shown = ", ".join(f"{loss} {value:.3f}" for loss, value in metrics["losses"].items())
        say("d2m_gan", f"{name} ({preset}): {params.steps} steps on {metrics['train_windows']} windows; {shown}")
    return 0


if __name__ == "__main__":
    cli.run(main)
