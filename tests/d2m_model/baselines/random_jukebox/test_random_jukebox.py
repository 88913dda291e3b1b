"""The stand-ins of Random JukeBox: the prior's causality, sampling and learning on codes that are known; the decoder."""

import dataclasses
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from d2m_model.baselines.dance import ClipDance
from d2m_model.baselines.random_jukebox import random_codes, unconditional_prior
from d2m_model.baselines.random_jukebox.net import Prior
from d2m_model.baselines.random_jukebox.unconditional_prior import CodeTask, Model, Params
from d2m_model.nets.jukebox_vqvae import JukeboxVQVAE, VqVaeConfig
from d2m_model.training.vqvae_files import save_vqvae
from dataset_tools.lib.core.errors import UserError


def tiny_prior(bins=5, context=12):
    torch.manual_seed(0)
    return Prior(bins, width=16, depth=2, heads=2, context=context, dropout=0.0).eval()


def tiny_vqvae(bins=8):
    torch.manual_seed(0)
    model = JukeboxVQVAE(VqVaeConfig(width=4, depth=1, multipliers=(1, 1, 1), bins=bins)).eval().requires_grad_(False)
    for level in range(3):
        model.codebook(level).k.normal_()
    return model


def dance(frames, seed):
    return ClipDance(
        clip_id="a", pose=np.zeros((frames, 1, 17, 3), np.float32), size=(9, 9), frames=frames, video=None, seed=seed
    )


def test_no_code_sees_the_future():
    prior, codes = tiny_prior(), torch.tensor([[5, 0, 1, 2, 3, 4, 0, 1]])
    changed = codes.clone()
    changed[0, 5] = 2
    with torch.no_grad():
        a, b = prior(codes)[0], prior(changed)[0]
    assert torch.allclose(a[:, :5], b[:, :5], atol=1e-6) and not torch.allclose(a[:, 5:], b[:, 5:], atol=1e-4)


def test_one_after_the_other_is_all_at_once():
    prior, codes = tiny_prior(), torch.tensor([[5, 0, 1, 2, 3, 4, 0, 1]])
    with torch.no_grad():
        together, _ = prior(codes)
        scores, cache = prior(codes[:, :1])
        steps = [scores]
        for t in range(1, codes.shape[1]):
            scores, cache = prior(codes[:, t : t + 1], cache)
            steps.append(scores)
    assert torch.allclose(torch.cat(steps, 1), together, atol=1e-5)


@pytest.fixture(scope="module")
def learnt():
    """A prior that has learnt music which goes round 0 1 2 3 4, beginning with 2."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    params = Params(width=16, depth=2, heads=2, context=12, dropout=0.0, batch=8, learning_rate=1e-2)
    task = CodeTask([(torch.arange(40) + 2) % 5], 5, params, torch.device("cpu"))
    for number in range(80):
        terms = task.step(number, lambda *_: None)
    return task.prior.eval(), float(terms["loss"].detach())


def test_music_is_learnt_by_heart_and_goes_on_beyond_the_context(learnt):
    prior, loss = learnt
    assert loss < 0.1
    sampled = prior.sample(40, 0.2, torch.Generator().manual_seed(0))
    assert sampled.tolist() == ((torch.arange(40) + 2) % 5).tolist()


def test_a_seed_decides_the_codes():
    prior = tiny_prior()
    first, again, other = (prior.sample(50, 1.0, torch.Generator().manual_seed(seed)) for seed in (1, 1, 2))
    assert torch.equal(first, again) and not torch.equal(first, other)
    assert first.min() >= 0 and first.max() < 5


def test_excerpts_begin_with_the_music_or_lie_anywhere_in_it():
    params = Params(width=16, depth=1, heads=2, context=4, batch=64)
    task = CodeTask([torch.arange(10, 19), torch.tensor([30, 31])], 40, params, torch.device("cpu"))
    rows = task.batch(0)
    assert torch.equal(rows, task.batch(0)) and not torch.equal(rows, task.batch(1))
    for row in rows.tolist():
        assert row == [40, 30, 31, -1, -1] or row == [40, 10, 11, 12, 13] or row == list(range(row[0], row[0] + 5))
    assert {row[0] for row in rows.tolist()} == {40, 10, 11, 12, 13, 14}


@pytest.mark.parametrize("frames", [31, 60])
def test_both_fill_the_dance_and_nothing_of_it_but_its_length_and_seed_counts(frames):
    vqvae = tiny_vqvae()
    for compose, model in (
        (random_codes.compose, vqvae),
        (unconditional_prior.compose, Model(prior=tiny_prior(bins=8, context=64), decoder=vqvae, temperature=1.0)),
    ):
        audio = compose(model, dance(frames, 1))
        assert audio.shape == (frames * 735,) and audio.dtype == np.float32 and np.isfinite(audio).all()
        moved = dataclasses.replace(dance(frames, 1), pose=np.ones((frames, 1, 17, 3), np.float32))
        assert np.array_equal(audio, compose(model, moved))
        assert not np.array_equal(audio, compose(model, dance(frames, 2)))


def test_random_codes_are_the_whole_codebook(monkeypatch):
    seen = []
    monkeypatch.setattr(random_codes, "decode_codes", lambda model, codes, frames: seen.append(codes))
    random_codes.compose(tiny_vqvae(bins=16), dance(3000, 0))
    counts = torch.bincount(seen[0], minlength=16)
    assert len(seen[0]) == -(-3000 * 735 // 128) and (counts / counts.sum() - 1 / 16).abs().max() < 0.01


def test_the_synthesizers_decoder_plays(tmp_path):
    params = tmp_path / "params.yaml"
    corpus = SimpleNamespace(
        system="random_codes", layout=SimpleNamespace(stage=lambda word: tmp_path / word, params=params)
    )
    params.write_text("levels: [low]\n")
    with pytest.raises(
        UserError, match="system random_codes needs high in levels, found low; add it or leave random_codes out"
    ):
        random_codes.train(corpus, random_codes.Params())
    params.write_text("levels: [high, low]\n")
    with pytest.raises(UserError, match=r"synthesizer.high.model\.pt: file not found"):
        random_codes.train(corpus, random_codes.Params())
    (tmp_path / "synthesizer" / "high").mkdir(parents=True)
    vqvae = tiny_vqvae()
    save_vqvae(tmp_path / "synthesizer" / "high" / "model.pt", vqvae, {})
    loaded = random_codes.train(corpus, random_codes.Params())
    codes = torch.arange(8).repeat(44)[:345]
    expected = vqvae.decode(codes[None], 2)[0, :44100].numpy()
    assert np.array_equal(random_codes.decode_codes(loaded, codes, 60), expected)


@pytest.mark.parametrize(("name", "value"), [("context", 1), ("width", 30), ("temperature", 0.0), ("dropout", 1.0)])
def test_parameters_out_of_range_are_refused(name, value):
    with pytest.raises(ValueError, match=name):
        dataclasses.replace(Params(heads=8), **{name: value})
