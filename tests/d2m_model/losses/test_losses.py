"""Audio losses against librosa and against audio whose answer is known; adversarial terms by hand."""

import math

import numpy as np
import pytest
import torch

from d2m_model.losses.adversarial import feature_matching, hinge_discriminator, hinge_generator
from d2m_model.losses.spectral import log_mel, mel_filterbank, mel_l1, multispectral, stft_magnitude
from d2m_model.metrics.reconstruction import reconstruction_scores, si_sdr, spectral_convergence
from d2m_model.nets.discriminator import MultiScaleDiscriminator, discriminator_config

RATE = 22050


def tone(hertz: float, seconds: float = 0.5, level: float = 0.5) -> torch.Tensor:
    return (level * torch.sin(2 * math.pi * hertz * torch.arange(int(seconds * RATE)) / RATE))[None]


def test_mel_filters_are_slaneys():
    """200/3 Hz a mel up to 1 kHz, then 27 mels a factor of 6.4; each has unit area, where enough bins lie in it."""
    top = 15 + 27 * np.log(RATE / 2000) / np.log(6.4)
    mels = np.linspace(0, top, 130)
    edges = np.where(mels < 15, mels * 200 / 3, 1000 * 6.4 ** ((mels - 15) / 27))
    filters, bins = mel_filterbank(RATE, 1024, 128), np.linspace(0, RATE / 2, 513)
    for low, middle, high, found in zip(edges, edges[1:], edges[2:], filters, strict=False):
        assert found == pytest.approx(np.interp(bins, [low, middle, high], [0, 2 / (high - low), 0]), abs=1e-7)
    assert filters.dtype == np.float32 and filters[100:].sum(1) * RATE / 1024 == pytest.approx(np.ones(28), abs=0.02)


def test_log_mel_shape_floor_and_peak_band():
    assert log_mel(torch.zeros(2, 44100)).shape == (2, 128, 173)
    assert torch.allclose(log_mel(torch.zeros(1, 44100)), torch.tensor(-5.0), atol=0.31)  # sqrt(1e-9) under each filter
    mel = log_mel(tone(1000))[0]
    edges = (
        mel_filterbank(RATE, 1024, 128)
        @ np.linspace(0, RATE / 2, 513)
        / mel_filterbank(RATE, 1024, 128).sum(1).clip(1e-9)
    )
    assert abs(edges[mel.mean(1).argmax()] - 1000) < 40


def test_ten_times_louder_is_one_more_on_the_log_mel():
    noise = 0.05 * torch.randn(1, 8192, generator=torch.Generator().manual_seed(0))
    assert mel_l1(10 * noise, noise).item() == pytest.approx(1.0, abs=1e-2)


@pytest.mark.parametrize("loss", [lambda a, b: multispectral(a, b, 0.125), mel_l1], ids=["multispectral", "mel"])
def test_spectral_losses_are_zero_for_equal_audio_and_lead_downhill(loss):
    target = tone(440)
    assert loss(target, target).item() < 1e-5
    guess = (0.1 * torch.randn(target.shape, generator=torch.Generator().manual_seed(1))).requires_grad_()
    before = loss(guess, target)
    before.backward()
    assert torch.isfinite(guess.grad).all()
    step = guess.detach() - 1e-3 * guess.grad / guess.grad.abs().max()
    assert loss(step, target) < before
    silent = torch.zeros_like(target, requires_grad=True)
    loss(silent, target).backward()
    assert torch.isfinite(silent.grad).all()


def test_multispectral_is_one_for_silence_and_relative_to_the_data():
    target = tone(440)
    silence, power = torch.zeros_like(target), target.square().mean().item()
    assert multispectral(silence, target, power).item() == pytest.approx(1.0, abs=0.03)
    assert multispectral(0.5 * target, target, power).item() == pytest.approx(0.5, abs=0.02)
    assert multispectral(0.05 * target, 0.1 * target, power).item() == pytest.approx(0.05, abs=0.01)
    assert multispectral(target, silence, power).item() == pytest.approx(1.0, abs=0.03)


