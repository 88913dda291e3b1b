"""The trainings of what_makes_it_learn.py, as data: what each changes in a preset, the optimizer, the data or the level."""

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from d2m_model.nets.presets import PRESETS, Preset

CAUSES: Mapping[str, tuple[str, ...]] = {
    "motion features": ("features",),
    "motion encoder": ("encoder",),
    "generator": ("generator",),
    "placing": ("codebook_init",),
    "lookup": ("soft_lookup", "temperatures"),
    "discriminator": ("discriminate_entries",),
    "code loss": ("code_loss",),
    "loss weights": ("weights", "balanced"),
}
"""Cause -> the fields of `Preset` that change it from `paper` to `fixed`; together these are all fields that differ."""
GROUPS: Mapping[str, tuple[str, ...]] = {
    "nets": ("motion features", "motion encoder", "generator"),
    "entries": ("placing", "lookup", "discriminator"),
    "objective": ("code loss", "loss weights"),
}
"""The causes in three groups: the networks, how their output is related to the codebook, and the training objective."""
PRINTED: Mapping[str, Any] = {
    "learning_rate": 1e-4, "discriminator_learning_rate": 1e-4, "betas": (0.5, 0.9), "warm_up": 0, "final_rate": 1.0, "gradient_norm": 0.0,
}  # fmt: skip
"""Adam as the paper prints it: fields of the section `d2m_gan`."""
RATES: Mapping[str, tuple[float, ...]] = {"paper": (3e-4, 1e-3, 5e-3), "released": (3e-4, 1e-3)}
"""Further learning rates for the published presets, besides those of params.yaml and of the paper."""


def at(rate: float) -> dict[str, float]:
    """Fields of `d2m_gan` for a learning rate; that of the discriminators is a quarter of it, as in presets/demo.yaml."""
    return {"learning_rate": rate, "discriminator_learning_rate": rate / 4}


@dataclass(frozen=True, kw_only=True)
class VariantRow:
    """One training; its seed is chosen later."""

    name: str
    part: str
    """Part of the table: 'causes' (scored on songs held out of the training split) or 'presets' (scored on the test split)."""
    preset: Preset
    level: str = "high"
    optimiser: Mapping[str, Any] = field(default_factory=dict)
    """Fields of the section `d2m_gan` that differ from params.yaml."""
    songs: float = 1.0
    """Share of the songs that are trained on."""


def swap_causes(start: str, causes: Sequence[str]) -> Preset:
    """The preset `start`, 'paper' or 'fixed', with the fields of these causes from the other preset; it keeps its name."""
    other = PRESETS["fixed" if start == "paper" else "paper"]
    return dataclasses.replace(
        PRESETS[start], **{name: getattr(other, name) for cause in causes for name in CAUSES[cause]}
    )


def causes() -> list[VariantRow]:
    """One cause changed at a time, starting from either preset; all combinations of the three groups; and changes outside of the
    presets."""
    row = lambda name, preset, **more: VariantRow(name=name, part="causes", preset=preset, **more)
    causes_of = lambda *groups: [cause for group in groups for cause in GROUPS[group]]
    printed = {"optimiser": PRINTED}
    return [
        row("fixed", PRESETS["fixed"]),
        row("paper", PRESETS["paper"]),
        row("paper + nets", swap_causes("paper", causes_of("nets"))),
        row("paper + nets + objective", swap_causes("paper", causes_of("nets", "objective"))),
        row("paper + nets + entries", swap_causes("paper", causes_of("nets", "entries"))),
        row("paper + objective + entries", swap_causes("paper", causes_of("objective", "entries"))),
        row("paper + objective", swap_causes("paper", causes_of("objective"))),
        row("paper + entries", swap_causes("paper", causes_of("entries"))),
        *(row(f"fixed, paper's {cause}", swap_causes("fixed", [cause])) for cause in CAUSES),
        row("fixed, frames as channels", dataclasses.replace(PRESETS["fixed"], encoder="released")),
        row("fixed, half of the songs", PRESETS["fixed"], songs=0.5),
        row("fixed, hop 32", PRESETS["fixed"], level="low"),
        row("fixed, printed optimiser", PRESETS["fixed"], **printed),
        row("paper, printed optimiser", PRESETS["paper"], **printed),
        *(row(f"paper, fixed's {cause}", swap_causes("paper", [cause])) for cause in CAUSES),
        row("released", PRESETS["released"]),
        row("released, printed optimiser", PRESETS["released"], **printed),
        *(
            row(f"{name}, learning rate {rate:g}", PRESETS[name], optimiser=at(rate))
            for name, rates in RATES.items()
            for rate in rates
        ),
    ]


def presets() -> list[VariantRow]:
    """The three presets, unchanged, at both levels, on the corpus's own split."""
    names = ("fixed", "paper", "released")
    return [
        VariantRow(name=f"{level}-{name}", part="presets", preset=PRESETS[name], level=level)
        for level in ("high", "low")
        for name in names
    ]


PARTS = {"causes": causes, "presets": presets}
