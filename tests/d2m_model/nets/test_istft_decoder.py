"""The decoder that ends in an inverse STFT: its length, its place in time, a tone whose answer is known, its files and its training."""

import math

import numpy as np
import pytest
import torch

from benchmarks.istft_decoder import CodedSongs
from d2m_model.nets.istft_decoder import IstftConfig, IstftDecoder
from d2m_model.nets.jukebox_vqvae import JukeboxVQVAE, VqVaeConfig
from d2m_model.training import checkpoint, coding
from d2m_model.training.vqvae_files import load_vqvae, save_vqvae
from dataset_tools.lib.core.errors import UserError

SIZES = IstftConfig(width=16, depth=2)


def decoder(**kind) -> IstftDecoder:
    torch.manual_seed(0)
    return IstftDecoder(8, 32, SIZES, **kind).eval()


def codec(level: int, **sizes) -> JukeboxVQVAE:
    """A small VQ-VAE whose `level` an inverse STFT plays."""
    torch.manual_seed(0)
    model = JukeboxVQVAE(
        VqVaeConfig(**{"width": 8, "depth": 1, "multipliers": (1, 1, 1), "bins": 16} | sizes), {level: SIZES}
    )
    model.codebook(level).k.normal_()
    return model.eval().requires_grad_(False)


@pytest.mark.parametrize("polar", [True, False])
@pytest.mark.parametrize("count", [4, 5, 40])
def test_each_code_is_a_hop_of_audio(polar, count):
    z = torch.randn(2, 8, count, requires_grad=True)
    audio = decoder(polar=polar)(z)
    assert audio.shape == (2, 1, 32 * count)
    audio.square().sum().backward()
    assert z.grad.isfinite().all() and z.grad.abs().sum() > 0


def test_a_magnitude_that_runs_away_is_held_and_can_come_back():
    net = decoder()
    wanted = torch.full((1, 41, 130), 200.0, requires_grad=True)
    net.head.register_forward_hook(lambda *_: wanted)
    audio = net(torch.zeros(1, 8, 40))
    audio.square().sum().backward()
    assert audio.isfinite().all() and wanted.grad.isfinite().all()


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


def test_windows_are_codes_and_their_own_audio():
    pool = np.arange(2 * 3200, dtype=np.int16).reshape(2, 3200)
    codes = (pool[:, ::32] // 32).astype(np.uint8)  # each code the number of its hop
    batch, audio = CodedSongs(pool, codes, 32, 640 / 22_050).batch(0, 3, 5)
    assert batch.shape == (5, 20) and audio.shape == (5, 640)
    firsts = torch.round(audio[:, ::32] * 32767).long()
    assert torch.equal(firsts // 32 % 256, batch)


@pytest.mark.parametrize(("level", "hop"), [(2, 128), (1, 32)])
def test_it_plays_the_codes_of_the_published_codec(level, hop):
    """Both of D2M-GAN's levels, with JukeBox's 2048 entries."""
    torch.manual_seed(0)
    model = JukeboxVQVAE(VqVaeConfig(), {level: IstftConfig()}).eval()
    assert model.decode(torch.randint(2048, (2, 30)), level).shape == (2, 30 * hop)
    assert model.decode(torch.randint(2048, (1, 30)), 3 - level).shape == (
        1,
        30 * 160 - 30 * hop,
    )  # the other level as it was


def test_piece_by_piece_is_as_at_once(monkeypatch):
    model, codes = codec(1), torch.randint(16, (400,), generator=torch.Generator().manual_seed(1))
    whole = model.decode(codes[None], 1)[0]
    monkeypatch.setattr(coding, "PIECE", 32 * 64)
    assert torch.allclose(coding.decode_long(model, codes, 1), whole, atol=1e-5)
    monkeypatch.setattr(IstftConfig, "reach", 1)
    assert not torch.allclose(coding.decode_long(model, codes, 1), whole, atol=1e-5)


def test_its_file_gives_it_back_and_other_files_know_nothing_of_it(tmp_path):
    model, codes = codec(2), torch.arange(16)[None]
    save_vqvae(tmp_path / "istft.pt", model, {})
    again = load_vqvae(tmp_path / "istft.pt")
    assert again.istft == {2: SIZES} and torch.equal(again.decode(codes, 2), model.decode(codes, 2))
    taken = JukeboxVQVAE(model.config).eval()
    taken.copy_level(again, 2)
    assert torch.equal(taken.decode(codes, 2), model.decode(codes, 2))
    save_vqvae(tmp_path / "plain.pt", JukeboxVQVAE(model.config), {})
    assert "istft" not in checkpoint.load(tmp_path / "plain.pt", "vqvae", 1).meta


@pytest.mark.parametrize(
    "told", [{"3": {}}, {"2": {"width": 1 << 20}}, {"2": {"overlap": 1}}, {"2": {"height": 3}}, {"2": 5}, ["2"]]
)
def test_a_file_with_other_sizes_is_one_line(tmp_path, told):
    model = codec(2)
    checkpoint.save(
        tmp_path / "x.pt",
        "vqvae",
        1,
        {"model": model.state_dict(), "training": {}},
        {"config": model.config.as_dict(), "istft": told},
    )
    with pytest.raises(UserError, match="x.pt: its weights do not fit its sizes") as caught:
        load_vqvae(tmp_path / "x.pt")
    assert "\n" not in str(caught.value)
