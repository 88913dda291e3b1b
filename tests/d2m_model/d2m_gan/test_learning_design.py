"""The trainings that look for what makes a model learn: each changes one thing, every mixture makes codes, and what the
table says of several seeds."""

import dataclasses

import pytest
import torch

from benchmarks.learning_design import CAUSES, GROUPS, PARTS, PRINTED, RATES, at, causes, presets, swap_causes
from benchmarks.learning_tables import as_table, over_seeds, paired
from d2m_model.d2m_gan.params import Params
from d2m_model.nets.dance_to_codes import DanceToCodes
from d2m_model.nets.presets import PRESETS, Preset

FIELDS = [f.name for f in dataclasses.fields(Preset)]
MIXTURES = {repr((row.preset, row.level)): row for row in reversed(causes())}  # the first row of each


def differing(a: Preset, b: Preset) -> set[str]:
    return {name for name in FIELDS if getattr(a, name) != getattr(b, name)}


def test_the_causes_are_all_that_paper_and_fixed_differ_in_each_field_once():
    taken = [name for cause in CAUSES.values() for name in cause]
    assert len(taken) == len(set(taken))
    assert set(taken) | {"name"} == differing(PRESETS["paper"], PRESETS["fixed"])
    assert sorted(cause for group in GROUPS.values() for cause in group) == sorted(CAUSES)
    assert dataclasses.replace(swap_causes("paper", list(CAUSES)), name="fixed") == PRESETS["fixed"]
    assert dataclasses.replace(swap_causes("fixed", list(CAUSES)), name="paper") == PRESETS["paper"]


@pytest.mark.parametrize("start", ["paper", "fixed"])
def test_one_cause_is_changed_at_a_time_from_either_end(start):
    rows = {r.name: r for r in causes()}
    other = "fixed" if start == "paper" else "paper"
    for cause, names in CAUSES.items():
        row = rows[f"{start}, {other}'s {cause}"]
        assert differing(row.preset, PRESETS[start]) == set(names)
        assert not row.optimiser and row.songs == 1 and row.level == "high"


def test_other_rows_change_one_thing_that_is_no_cause():
    start = {r.name: r for r in causes()}
    for name, row in start.items():
        if name in PRESETS or "'s " in name or "+" in name:
            continue
        kin = start[name.split(",")[0]]
        assert (
            sum(getattr(row, f.name) != getattr(kin, f.name) for f in dataclasses.fields(row) if f.name != "name") == 1
        ), name
    for optimiser in (PRINTED, *(at(rate) for rates in RATES.values() for rate in rates)):
        assert dataclasses.asdict(dataclasses.replace(Params(), **optimiser)).items() >= optimiser.items()


def test_names_are_unique_over_all_parts():
    names = [row.name for part in PARTS.values() for row in part()]
    assert len(names) == len(set(names))
    assert all(row.part == part for part, rows in PARTS.items() for row in rows())
    assert {(r.level, r.preset.name) for r in presets()} == {
        (level, name) for level in ("high", "low") for name in PRESETS
    }


@pytest.mark.parametrize("row", MIXTURES.values(), ids=lambda row: row.name)
def test_every_mixture_makes_codes_that_its_losses_can_reach(row):
    torch.manual_seed(0)
    book = 2 * torch.randn(16, 64)
    net = DanceToCodes(row.preset, row.level, frames=24, joints=5, width=0.02, codebook=book)
    dance, visual = torch.rand(2, 24, 5, 3) * 200, torch.rand(2, 2048)
    codes = net(dance, (204, 360), visual)
    assert codes.shape == (2, 64, net.code_count(24))
    net.look_up(codes, book).square().sum().backward()
    reached = [p.grad is not None and p.grad.abs().sum() > 0 for p in net.motion_encoder.parameters()]
    assert any(reached) and torch.isfinite(codes).all()


def training(name: str, seed: int, beats: float) -> dict:
    score = {
        "beats": beats,
        "beats_low": beats - 0.1,
        "beats_high": beats + 0.1,
        "onsets": 0.0,
        "onsets_low": -0.1,
        "onsets_high": 0.1,
    }
    score |= {"onsets_a_clip": 22.0, "motion_share": 0.5, "fad": 24.0}
    return {"row": name, "seed": seed, "level": "high", "steps": 80, "batch": 8, **score}


def test_seeds_come_as_their_mean_and_range_and_differences_in_pairs():
    assert over_seeds([0.3, 0.1]) == "+0.200 (+0.100 to +0.300)" and over_seeds([0.3]) == "+0.300"
    mean, half = paired({0: 1.0, 1: 3.0, 2: 6.0, 9: 5.0}, {2: 3.0, 1: 1.0, 0: 0.0})
    assert mean == 2 and half == pytest.approx(
        4.303 / 3**0.5, abs=1e-3
    )  # differences 1, 2, 3; t of 2 degrees of freedom
    assert paired({0: 1.0, 1: 2.0, 2: 3.0}, {0: 1.0, 1: 2.0}) is None  # two pairs tell too little

    rows = [
        *(training("fixed", s, 0.3) for s in range(3)),
        *(training("fixed, half", s, 0.1 + 0.01 * s) for s in range(3)),
    ]
    start, half, single = as_table([*rows, training("fixed, new", 0, 0.5)]).splitlines()[2:]
    assert start.startswith("| fixed | high | 80 × 8 | 3 | +0.300 (+0.300 to +0.300) |") and start.endswith("|  |  |")
    assert (
        half.startswith("| fixed, half | high | 80 × 8 | 3 | +0.110 (+0.100 to +0.120) |")
        and "| -0.190 ± 0.025 |" in half
    )
    assert single.startswith("| fixed, new | high | 80 × 8 | 1 | +0.500 [+0.400, +0.600] |") and single.endswith(
        "|  |  |"
    )
