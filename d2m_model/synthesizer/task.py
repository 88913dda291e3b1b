"""A training step of the stage `synthesizer`."""

from collections.abc import Callable

import torch
import torch.nn.functional as F

from d2m_model.losses.adversarial import feature_matching, hinge_discriminator, hinge_generator
from d2m_model.losses.spectral import mel_l1, multispectral
from d2m_model.nets.discriminator import MultiScaleDiscriminator, discriminator_config
from d2m_model.nets.jukebox_vqvae import JukeboxVQVAE
from d2m_model.synthesizer.params import Params
from d2m_model.training.acceleration import accelerate
from d2m_model.training.autoencoding import audio_batch, mean_power, measurement
from d2m_model.training.loop import FiniteLossGuard, Measurement, backward_and_step
from d2m_model.training.shard_data import WindowData


class DecoderTask:
    """Trains the decoder of `level` (0, 1 or 2) of `model` against a discriminator; nothing else in the network changes."""

    rate_share: Callable[[int], float] | None = None

    def __init__(self, model: JukeboxVQVAE, level: int, data: WindowData, test: WindowData, params: Params):
        self.model, self.level, self.data, self.test, self.params = model, level, data, test, params
        self.device = next(model.parameters()).device
        if params.decoder == "istft":
            model.use_istft_decoder(level, params.istft())
        decoder = model.decoders[level].requires_grad_(True)
        config = discriminator_config(params.discriminator, width=params.discriminator_width, scales=params.scales)
        self.power = mean_power(data) if params.multispectral else 1.0
        self.discriminator = MultiScaleDiscriminator(config).to(self.device)
        self.nets = {"decoder": decoder, "discriminator": self.discriminator}
        betas = params.betas[0], params.betas[1]
        self.optimizers = {
            name: torch.optim.Adam(net.parameters(), lr=params.learning_rate, betas=betas)
            for name, net in self.nets.items()
        }
        accelerate(decoder, self.device, params.audio_precision, params.compile)
        accelerate(self.discriminator, self.device, params.precision, params.compile)

    def step(self, number: int, guard: FiniteLossGuard) -> dict[str, torch.Tensor]:
        """One step of the discriminator and one of the decoder. Returns every term, unweighted, and the loss."""
        model, level, discriminator, params = self.model, self.level, self.discriminator, self.params
        audio = audio_batch(self.data, params.seed, number, params.batch, params.gain).to(self.device)
        rebuilt = model.decode_latents(model.embed(model.encode(audio, level), level), level)
        fake_scores, _ = discriminator(rebuilt.detach()[:, None])
        real_scores, _ = discriminator(audio[:, None])
        own = {"discriminator": hinge_discriminator(real_scores, fake_scores)}
        guard(number, own)
        backward_and_step(own["discriminator"], self.optimizers["discriminator"], params.gradient_norm)
        discriminator.requires_grad_(False)
        fake_scores, fake_features = discriminator(rebuilt[:, None])
        with torch.no_grad():
            _, real_features = discriminator(audio[:, None])
        terms = {
            "adversarial": hinge_generator(fake_scores),
            "feature_matching": feature_matching(real_features, fake_features),
            "wave": F.l1_loss(rebuilt, audio),
            "mel": mel_l1(rebuilt, audio),
        }
        if params.multispectral:
            terms["multispectral"] = multispectral(rebuilt, audio, self.power)
        guard(number, terms)
        loss = sum(getattr(params, name) * term for name, term in terms.items())
        backward_and_step(loss, self.optimizers["decoder"], params.gradient_norm)
        discriminator.requires_grad_(True)
        return {"loss": loss, **terms, **own}

    def measure(self) -> Measurement:
        """Reconstruction of held-out windows."""
        return measurement(self.model, self.level, self.test, self.params.measure_clips)
