"""The variants of the paper's tables: all named and listed, each changes what is trained or is said to change nothing."""

from pathlib import Path

import pandas as pd
import pytest
import torch

from d2m_model.d2m_gan import __main__ as d2m_gan
from d2m_model.losses.gan_terms import Excerpt, Target, discriminator_term, generator_terms, weighted_sum
from d2m_model.nets.dance_to_codes import EMBEDDING, DanceToCodes
from d2m_model.nets.discriminator import MultiScaleDiscriminator, discriminator_config
from d2m_model.nets.jukebox_vqvae import JukeboxVQVAE, VqVaeConfig
from d2m_model.nets.presets import PRESETS, preset_of
from d2m_model.nets.variants import VARIANTS, variant_of
from d2m_model.training.vqvae_files import decoder_of
from dataset_tools.lib.core.errors import UserError
from dataset_tools.lib.core.layout import PROJECT, Layout

OTHER_INPUT = {"full", "no_motion", "no_visual", "3s", "4s"}  # test_dance_to_codes


def vqvae(fine_tuned: bool) -> JukeboxVQVAE:
    """Fine-tuning changes nothing but the decoder."""
    torch.manual_seed(1)
    net = JukeboxVQVAE(VqVaeConfig(width=4, depth=1, multipliers=(1, 1, 1), bins=16)).eval().requires_grad_(False)
    net.codebook(2).k.copy_(torch.randn(16, EMBEDDING))
    for weight in net.decoders[2].parameters():
        weight.mul_(1.1 if fine_tuned else 1.0)
    return net


def gradients(preset: str, variant: str) -> torch.Tensor:
    """What one step would change: gradients of generator and discriminators, one long vector, on one fixed batch."""
    frames, codes = 60, 344
    player = vqvae(variant_of(variant).fine_tuned)
    torch.manual_seed(3)
    lines = preset_of(preset, variant)
    net = DanceToCodes(lines, "high", frames=frames, joints=17, width=0.05, dropout=0.0, codebook=player.codebook(2).k)
    torch.manual_seed(4)
    config = discriminator_config(lines.discriminator, width=0.05, scales=lines.scales)
    discriminator = MultiScaleDiscriminator(config, EMBEDDING if lines.code_order == "none" else 1)
    rng = torch.Generator().manual_seed(5)
    pose = torch.rand(2, frames, 17, 3, generator=rng) * 200
    music, latents = torch.rand(2, 44100, generator=rng) - 0.5, torch.randn(2, EMBEDDING, codes, generator=rng)
    target = Target(torch.randint(16, (2, codes), generator=rng), music, torch.tensor([0, -60]), latents)
    predicted = net(pose, (204, 360), torch.rand(2, 2048, generator=rng))
    discriminator_term(net, discriminator, player.codebook(2).k, predicted, target.codes).backward()
    found = [p.grad.flatten() for p in discriminator.parameters()]
    weighted_sum(
        generator_terms(net, discriminator, player, predicted, target, Excerpt(1, 1, 60)), lines.weights
    ).backward()
    return torch.cat(found + [p.grad.flatten() for p in net.parameters() if p.grad is not None])


@pytest.fixture(scope="module")
def full() -> dict[str, torch.Tensor]:
    return {preset: gradients(preset, "full") for preset in PRESETS}


@pytest.mark.parametrize("variant", [name for name in VARIANTS if name not in OTHER_INPUT])
@pytest.mark.parametrize("preset", PRESETS)
def test_a_variant_changes_what_is_trained_or_says_that_it_does_not(full, preset, variant):
    found = gradients(preset, variant)
    assert torch.isfinite(found).all()
    equal = found.shape == full[preset].shape and torch.equal(found, full[preset])
    only_played = (preset, variant) == ("released", "no_finetune")
    assert equal == (preset in variant_of(variant).same or only_played)
    assert not only_played or "only what is played differs" in variant_of(variant).notes[preset]


def test_the_papers_tables_and_the_variants_are_the_same_names():
    paper = pd.read_csv(PROJECT / "d2m_model" / "tables" / "paper_tables.csv", dtype=str, keep_default_na=False)
    theirs = {(row.variant, int(row.table)) for row in paper[paper.level != ""].itertuples()}
    assert theirs == {(name, table) for name, variant in VARIANTS.items() for table in variant.tables}


def test_the_listing_has_a_line_for_each_with_its_tables_and_what_differs(capsys):
    assert d2m_gan.main(["--list-variants"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == list(VARIANTS)
    shown = dict(zip(VARIANTS, lines, strict=True))
    assert "Table 2, 4" in shown["no_motion"] and "no motion encoder" in shown["no_motion"]
    assert "Table 3" in shown["4s"] and "windows of 4 s" in shown["4s"]
    assert (
        "fixed: no different from full, it has none" in shown["no_wav"] and "released: no different" in shown["no_mel"]
    )


def test_without_fine_tuning_the_vqvae_plays():
    layout = Layout(root=Path("root"), corpus="demo")
    assert decoder_of(layout, "low", "full") == Path("root/runs/demo/synthesizer/low/model.pt")
    assert decoder_of(layout, "low", "no_finetune") == Path("root/runs/demo/vqvae/model.pt")
    with pytest.raises(UserError, match="unknown variant 'x' of d2m_gan; known: full, no_motion"):
        decoder_of(layout, "low", "x")


def test_a_variant_may_name_its_preset():
    layout = Layout(root=Path("root"), corpus="demo")
    assert preset_of("fixed", "paper.no_mel") == preset_of("paper", "no_mel")
    assert decoder_of(layout, "low", "paper.no_finetune") == decoder_of(layout, "low", "no_finetune")
    with pytest.raises(UserError, match="unknown preset 'x' of d2m_gan; known: paper"):
        preset_of("fixed", "x.full")
    with pytest.raises(UserError, match="--preset fixed and --variant paper.full name two presets"):
        d2m_gan.main(["--corpus", "demo", "--preset", "fixed", "--variant", "paper.full"])
