"""Trains the network on beats, their strength and the style."""

from collections.abc import Sequence
from functools import reduce

import torch
import torch.nn.functional as F

from d2m_model.rhythm.data import RhythmData, RhythmExample
from d2m_model.rhythm.net import RhythmNet
from d2m_model.rhythm.params import Params
from d2m_model.training.acceleration import accelerate
from d2m_model.training.curves import Curves
from d2m_model.training.loop import FiniteLossGuard, Measurement, Run, backward_and_step, train_loop
from d2m_model.training.schedules import warm_up_and_cosine
from d2m_model.training.seeding import generator, seed_everything
from dataset_tools.lib.core.timebase import seconds_to_frames

RARER = (3.0, 6.0)
"""Weights of frames with a beat and with a down-beat, relative to frames without."""
WARM_UP, LAST = 30, 0.02
"""Steps over which the learning rate rises; its share at the end."""
TEMPO_ERROR = 0.01
"""Standard deviation of the relative noise on the style classifier's tempo in training, because measured tempos have errors."""


class RhythmTask:
    """Trains `net` on `data`."""

    def __init__(self, net: RhythmNet, data: RhythmData, params: Params, device: torch.device):
        self.net, self.data, self.params, self.device = net.to(device), data, params, device
        self.nets = {"net": net}
        self.optimizers = {
            "net": torch.optim.AdamW(net.parameters(), params.learning_rate, weight_decay=params.weight_decay)
        }
        accelerate(net, device, params.precision, "never")

    def step(self, number: int, guard: FiniteLossGuard) -> dict[str, torch.Tensor]:
        """One optimizer step on batch `number`; returns the losses."""
        params = self.params
        batch = type(drawn := self.data.batch(params.seed, number, params.batch))(
            *(part.to(self.device) for part in drawn)
        )
        self.net.train()
        output = self.net(batch.features)
        known = batch.known / batch.known.sum()
        rarer = torch.tensor(RARER, device=self.device)
        frames = F.binary_cross_entropy_with_logits(output.beats, batch.targets, pos_weight=rarer, reduction="none")
        at_beats = known * batch.targets[..., 0]
        strength = F.binary_cross_entropy_with_logits(output.strength, batch.strength, reduction="none")
        terms = {
            "beat": (frames[..., 0] * known).sum(), "downbeat": (frames[..., 1] * known).sum(),
            "strength": (strength * at_beats).sum() / at_beats.sum().clamp(min=1e-6),
        }  # fmt: skip
        if self.net.genres and bool((batch.genres >= 0).any()):
            error = torch.randn(len(batch.tempo), generator=generator(params.seed, "tempo", number)).to(self.device)
            logits = self.net.style(output.pooled, batch.tempo * (1 + TEMPO_ERROR * error))
            terms["style"] = F.cross_entropy(logits, batch.genres, ignore_index=-1)
        guard(number, terms)
        weights = {"beat": 1.0, "downbeat": 1.0, "strength": 0.2, "style": params.style}
        loss = reduce(torch.add, (weights[name] * term for name, term in terms.items()))
        backward_and_step(loss, self.optimizers["net"], params.gradient_norm)
        return {"loss": loss, **terms}

    def rate_share(self, number: int) -> float:
        """Factor of the learning rate at a step: a linear warm-up times a cosine decay."""
        return warm_up_and_cosine(number, self.params.steps, warm_up=WARM_UP, last=LAST)

    def measure(self) -> Measurement:
        """Measures nothing: a measurement would take longer than the training."""
        return Measurement({}, {})


def train(examples: Sequence[RhythmExample], params: Params, run: Run | None = None) -> tuple[RhythmNet, Curves]:
    """A network trained on dances with beats, on the CPU in evaluation mode, and its curves. Raises as `train_loop`."""
    device = seed_everything(params.seed, params.threads)
    genres = sorted({example.genre for example in examples} - {""})
    net = RhythmNet(params.stream, genres, width=params.width, blocks=params.blocks, dropout=params.dropout)
    data = RhythmData(examples, genres, params.stream, seconds_to_frames(params.seconds))
    task = RhythmTask(net, data, params, device)
    curves = train_loop(task, params.steps, params, run or Run(stage="rhythm"))
    return net.cpu().eval().requires_grad_(False), curves
