"""D2M-GAN: every loss reaches the generator where it should, training learns, repeats to the byte, and fails in a line."""

import dataclasses

import pytest
import torch

from d2m_model.d2m_gan import stage as d2m_gan
from d2m_model.d2m_gan.params import Params
from d2m_model.losses import gan_terms
from d2m_model.losses.gan_terms import Excerpt, Target, generator_terms
from d2m_model.nets.dance_to_codes import DanceToCodes
from d2m_model.nets.discriminator import MultiScaleDiscriminator, discriminator_config
from d2m_model.nets.jukebox_vqvae import JukeboxVQVAE, VqVaeConfig
from d2m_model.nets.presets import PRESETS, LossWeights
from d2m_model.training.dance_data import DanceData
from d2m_model.training.shard_data import WindowData
from dataset_tools.lib.core.errors import UserError
from tests.helpers.builders import build_shards

TINY = Params(
    width=0.05, discriminator_width=0.05, steps=3, batch=2, learning_rate=1e-3, excerpt_windows=1, excerpt_seconds=0.3,
    log_every=2, threads=1,
)  # fmt: skip


def tiny_vqvae(bins: int = 16) -> JukeboxVQVAE:
    torch.manual_seed(5)
    vqvae = JukeboxVQVAE(VqVaeConfig(width=4, depth=1, multipliers=(1, 1, 1), bins=bins)).eval().requires_grad_(False)
    for level in (1, 2):
        vqvae.codebook(level).k.copy_(torch.randn(bins, 64))
    return vqvae


def only(preset: str, **weights: float):
    """A preset whose losses are all off but the given ones."""
    off = {f.name: 0.0 for f in dataclasses.fields(LossWeights)}
    return dataclasses.replace(PRESETS[preset], weights=LossWeights(**(off | weights)))


def setup(preset, level: str = "high"):
    torch.manual_seed(1)
    vqvae = tiny_vqvae()
    net = DanceToCodes(preset, level, frames=60, joints=17, width=0.05, codebook=vqvae.codebook(2).k)
    discriminator = MultiScaleDiscriminator(discriminator_config(preset.discriminator, width=0.05))
    codes = 344 if level == "high" else 1378
    target = Target(
        torch.randint(16, (2, codes)), torch.rand(2, 44100) - 0.5, torch.tensor([0, -60]), torch.randn(2, 64, codes)
    )
    return net, discriminator, vqvae, target


def gradient(preset, level: str = "high") -> float:
    """Size of the gradient that the preset's objective leaves in the generator's first layers."""
    net, discriminator, vqvae, target = setup(preset, level)
    predicted = net(torch.rand(2, 60, 17, 3) * 200, (204, 360), torch.rand(2, 2048))
    terms = generator_terms(net, discriminator, vqvae, predicted, target, Excerpt(1, 1, 60))
    active = {name for name, value in dataclasses.asdict(preset.weights).items() if value}
    assert set(terms) == active and all(torch.isfinite(v) for v in terms.values())
    total = gan_terms.weighted_sum(terms, preset.weights)
    if total.requires_grad:
        total.backward()
    return sum(p.grad.abs().sum().item() for p in net.motion_encoder.parameters() if p.grad is not None)


@pytest.mark.parametrize("term", ["adversarial", "feature", "code", "wave", "mel"])
@pytest.mark.parametrize("preset", ["paper", "released", "fixed"])
def test_which_losses_reach_the_generator(preset, term):
    """All do in paper and fixed; in the released program the wave and mel losses train nothing."""
    reaches = not (preset == "released" and term in ("wave", "mel"))
    assert (gradient(only(preset, **{term: 1.0})) > 0) == reaches


def test_the_released_latent_term_reaches_it_too():
    assert gradient(only("released", latent=5.0)) > 0


@pytest.mark.parametrize("preset", PRESETS)
def test_low_level_has_finite_terms(preset):
    assert gradient(PRESETS[preset], "low") > 0


def test_lookup_gives_entries_and_passes_gradients_unchanged():
    book = torch.randn(16, 64)
    codes = torch.randn(2, 64, 5, requires_grad=True)
    entries = DanceToCodes(PRESETS["paper"], "high", frames=60, joints=17, width=0.05).look_up(codes, book)
    nearest = torch.cdist(codes.detach().transpose(1, 2), book[None]).argmin(-1)
    torch.testing.assert_close(entries.detach(), book[nearest].transpose(1, 2))
    weight = torch.randn_like(entries)
    (entries * weight).sum().backward()
    torch.testing.assert_close(codes.grad, weight)


def test_the_soft_lookup_is_a_mean_whose_temperature_decides_how_many_entries_are_in_it():
    book = torch.randn(16, 64)
    net = DanceToCodes(PRESETS["fixed"], "high", frames=60, joints=17, width=0.05, codebook=book)
    codes = torch.randn(2, 64, 5)
    likeliest = book[net.logits(codes, book).argmax(-1)].transpose(1, 2)
    torch.testing.assert_close(net.look_up(codes, book, 1e-6), likeliest)
    torch.testing.assert_close(
        net.look_up(codes, book, 1e6), book.mean(0)[None, :, None].expand(2, -1, 5), atol=1e-4, rtol=0
    )
    weights = net.logits(codes, book).softmax(-1)
    torch.testing.assert_close(net.look_up(codes, book), (weights @ book).transpose(1, 2))


def test_code_orders():
    codes = torch.arange(2 * 3 * 4.0).view(2, 3, 4)
    assert gan_terms.as_sequence(codes, "time")[0, 0, :3].tolist() == codes[0, :, 0].tolist()
    assert gan_terms.as_sequence(codes, "channel")[0, 0, :4].tolist() == codes[0, 0].tolist()
    assert gan_terms.as_sequence(codes, "none") is codes


