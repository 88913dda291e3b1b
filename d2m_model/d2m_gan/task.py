"""A training step of the stage `d2m_gan`."""

import dataclasses
from collections.abc import Callable
from typing import Any

import torch
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from torch.profiler import record_function

from d2m_model.d2m_gan.params import Params
from d2m_model.generate.held_out import HeldOutScorer
from d2m_model.losses.gan_terms import Excerpt, discriminator_term, generator_terms, weighted_sum
from d2m_model.nets.dance_to_codes import EMBEDDING, DanceToCodes
from d2m_model.nets.discriminator import MultiScaleDiscriminator, discriminator_config
from d2m_model.nets.jukebox_vqvae import JukeboxVQVAE
from d2m_model.nets.presets import Preset
from d2m_model.training.acceleration import accelerate
from d2m_model.training.balance import balanced_gradient
from d2m_model.training.dance_data import DanceData
from d2m_model.training.distributed import share_statistics, world_size
from d2m_model.training.loop import FiniteLossGuard, Measurement, backward_and_step, ends_row, optimizer_step
from d2m_model.training.schedules import warm_up_and_cosine
from d2m_model.training.seeding import generator
from dataset_tools.lib.core.timebase import FPS, HOPS, LEVELS, SAMPLE_RATE


class GanTask:
    """The generator, its moving average and the discriminators; generator and discriminators are trained against each other."""

    def __init__(
        self, preset: Preset, level: str, vqvae: JukeboxVQVAE, data: DanceData, params: Params, device: torch.device
    ):
        self.params, self.device, self.data, self.vqvae = params, device, data, vqvae.to(device)
        frames, info = data.windows.frames, data.windows.shards.info
        reads = {"steps": info.motion_rate // FPS} if data.stream == "motion" else {"joints": info.joints}
        sizes: dict[str, Any] = {
            "frames": frames,
            **reads,
            "genres": params.genres if preset.name == "released" else (),
            "width": params.width,
            "dropout": params.dropout,
        }
        self.codebook = sizes["codebook"] = vqvae.codebook(LEVELS[level]).k
        self.net = DanceToCodes(preset, level, **sizes).to(device)
        # A second network instead of a copy of `net` keeps the order of random draws, and so the discriminators' first weights.
        start = DanceToCodes(preset, level, **sizes).to(device)
        self.average = (
            AveragedModel(start, multi_avg_fn=moving_average(params.ema), use_buffers=True).requires_grad_(False).eval()
        )
        config = discriminator_config(preset.discriminator, width=params.discriminator_width, scales=preset.scales)
        self.discriminator = MultiScaleDiscriminator(config, EMBEDDING if preset.code_order == "none" else 1).to(device)
        self.net.genre_index([clip.genre for clip in data.windows.clips])  # raises now for an unknown genre
        self.net.set_code_prior(torch.cat(list(data.codes.values())).to(device))
        self.average.update_parameters(self.net)  # the first update is a copy
        self.net = share_statistics(self.net, device)
        self.nets = {"net": self.net, "average": self.average, "discriminator": self.discriminator}
        options: dict[str, Any] = {"betas": tuple(params.betas), "fused": True}
        self.optimizers = {
            "net": torch.optim.Adam(self.net.parameters(), params.learning_rate, **options),
        }
        if preset.weights.adversarial or preset.weights.feature:
            self.optimizers["discriminator"] = torch.optim.Adam(
                self.discriminator.parameters(), params.discriminator_learning_rate, **options
            )
        for net in (self.net, self.discriminator):
            accelerate(net, device, params.precision, params.compile)
        accelerate(self.vqvae.decoders[LEVELS[level]], device, params.audio_precision, params.compile)
        self.held_out: HeldOutScorer | None = None

    def step(self, number: int, guard: FiniteLossGuard) -> dict[str, torch.Tensor]:
        """One step of the discriminators and one of the generator. Returns every term, unweighted, and the weighted total of the
        generator's terms."""
        params, net, weights, clip = self.params, self.net, self.net.preset.weights, self.params.gradient_norm
        batch = self.data.batch(params.seed, number, params.batch).to(self.device)
        net.train()
        with record_function("generator"):
            predicted = net(batch.pose, batch.size, batch.visual, net.genre_index(batch.genres))
        terms = {}
        windows = -(-params.discriminator_windows // world_size())
        if "discriminator" in self.optimizers:
            loss = discriminator_term(
                net, self.discriminator, self.codebook, predicted[:windows], batch.music.codes[:windows]
            )
            terms["discriminator"] = loss
            guard(number, terms)
            backward_and_step(loss, self.optimizers["discriminator"], clip)
        self.discriminator.requires_grad_(False)
        excerpt = draw_excerpt(number, predicted.shape[-1], net.level, params)
        if not (net.preset.straight_through or ends_row(number, params.steps, params.log_every)):
            excerpt = excerpt._replace(windows=0)  # decoding trains nothing here; only the curves need it
        leaf = predicted.detach().requires_grad_() if net.preset.balanced else predicted
        own = generator_terms(net, self.discriminator, self.vqvae, leaf, batch.music, excerpt)
        guard(number, own)
        total = weighted_sum({name: term for name, term in own.items() if term.requires_grad}, weights)
        if net.preset.balanced:
            self._balanced_step(own, leaf, predicted)
        else:
            backward_and_step(total, self.optimizers["net"], clip)
        self.discriminator.requires_grad_(True)
        self.average.update_parameters(net)
        return terms | own | {"total": total}

    def rate_share(self, number: int) -> float:
        """Factor of the learning rates at a step: a linear warm-up times a cosine decay."""
        params = self.params
        return warm_up_and_cosine(number, params.steps, warm_up=params.warm_up, last=params.final_rate)

    @property
    def averaged(self) -> DanceToCodes:
        """The generator with the averaged weights."""
        net = self.average.module
        assert isinstance(net, DanceToCodes)
        return net

    def measure(self) -> Measurement:
        """How well music from the averaged generator follows held-out dances."""
        assert self.held_out is not None  # `train` gives it wherever measure_every is set
        return self.held_out.measure(self.averaged)

    def _balanced_step(self, terms: dict[str, torch.Tensor], leaf: torch.Tensor, predicted: torch.Tensor) -> None:
        optimizer, lookup = self.optimizers["net"], [self.net.sharpness] if self.net.preset.codebook_init else []
        optimizer.zero_grad(set_to_none=True)
        with record_function("backward"):
            gradient, rest = balanced_gradient(terms, dataclasses.asdict(self.net.preset.weights), leaf, lookup)
        with record_function("backward"):
            predicted.backward(gradient)
        for parameter, value in zip(lookup, rest, strict=True):
            parameter.grad = value
        optimizer_step(optimizer, self.params.gradient_norm)


def moving_average(decay: float) -> Callable:
    """An exponential moving average as AveragedModel's `multi_avg_fn`. The decay is smaller in the first steps, to forget the
    random start. Integer tensors, which count batches, are copied."""

    def average(kept: list[torch.Tensor], new: list[torch.Tensor], count: torch.Tensor) -> None:
        if kept[0].is_floating_point():
            get_ema_multi_avg_fn(min(decay, int(count) / (9 + int(count))))(kept, new, count)
        else:
            torch._foreach_copy_(kept, new)

    return average


def draw_excerpt(number: int, codes: int, level: str, params: Params) -> Excerpt:
    """The part of the batch, or of this process's share of it, that is decoded in step `number`."""
    wanted = max(1, min(round(params.excerpt_seconds * SAMPLE_RATE / HOPS[LEVELS[level]]), codes - 2))
    first = 1 + int(torch.randint(codes - 1 - wanted, (1,), generator=generator(params.seed, "excerpt", number)))
    return Excerpt(
        -(-params.excerpt_windows // world_size()), first, wanted, -(-params.discriminator_windows // world_size())
    )
