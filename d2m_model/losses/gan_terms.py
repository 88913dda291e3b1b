"""D2M-GAN's objective (paper section 3.4): the terms of the generator and of the discriminators for one batch.

Terms are unweighted, so that the curves of different presets can be compared; `weighted_sum` is Eq. 8.
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import nn
from torch.profiler import record_function

from d2m_model.losses.adversarial import feature_matching, hinge_discriminator, hinge_generator
from d2m_model.losses.spectral import mel_l1
from d2m_model.nets.dance_to_codes import DanceToCodes
from d2m_model.nets.jukebox_vqvae import JukeboxVQVAE
from d2m_model.nets.presets import LossWeights
from dataset_tools.lib.core.timebase import HOPS, LEVELS


class Target(NamedTuple):
    """The real music of a batch of dances."""

    codes: torch.Tensor
    """(B, L) int64: its codes."""
    audio: torch.Tensor
    """(B, S)."""
    shifts: torch.Tensor
    """(B,) int64: sample of `audio` at which the first code begins, -hop..hop (the grid of codes starts at the clip's start)."""
    latents: torch.Tensor | None = None
    """(B, 64, L): the encoder's output before quantisation; needed where `latent` has a weight."""


class Excerpt(NamedTuple):
    """The part of a batch that is decoded for the wave and mel losses. The decoder is by far the largest cost of a step."""

    windows: int
    """Number of decoded windows, from the first; with 0 there are no wave and mel terms."""
    first: int
    """First code, at least 1, because a window's first and last code may reach beyond its audio."""
    codes: int
    """Number of codes; first + codes < L."""
    discriminator_windows: int = 1_000_000
    """Number of windows, from the first, that the discriminators read; all by default."""


def as_sequence(codes: torch.Tensor, order: str) -> torch.Tensor:
    """Codes (B, 64, L) as input of the discriminators: (B, 1, 64·L), or (B, 64, L) for order 'none'.

    'time' concatenates whole entries, so that neighbours are neighbours in time; 'channel' concatenates channels.
    """
    if order == "none":
        return codes
    ordered = codes.transpose(1, 2) if order == "time" else codes
    return ordered.flatten(1).unsqueeze(1)


def adversarial_term(scores: list[torch.Tensor]) -> torch.Tensor:
    """Eq. 2 for the generator: minus the mean score, averaged over the k discriminators."""
    return hinge_generator(scores) / len(scores)


def feature_term(real: list[list[torch.Tensor]], fake: list[list[torch.Tensor]]) -> torch.Tensor:
    """Eq. 3: L1 between the discriminators' features of real and generated codes."""
    return feature_matching(real, fake)


def code_term(net: DanceToCodes, predicted: torch.Tensor, codes: torch.Tensor, codebook: torch.Tensor) -> torch.Tensor:
    """Eq. 4: L1 between generated codes (B, 64, L) and the entries of the real codes (B, L). In the preset `fixed` it is the
    cross-entropy (nats) of the lookup's logits with the real codes."""
    if net.preset.code_loss == "cross_entropy":
        return F.cross_entropy(net.logits(predicted, codebook).flatten(0, 1), codes.flatten())
    return F.l1_loss(predicted, F.embedding(codes, codebook).transpose(1, 2))


def wave_term(predicted: torch.Tensor, real: torch.Tensor) -> torch.Tensor:
    """Eq. 5: L1 between decoded and real waves (B, S)."""
    return F.l1_loss(predicted, real)


def mel_term(predicted: torch.Tensor, real: torch.Tensor) -> torch.Tensor:
    """The mel-spectrogram loss: L1 between log-mel spectrograms of decoded and real waves (B, S)."""
    return mel_l1(predicted, real)


def weighted_sum(terms: dict[str, torch.Tensor], weights: LossWeights) -> torch.Tensor:
    """Eq. 8: the generator's objective."""
    return sum(getattr(weights, name) * value for name, value in terms.items())


def discriminator_input(net: DanceToCodes, predicted: torch.Tensor, codebook: torch.Tensor) -> torch.Tensor:
    """Input of the discriminators for generated codes (B, 64, L)."""
    inputs = net.look_up(predicted, codebook) if net.preset.discriminate_entries else predicted
    return as_sequence(inputs, net.preset.code_order)


def discriminator_term(
    net: DanceToCodes, discriminator: nn.Module, codebook: torch.Tensor, predicted: torch.Tensor, codes: torch.Tensor
) -> torch.Tensor:
    """Eq. 2 for the discriminators: hinge loss, averaged over the k discriminators.

    predicted (B, 64, L): generated codes, which get no gradient; codes (B, L): those of the real music.
    """
    real = as_sequence(F.embedding(codes, codebook).transpose(1, 2), net.preset.code_order)
    fake = discriminator_input(net, predicted.detach(), codebook)
    with record_function("discriminators, their step: real"):
        real_scores, _ = discriminator(real)
    with record_function("discriminators, their step: generated"):
        fake_scores, _ = discriminator(fake)
    return hinge_discriminator(real_scores, fake_scores) / len(real_scores)


def generator_terms(
    net: DanceToCodes,
    discriminator: nn.Module,
    vqvae: JukeboxVQVAE,
    predicted: torch.Tensor,
    target: Target,
    excerpt: Excerpt,
) -> dict[str, torch.Tensor]:
    """Every term with a weight other than 0, each a scalar. predicted (B, 64, L): output of `net`, before the lookup.

    `released` decodes without a gradient, so its wave and mel terms train nothing, as in the published program. An excerpt
    of 0 windows saves their cost.
    """
    preset, weights, level = net.preset, net.preset.weights, LEVELS[net.level]
    codebook, terms = vqvae.codebook(level).k, {}
    real = F.embedding(target.codes, codebook).transpose(1, 2)
    if weights.adversarial or weights.feature:
        with record_function("discriminators, generator's step: generated"):
            scores, fake_features = discriminator(
                discriminator_input(net, predicted[: excerpt.discriminator_windows], codebook)
            )
        if weights.adversarial:
            terms["adversarial"] = adversarial_term(scores)
        if weights.feature:
            with record_function("discriminators, generator's step: real"), torch.no_grad():
                _, real_features = discriminator(as_sequence(real[: excerpt.discriminator_windows], preset.code_order))
            terms["feature"] = feature_term(real_features, fake_features)
    if weights.latent:
        assert target.latents is not None  # DanceData keeps them for this weight
        terms["latent"] = F.l1_loss(predicted, target.latents)
    if weights.code:
        terms["code"] = code_term(net, predicted, target.codes, codebook)
    if excerpt.windows and (weights.wave or weights.mel):
        part = slice(excerpt.first, excerpt.first + excerpt.codes)
        entries = net.look_up(predicted[: excerpt.windows, :, part], codebook)
        trains = preset.straight_through and torch.is_grad_enabled()
        with record_function("decoder"), torch.set_grad_enabled(trains):
            wave = vqvae.decode_latents(entries, level)
        real_wave = torch.stack([
            audio[shift + part.start * HOPS[level] : shift + part.stop * HOPS[level]]
            for audio, shift in zip(target.audio[: excerpt.windows], target.shifts.tolist(), strict=False)
        ])  # fmt: skip
        if weights.wave:
            terms["wave"] = wave_term(wave, real_wave)
        if weights.mel:
            terms["mel"] = mel_term(wave, real_wave)
    return terms
