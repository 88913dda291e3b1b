"""The trainings that look for what makes a model learn: each changes one thing, and every mixture makes codes."""

import dataclasses

import pytest
import torch

from benchmarks.learning_design import CAUSES, GROUPS, PARTS, PRINTED, causes, moved, presets
from d2m_model.d2m_gan import Params
from d2m_model.nets.presets import PRESETS, DanceToCodes, Preset

FIELDS = [f.name for f in dataclasses.fields(Preset)]


def differing(a: Preset, b: Preset) -> set[str]:
    return {name for name in FIELDS if getattr(a, name) != getattr(b, name)}


def test_the_causes_are_all_that_paper_and_fixed_differ_in_each_field_once():
    taken = [name for cause in CAUSES.values() for name in cause]
    assert len(taken) == len(set(taken))
    assert set(taken) | {"name"} == differing(PRESETS["paper"], PRESETS["fixed"])
    assert sorted(cause for group in GROUPS.values() for cause in group) == sorted(CAUSES)
    assert dataclasses.replace(moved("paper", list(CAUSES)), name="fixed") == PRESETS["fixed"]
    assert dataclasses.replace(moved("fixed", list(CAUSES)), name="paper") == PRESETS["paper"]


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
        assert sum(getattr(row, f.name) != getattr(kin, f.name) for f in dataclasses.fields(row) if f.name != "name") == 1, name
    assert dataclasses.asdict(dataclasses.replace(Params(), **PRINTED)).items() >= PRINTED.items()


def test_names_are_unique_over_all_parts():
    names = [row.name for part in PARTS.values() for row in part()]
    assert len(names) == len(set(names))
    assert all(row.part == part for part, rows in PARTS.items() for row in rows())
    assert {(r.level, r.preset.name) for r in presets()} == {(level, name) for level in ("high", "low") for name in PRESETS}


@pytest.mark.parametrize("row", causes(), ids=lambda row: row.name)
def test_every_mixture_makes_codes_that_its_losses_can_reach(row):
    torch.manual_seed(0)
    book = 2 * torch.randn(16, 64)
    net = DanceToCodes(row.preset, row.level, frames=60, joints=17, width=0.05, codebook=book)
    dance, visual = torch.rand(2, 60, 17, 3) * 200, torch.rand(2, 2048)
    codes = net(dance, (204, 360), visual)
    assert codes.shape == (2, 64, net.code_count(60))
    net.look_up(codes, book).square().sum().backward()
    reached = [p.grad is not None and p.grad.abs().sum() > 0 for p in net.motion_encoder.parameters()]
    assert any(reached) and torch.isfinite(codes).all()