def test_perfect_codes_cost_nothing():
    """Where the generated codes are the ground truth's entries, the code and wave terms of `paper` vanish."""
    net, discriminator, vqvae, target = setup(only("paper", code=1.0, wave=1.0))
    entries = vqvae.embed(target.codes, 2)
    audio = vqvae.decode_latents(entries, 2)
    target = Target(target.codes, torch.nn.functional.pad(audio, (60, 60)), torch.tensor([60, 60]))
    part = Excerpt(2, 40, 100)
    terms = generator_terms(net, discriminator, vqvae, entries, target, part)
    assert terms["code"] == 0
    wrong = generator_terms(net, discriminator, vqvae, entries, target._replace(shifts=torch.tensor([0, 0])), part)
    assert terms["wave"] < 0.3 * wrong["wave"]  # not 0: an excerpt is decoded without what is beyond its edges


def test_windows_carry_the_codes_of_their_own_audio(tmp_path):
    build_shards(tmp_path, clips=2, seconds=4)
    vqvae = tiny_vqvae(64)
    windows = WindowData(tmp_path, "train", 2)
    data = DanceData(windows, vqvae, "high", jitter=10, mirror=False)
    batch = data.batch(0, 0, 4)
    assert batch.pose.shape == (4, 60, 17, 3) and batch.music.codes.shape == (4, 344)
    drawn = windows.batch(0, 0, 4, 10)
    assert torch.equal(batch.music.audio, drawn.audio) and (batch.music.shifts.abs() <= 128).all()
    for codes, clip, start in zip(batch.music.codes, drawn.clips, drawn.starts, strict=True):
        first = min(round(start * 735 / 128), len(data.codes[clip.clip_id]) - 344)
        assert torch.equal(codes, data.codes[clip.clip_id][first : first + 344])


def test_latents_are_those_that_the_codes_come_from(tmp_path):
    build_shards(tmp_path, clips=1, seconds=4)
    vqvae = tiny_vqvae(64)
    batch = DanceData(WindowData(tmp_path, "train", 2), vqvae, "high", jitter=10, mirror=False, latents=True).batch(
        0, 0, 4
    )
    assert batch.music.latents.shape == (4, 64, 344)
    assert torch.equal(vqvae.quantise(batch.music.latents, 2).codes, batch.music.codes)


def test_what_trains_nothing_is_decoded_for_the_curves_alone(tmp_path, monkeypatch):
    """The released program's wave and mel terms: once a row, and without them training is the same."""
    build_shards(tmp_path / "shards", clips=1, seconds=3)
    decoded = []
    decode = JukeboxVQVAE.decode_latents
    monkeypatch.setattr(
        JukeboxVQVAE, "decode_latents", lambda self, z, level: decoded.append(1) or decode(self, z, level)
    )
    files = []
    for every in (1, 4):
        params = dataclasses.replace(TINY, preset="released", steps=4, log_every=every)
        d2m_gan.train(tmp_path / "shards", tiny_vqvae(), "high", "full", params, tmp_path / str(every))
        files.append((tmp_path / str(every) / "model.pt").read_bytes())
        assert len(decoded) == 4 // every
        decoded.clear()
    assert files[0] == files[1]
    header, *rows = (tmp_path / "4" / "curves.csv").read_text().splitlines()
    assert len(rows) == 1 and {"wave", "mel"} < set(header.split(","))


@pytest.mark.parametrize("preset", PRESETS)
def test_two_runs_give_the_same_bytes(tmp_path, preset):
    build_shards(tmp_path / "shards", clips=2, seconds=3)
    params = dataclasses.replace(TINY, preset=preset, steps=2 if preset != "fixed" else 3)
    for out in ("a", "b"):
        d2m_gan.train(tmp_path / "shards", tiny_vqvae(), "high", "full", params, tmp_path / out)
    for name in ("model.pt", "metrics.json", "curves.csv"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()
    other = dataclasses.replace(params, seed=1)
    d2m_gan.train(tmp_path / "shards", tiny_vqvae(), "high", "full", other, tmp_path / "c")
    assert (tmp_path / "c" / "model.pt").read_bytes() != (tmp_path / "a" / "model.pt").read_bytes()


def test_training_learns(tmp_path):
    build_shards(tmp_path / "shards", clips=2, seconds=3)
    params = dataclasses.replace(TINY, steps=40, learning_rate=3e-3, log_every=10)
    d2m_gan.train(tmp_path / "shards", tiny_vqvae(), "high", "full", params, tmp_path / "out")
    rows = (tmp_path / "out" / "curves.csv").read_text().splitlines()
    code = rows[0].split(",").index("code")
    losses = [float(row.split(",")[code]) for row in rows[1:]]
    assert len(losses) == 4 and losses[-1] < 0.7 * losses[0]


def test_a_loss_that_is_not_finite_is_one_clear_line(tmp_path):
    build_shards(tmp_path / "shards", clips=1, seconds=3)
    vqvae = tiny_vqvae()
    for parameter in vqvae.decoders[2].parameters():
        parameter.fill_(float("inf"))
    with pytest.raises(
        UserError,
        match=r"loss '\w+' is (nan|inf) at step 0; last finite values \(step 0\): disc.*; lower the learning rate",
    ):
        d2m_gan.train(tmp_path / "shards", vqvae, "high", "full", TINY, tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("bad", [{"preset": "x"}, {"batch": 0}, {"ema": 1.0}, {"betas": (0.5,)}, {"learning_rate": 0}])
def test_params_out_of_range_are_refused(bad):
    with pytest.raises(ValueError, match=next(iter(bad))):
        Params(**bad)
