"""The three presets of D2M-GAN, as data: they configure `nets/dance_to_codes.py` and weigh the terms of `losses/gan_terms.py`.

`paper` is Tables 7 to 11 and Eq. 2 to 8 as printed. `released` is the authors' published program. `fixed` is this project's own.
A variant (nets/variants.py) is a preset with a few fields changed.
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
    """L1 distance to the encoder's continuous output; only the released program has it."""
    code: float = 15.0
    wave: float = 40.0
    mel: float = 15.0


@dataclass(frozen=True, kw_only=True)
class Preset:
    """One preset."""

    name: str
    weights: LossWeights = field(default_factory=LossWeights)
    motion: bool = True
    visual: bool = True
    encoder: str = "paper"
    """Motion encoder: 'paper' (Table 7: one value per frame), 'released' (frames as channels: one vector), or 'temporal' (one
    vector per frame)."""
    generator: str = "paper"
    """Code generator: 'paper' or 'released' (a Linear maps one vector to a sequence), or 'temporal' (the sequence of frames is
    resampled to the code rate)."""
    features: str = "coordinates"
    """Input of the motion encoder: 'coordinates', as published, or 'body': without position and size, with velocities
    (nets/motion_features.py)."""
    codebook_init: bool = False
    """Initialise the generator from the codebook: its output is scaled to the mean and spread of the entries, and its logits
    get the entries' frequencies as a prior and a learned sharpness."""
    scaled: bool = True
    """Scale the generator's tanh by σ = 100 or, with codebook_init, its output to the mean and spread of the codebook."""
    code_loss: str = "l1"
    """'l1' to the codebook entries of the real music (Eq. 4), or 'cross_entropy' over the distances to all entries."""
    straight_through: bool = True
    """Whether the gradients of the wave and mel losses reach the generator through the codebook lookup."""
    discriminate_entries: bool = False
    """Whether the discriminators read the decoder's input (`look_up`: entries, or their soft mean) or the continuous codes,
    which they can tell from real ones because they are no entries."""
    soft_lookup: bool = False
    """Decode the mean of all entries, weighted by their probabilities, instead of the likeliest entry. The dance does not
    determine the music's phase and chords, so the likeliest entry is mostly the commonest one, and beats are lost; the mean
    keeps them."""
    temperatures: Mapping[str, float] = field(default_factory=dict)
    """Level -> softmax temperature of the soft lookup when music is generated; 1 by default, as in training. Chosen on the
    demo's training clips (benchmarks/lookup_temperature.py): a mean of fewer entries sounds more like music."""
    code_order: str = "time"
    """How codes (B, 64, L) become one channel for the discriminators: 'time' (entry after entry), 'channel' (as in the
    released program: all times of channel 0, then of channel 1, ...), or 'none' (64 channels, no reshape)."""
    balanced: bool = False
    """Whether a λ is the share of its term in the gradient at the codes (training/balance.py) or, as published, the factor of
    the term's value."""
    discriminator: str = "paper"
    """Sizes of the discriminators: 'paper' or 'released'."""
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
    """The preset `name`, or the one that `variant` names (`paper.no_mel`), with the changes of that variant. Raises UserError
    for an unknown preset or variant."""
    name = variant.partition(".")[0] if "." in variant else name
    if name not in PRESETS:
        raise UserError(f"unknown preset '{name}' of d2m_gan; known: {', '.join(PRESETS)}")
    preset, lines = PRESETS[name], variant_of(variant)
    return dataclasses.replace(preset, weights=dataclasses.replace(preset.weights, **lines.weights), **lines.change)
