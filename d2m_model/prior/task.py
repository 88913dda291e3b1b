"""Trains a prior with the cross-entropy of each code; rhythm and style are hidden for some excerpts."""

from collections.abc import Callable
from typing import Protocol

import torch
import torch.nn.functional as F

from d2m_model.prior.data import REFERENCE_SECONDS, MusicData, MusicExcerpts
from d2m_model.prior.net import PATCH, RHYTHM, PriorNet, PriorSizes
from d2m_model.training.acceleration import in_bf16
from d2m_model.training.distributed import local_rows
from d2m_model.training.forecast import Forecast, forecast
from d2m_model.training.loop import FiniteLossGuard, Measurement, backward_and_step
from d2m_model.training.schedules import warm_up_and_cosine
from d2m_model.training.seeding import generator
from dataset_tools.lib.core.timebase import SAMPLE_RATE


class Scorer(Protocol):
    """Scores a network on held-out clips."""

    def measure(self, net: PriorNet) -> Measurement:
        """The scores, and some audio."""


class PriorTask:
    """Trains `net` to predict the codes of excerpts of `data`; `params` is `prior.params.Params`."""

    def __init__(self, net: PriorNet, data: MusicData, params, device: torch.device):
        self.net, self.data, self.params, self.device = net.to(device), data, params, device
        self.held_out: Scorer | None = None
        self.nets = {"net": self.net}
        bare = [p for p in net.parameters() if p.ndim < 2]
        rest = [p for p in net.parameters() if p.ndim >= 2]
        groups = [{"params": rest, "weight_decay": params.weight_decay}, {"params": bare, "weight_decay": 0.0}]
        self.optimizers = {"net": torch.optim.AdamW(groups, lr=params.learning_rate, betas=(0.9, 0.98))}

    def step(self, number: int, guard: FiniteLossGuard) -> dict[str, torch.Tensor]:
        """One optimizer step; returns the cross-entropy in nats per code."""
        params = self.params
        luck = local_rows(torch.rand(params.batch, generator=generator(params.seed, "hidden", number)))
        shown = condition_mask(luck, params.hidden).to(self.device)
        self.net.train()
        loss = self.loss(self.data.batch(params.seed, number, params.batch), shown)
        guard(number, {"loss": loss})
        backward_and_step(loss, self.optimizers["net"], params.gradient_norm)
        return {"loss": loss}

    def rate_share(self, number: int) -> float:
        """Factor of the learning rate at a step: a linear warm-up times a cosine decay to a twentieth."""
        return warm_up_and_cosine(number, self.params.steps, warm_up=self.params.warm_up, last=0.05)

    def loss(self, excerpts: MusicExcerpts, shown: torch.Tensor) -> torch.Tensor:
        """`code_loss` on the task's device, in its precision."""
        parts: tuple = tuple(part if part is None else part.to(self.device) for part in excerpts)
        moved = MusicExcerpts(*parts)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=in_bf16(self.device, self.params.precision)):
            return code_loss(self.net, moved, shown)

    def measure(self) -> Measurement:
        """Scores of the current network on held-out clips; empty without `held_out`."""
        self.net.eval()
        return self.held_out.measure(self.net) if self.held_out else Measurement({}, {})


def training_forecast(sizes: PriorSizes, params) -> Forecast:
    """The cost of training a network of `sizes` with `params`."""

    def build() -> tuple[PriorNet, Callable[[], torch.Tensor]]:
        net, size, count = PriorNet(sizes), params.batch, sizes.context * sizes.patch
        whole = lambda length: torch.zeros(size, length, dtype=torch.int64)
        reference = whole(round(REFERENCE_SECONDS * SAMPLE_RATE * sizes.patch / PATCH)) if sizes.style else None
        upper = whole(sizes.context * sizes.upper) if sizes.upper else None
        excerpts = MusicExcerpts(whole(sizes.seen), whole(count), torch.zeros(size, count, RHYTHM), reference, upper)
        shown = torch.ones(2, size, dtype=torch.bool)
        return net, lambda: code_loss(net, excerpts, shown)

    return forecast(build, params.steps)


def condition_mask(luck: torch.Tensor, hidden: float) -> torch.Tensor:
    """(2, B) bool: which excerpts keep their rhythm and which their style. luck (B,): uniform numbers within 0..1. A share `hidden`
    of the excerpts keeps neither, half as many keep the rhythm only, and half as many the style only."""
    neither = luck < hidden
    return ~torch.stack([neither | (luck > 1 - hidden / 2), neither | ((luck <= 1 - hidden / 2) & (luck > 1 - hidden))])


def code_loss(net: PriorNet, excerpts: MusicExcerpts, shown: torch.Tensor) -> torch.Tensor:
    """Cross-entropy of excerpts, in nats per code. shown (2, B) bool: which excerpts keep their rhythm and which their style."""
    before, codes, rhythm, reference, upper = excerpts
    style = net.style(reference) if reference is not None else None
    condition = net.condition(rhythm, style, upper, has_rhythm=shown[0], has_style=shown[1])
    scores = net(before, codes.clamp(min=0), rhythm, condition, shown[0])
    return F.cross_entropy(scores.float().flatten(0, 1), codes.flatten(), ignore_index=-1)
