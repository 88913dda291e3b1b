"""The variants of the paper's Tables 2 to 6: which fields of a preset each changes, and what that means.

A name is `<variant>`, such as `no_mel`, for the preset in params.yaml, or `<preset>.<variant>`, such as `paper.no_mel`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from dataset_tools.lib.core.errors import UserError

PRIOR = "prior"
"""The name of a model that is the prior and no variant of D2M-GAN."""


@dataclass(frozen=True, kw_only=True)
class Variant:
    """A preset with a few fields changed."""

    tables: tuple[int, ...]
    """The paper's tables that show it."""
    differs: str
    """How it differs from the variant `full`."""
    change: Mapping[str, Any] = field(default_factory=dict)
    """Changed fields of `Preset`."""
    weights: Mapping[str, float] = field(default_factory=dict)
    """Changed fields of `LossWeights`."""
    seconds: int | None = None
    """Length of a training window, overriding d2m_gan.seconds of params.yaml."""
    fine_tuned: bool = True
    """Whether the synthesizer's fine-tuned decoder plays the codes, or the VQ-VAE's own."""
    notes: Mapping[str, str] = field(default_factory=dict)
    """Preset -> what is special about the variant in this preset."""
    same: Mapping[str, str] = field(default_factory=dict)
    """Preset -> why the variant is identical to `full` in this preset."""


SILENT = "its losses on decoded audio have no gradient"
VARIANTS: dict[str, Variant] = {
    "full": Variant(tables=(1, 2, 3, 4, 5, 6), differs="the preset as it is"),
    "no_motion": Variant(tables=(2, 4), differs="no motion encoder: the visual feature alone", change={"motion": False}),
    "no_visual": Variant(tables=(2, 4), differs="no visual feature: the motion alone", change={"visual": False}),
    "3s": Variant(tables=(3,), differs="windows of 3 s, whatever d2m_gan.seconds says", seconds=3),
    "4s": Variant(tables=(3,), differs="windows of 4 s, whatever d2m_gan.seconds says", seconds=4),
    "d1": Variant(tables=(5,), differs="one discriminator, on the codes at full rate", change={"scales": 1}),
    "d2": Variant(tables=(5,), differs="two discriminators", change={"scales": 2}),
    "no_scaling": Variant(
        tables=(5,), differs="codes within ±1: the tanh is not scaled by 100", change={"scaled": False},
        notes={"fixed": "it has no tanh; its codes are not brought to the place and spread of the codebook"},
    ),
    "no_reshape": Variant(
        tables=(5,), differs="discriminators read 64 channels, not one long sequence", change={"code_order": "none"},
    ),
    "no_finetune": Variant(
        tables=(5,), differs="heard through the VQ-VAE's own decoder, not the fine-tuned one", fine_tuned=False,
        notes={"released": f"only what is played differs: {SILENT}"},
    ),
    "no_fm": Variant(tables=(6,), differs="no feature-matching loss", weights={"feature": 0.0}),
    "no_wav": Variant(
        tables=(6,), differs="no waveform loss", weights={"wave": 0.0}, same={"released": SILENT, "fixed": "it has none"},
    ),
    "no_mel": Variant(tables=(6,), differs="no mel-spectrogram loss", weights={"mel": 0.0}, same={"released": SILENT}),
}  # fmt: skip


def variant_of(name: str) -> Variant:
    """The variant of a name, with or without a preset. Raises UserError, with the known names, for an unknown one."""
    variant = name.partition(".")[2] or name
    if variant not in VARIANTS:
        raise UserError(f"unknown variant '{variant}' of d2m_gan; known: {', '.join(VARIANTS)}")
    return VARIANTS[variant]


def listing() -> str:
    """The variants, one per line: name, tables, difference from `full`, and what is special in some preset."""
    lines = []
    for name, variant in VARIANTS.items():
        tables = "Table " + ", ".join(map(str, variant.tables)) if len(variant.tables) < 6 else "Tables 1 to 6"
        parts = [variant.differs]
        parts += [f"{preset}: {note}" for preset, note in variant.notes.items()]
        parts += [f"{preset}: no different from full, {reason}" for preset, reason in variant.same.items()]
        lines.append(f"{name:12s} {tables:14s} {'; '.join(parts)}")
    return "\n".join(lines)
