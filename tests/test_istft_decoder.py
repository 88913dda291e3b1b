"""The decoder of `benchmarks.istft_decoder`: its length, its place in time, and a tone whose answer is known."""

import math

import numpy as np
import pytest
import torch

from benchmarks.istft_decoder import CodedSongs, IstftDecoder


def decoder(**sizes) -> IstftDecoder:
    torch.manual_seed(0)
    return IstftDecoder(8, 32, width=16, depth=2, **sizes).eval()


@pytest.mark.parametrize("polar", [True, False])
@pytest.mark.parametrize("count", [4, 5, 40])
def test_each_code_is_a_hop_of_sound(polar, count):
    z = torch.randn(2, 8, count, requires_grad=True)
    sound = decoder(polar=polar)(z)
    assert sound.shape == (2, 1, 32 * count)
    sound.square().sum().backward()
    assert z.grad.isfinite().all() and z.grad.abs().sum() > 0


def test_codes_a_hop_later_sound_a_hop_later():
    net, z = decoder(), torch.randn(1, 8, 60)
    with torch.no_grad():
        here, later = net(z)[0, 0], net(torch.roll(z, 1, dims=2))[0, 0]
    inside = slice(25 * 32, 35 * 32)  # reached by neither end
    assert torch.allclose(here[inside], later[25 * 32 + 32 : 35 * 32 + 32], atol=1e-5)


def test_frames_of_one_magnitude_and_turning_phase_are_a_tone():
    """The STFT of a cosine, as the head would have to give it, is that cosine again."""
    net = decoder()
    tone = torch.cos(2 * math.pi * 16 / 128 * torch.arange(32 * 40))
    frames = torch.stft(tone, 128, 32, window=torch.hann_window(128), return_complex=True, pad_mode="reflect")
    assert frames.shape == (65, 41)
    wanted = torch.cat([frames.abs().clamp(min=1e-9).log(), frames.angle()]).T[None]
    net.head.register_forward_hook(lambda *_: wanted)
    with torch.no_grad():
        assert torch.allclose(net(torch.zeros(1, 8, 40))[0, 0], tone, atol=1e-4)


def test_windows_are_codes_and_their_own_sound():
    pool = np.arange(2 * 3200, dtype=np.int16).reshape(2, 3200)
    codes = (pool[:, ::32] // 32).astype(np.uint8)  # each code the number of its hop
    batch, sound = CodedSongs(pool, codes, 32, 640 / 22_050).batch(0, 3, 5)
    assert batch.shape == (5, 20) and sound.shape == (5, 640)
    firsts = torch.round(sound[:, ::32] * 32767).long()
    assert torch.equal(firsts // 32 % 256, batch)
