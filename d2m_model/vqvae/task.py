"""A training step of the stage `vqvae`."""

import torch
import torch.nn.functional as F
from torch import nn

from d2m_model.losses.spectral import mel_l1, multispectral
from d2m_model.nets.codebook import Codebook
from d2m_model.nets.jukebox_vqvae import JukeboxVQVAE
from d2m_model.training.acceleration import accelerate
from d2m_model.training.autoencoding import audio_batch, mean_power, measurement
from d2m_model.training.distributed import gather_rows
from d2m_model.training.loop import FiniteLossGuard, Measurement, backward_and_step
from d2m_model.training.schedules import late_cosine
from d2m_model.training.seeding import generator
from d2m_model.training.shard_data import WindowData
from d2m_model.vqvae.params import Params


class LevelTask:
    """Encoder, codebook and decoder of one level of `model`."""

    def __init__(self, model: JukeboxVQVAE, level: int, data: WindowData, test: WindowData, params: Params):
        self.model, self.level, self.data, self.test, self.params = model, level, data, test, params
        self.device, self.codebook, self.power = (
            next(model.parameters()).device,
            model.codebook(level),
            mean_power(data),
        )
        self.codebook.dead_code_threshold = params.dead_code_threshold
        self.steps = params.steps[level]
        self.quantised_from = round(params.warm_up * self.steps)
        coders = {"encoder": model.encoders[level], "decoder": model.decoders[level]}
        weights = [p for net in coders.values() for p in net.parameters()]
        self.optimizers = {"codec": torch.optim.Adam(weights, lr=params.learning_rate)}
        self.nets = coders | {"codebook": self.codebook, "averages": _averages(self.codebook)}
        for net in coders.values():
            accelerate(net, self.device, params.audio_precision, params.compile)

    def step(self, number: int, guard: FiniteLossGuard) -> dict[str, torch.Tensor]:
        """One optimizer step and one update of the codebook's moving averages. Returns the loss, its terms and the code usage."""
        model, level, params = self.model, self.level, self.params
        audio = audio_batch(self.data, params.seed, number, params.batch, params.gain).to(self.device)
        z = model.latents(audio, level)
        terms, usage = {"commit": z.new_zeros(())}, {}
        if number >= self.quantised_from:
            if number == self.quantised_from:
                self.codebook.initialise(self._many_latents(number), generator(params.seed, "start", level))
            quantised = model.quantise(z, level)
            # Each process learns from the vectors of all processes, so that their codebooks stay equal.
            found = gather_rows(z.detach()), gather_rows(quantised.codes)
            usage = self.codebook.update_entries(*found, generator(params.seed, "revive", level, number))
            usage["perplexity"] = usage.pop("entropy").exp()
            terms["commit"] = quantised.commit
        rebuilt = model.decode_latents(quantised.vectors if usage else z, level)
        terms |= {
            "wave": F.mse_loss(rebuilt, audio) / self.power,
            "multispectral": multispectral(rebuilt, audio, self.power),
        }
        if params.mel:
            terms["mel"] = mel_l1(rebuilt, audio)
        guard(number, terms)
        loss = sum(getattr(params, name) * term for name, term in terms.items())
        backward_and_step(loss, self.optimizers["codec"], params.gradient_norm)
        return {"loss": loss, **terms, **usage}

    def rate_share(self, number: int) -> float:
        """Factor of the learning rate at a step: rises over the first 20 steps, then 1, then a cosine decay in the second half."""
        return late_cosine(number, self.steps)

    def measure(self) -> Measurement:
        """Reconstruction of held-out windows; empty before the codebook is initialised."""
        started = bool(self.codebook.k.any())
        return (
            measurement(self.model, self.level, self.test, self.params.measure_clips)
            if started
            else Measurement({}, {})
        )

    @torch.no_grad()
    def _many_latents(self, step: int) -> torch.Tensor:
        """(1, 64, N): latents of several batches, about four for each codebook entry to be initialised from."""
        found, batch, params = [], 0, self.params
        while sum(z.shape[1] for z in found) < 4 * params.bins and batch < 64:
            audio = audio_batch(self.data, params.seed, step + batch, params.batch, params.gain).to(self.device)
            found.append(gather_rows(self.model.latents(audio, self.level)).transpose(0, 1).flatten(1))
            batch += 1
        return torch.cat(found, dim=1)[None]


def _averages(codebook: Codebook) -> nn.Module:
    """The codebook's moving averages, which are not in its state dict, as a module with a state dict."""
    module = nn.Module()
    for name, tensor in codebook.learning_state().items():
        module.register_buffer(name, tensor)
    return module
