"""The three presets of D2M-GAN and the variants of each: what differs between them, as data.

The network that they name is `nets/dance_to_codes.py`.

`paper` is Tables 7 to 11 and Eq. 2 to 8 as printed, `released` the authors' published program, `fixed` what we ship.
A variant (nets/variants.py) is a preset plus the few lines that differ.
"""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field

from d2m_model.nets.variants import variant_of
from dataset_tools.lib.core.errors import UserError


@dataclass(frozen=True, kw_only=True)
class LossWeights:
    """λ of each term of the generator's objective (Eq. 8)."""

    adversarial: float = 1.0
    feature: float = 3.0
    latent: float = 0.0
    """L1 to the encoder's continuous output; only the released program has it."""
    code: float = 15.0
    wave: float = 40.0
    mel: float = 15.0


@dataclass(frozen=True, kw_only=True)
class Preset:
    """What a preset is made of."""

    name: str
    weights: LossWeights = field(default_factory=LossWeights)
    motion: bool = True
    visual: bool = True
    encoder: str = "paper"
    """Motion encoder: 'paper' (Table 7: one value a frame), 'released' (frames as channels: one vector), or 'temporal' (a
    vector for each frame)."""
    generator: str = "paper"
    """Code generator: 'paper', 'released' (both unfold one vector into time by a Linear), or 'temporal' (frames become
    codes in place)."""
    features: str = "coordinates"
    """What the encoder reads of the motion: its 'coordinates', as published, or 'body': without place and size, with
    velocities (nets/motion_features.py)."""
    codebook_init: bool = False
    """Begins the generator where the codebook's entries lie and are likely: its output is given their mean and spread,
    the logits their prior and a sharpness that is learnt."""
    scaled: bool = True
    """The generator's tanh is scaled by σ = 100; of a placed one, its output is given the codebook's mean and spread."""
    code_loss: str = "l1"
    """'l1' to the ground truth's codebook entries (Eq. 4), or 'cross_entropy' over distances to all entries."""
    straight_through: bool = True
    """Do the wave and mel losses reach the generator through the codebook lookup?"""
    discriminate_entries: bool = False
    """Do the discriminators see what will be decoded (`look_up`: entries, or their soft mean), or the continuous codes,
    which they can tell from real ones by not being entries?"""
    soft_lookup: bool = False
    """What is decoded: the likeliest entries, or the mean of all entries weighted by their probabilities. Where the
    music's phase and chords can't be known from the dance, the likeliest entry is mostly the commonest one, and its
    beats are lost; the mean keeps them."""
    temperatures: Mapping[str, float] = field(default_factory=dict)
    """Level -> temperature of that mean's weights where music is made; 1 where none is given, as in training. Chosen on the
    demo's training clips (benchmarks/lookup_temperature.py): a mean of few entries sounds more like music."""
    code_order: str = "time"
    """How (B, 64, L) codes become one channel for the discriminators: 'time' (entry after entry), 'channel' (the
    released program's: all times of channel 0, then of channel 1, ...), or 'none' (64 channels, no reshape)."""
    balanced: bool = False
    """Is a λ the share of a term in the gradient at the codes (see training/balance.py) or, as published, the factor of
    its value?"""
    discriminator: str = "paper"
    """Sizes: 'paper' or 'released'."""
    scales: int = 3
    """Number k of discriminators."""


PRESETS = {
    "paper": Preset(name="paper"),
    "released": Preset(
        name="released", encoder="released", generator="released", weights=LossWeights(latent=5.0, code=8.0),
        straight_through=False, code_order="channel", discriminator="released",
    ),
    "fixed": Preset(
        name="fixed", encoder="temporal", generator="temporal", features="body", codebook_init=True,
        weights=LossWeights(adversarial=0.02, feature=0.02, code=1.0, wave=0.0, mel=0.01), balanced=True,
        code_loss="cross_entropy", discriminate_entries=True, soft_lookup=True,
        temperatures={"high": 0.25},
    ),
}  # fmt: skip


def preset_of(name: str, variant: str = "full") -> Preset:
    """The preset `name`, or the one that `variant` names (`paper.no_mel`), with the lines of that variant. Raises UserError
    for an unknown one of either."""
    name = variant.partition(".")[0] if "." in variant else name
    if name not in PRESETS:
        raise UserError(f"unknown preset '{name}' of d2m_gan; known: {', '.join(PRESETS)}")
    preset, lines = PRESETS[name], variant_of(variant)
    return dataclasses.replace(preset, weights=dataclasses.replace(preset.weights, **lines.weights), **lines.change)