def test_stft_peak_is_where_the_tone_is():
    spectrum = stft_magnitude(tone(RATE / 1024 * 100), 1024, 256, 1024)[0]
    assert spectrum.shape[0] == 513 and (spectrum.argmax(0)[3:-3] == 100).all()


def test_reconstruction_metrics_on_known_audio():
    audio, rng = tone(440)[0], torch.Generator().manual_seed(0)
    noise = torch.randn(audio.shape, generator=rng)
    noise -= (noise @ audio) / (audio @ audio) * audio
    noise *= audio.norm() / noise.norm() / 10
    assert si_sdr(3 * (audio + noise), audio) == pytest.approx(20.0, abs=0.1)
    assert spectral_convergence(audio, audio) < 1e-4
    assert spectral_convergence(torch.zeros_like(audio), audio) == pytest.approx(1.0, abs=1e-3)


def test_onset_f_is_one_for_the_same_clicks_and_lower_for_moved_ones():
    clicks = torch.zeros(2 * RATE)
    ring = torch.exp(-torch.arange(800) / 100) * torch.sin(torch.arange(800) * 0.3)
    for start in (5000, 16000, 27000, 38000):
        clicks[start : start + 800] = ring
    assert reconstruction_scores([(0.5 * clicks, clicks)])["onset_f"] == 1.0
    assert reconstruction_scores([(clicks.roll(5000), clicks)])["onset_f"] < 0.5


def test_adversarial_terms_by_hand():
    real, fake = [torch.tensor([[[2.0, 0.5]]])], [torch.tensor([[[-3.0, 0.0]]])]
    assert hinge_discriminator(real, fake).item() == pytest.approx(0.25 + 0.5)
    assert hinge_generator(fake).item() == 1.5
    features = [[torch.ones(1, 2, 2), torch.zeros(1, 2, 2)]]
    other = [[torch.full((1, 2, 2), 3.0, requires_grad=True), torch.ones(1, 2, 2)]]
    assert feature_matching(features, other).item() == 1.5


@pytest.mark.parametrize(("preset", "parameters"), [("paper", 16_924_086), ("released", 9_212_358)])
def test_discriminator_sizes(preset, parameters):
    net = MultiScaleDiscriminator(discriminator_config(preset))
    assert sum(p.numel() for p in net.parameters()) == parameters


def test_discriminator_scales_and_features():
    net = MultiScaleDiscriminator(discriminator_config("paper", width=0.125, scales=2), channels=64)
    scores, features = net(torch.randn(2, 64, 344))
    assert [s.shape for s in scores] == [(2, 1, 2), (2, 1, 1)]
    assert [len(f) for f in features] == [6, 6] and features[0][0].shape == (2, 4, 344)
    keys = {k.rsplit(".", 3)[0] if "parametrizations" in k else k for k in net.state_dict()}
    assert "model.disc_1.model.layer_6.bias" in keys and "model.disc_0.model.layer_0.1.bias" in keys


def test_discriminator_reads_old_style_weight_norm():
    torch.manual_seed(0)
    net = MultiScaleDiscriminator(discriminator_config("released", width=0.125, scales=1))
    state = net.state_dict()
    old = {
        k.replace("parametrizations.weight.original0", "weight_g").replace(
            "parametrizations.weight.original1", "weight_v"
        ): v
        for k, v in state.items()
    }
    other = MultiScaleDiscriminator(discriminator_config("released", width=0.125, scales=1))
    other.load_state_dict(old)
    x = torch.randn(1, 1, 4096)
    assert torch.equal(net(x)[0][0], other(x)[0][0])


@pytest.mark.parametrize("options", [{"preset": "mine"}, {"scales": 4}, {"scales": 0}])
def test_discriminator_refuses_other_sizes(options):
    with pytest.raises(ValueError, match="discriminator"):
        discriminator_config(**options)
