"""The masked prior of `benchmarks.masked_prior`: what it sees, how many codes stay hidden, what is kept."""

import json
import math
import sys

import pytest
import torch

from benchmarks import masked_prior
from benchmarks.masked_prior import MaskedDraw, MaskedNet, MaskedTask, hidden_after, masked_sample, selection_score
from d2m_model.demo.train_prior import params_of
from d2m_model.prior.data import MusicExcerpts
from d2m_model.prior.net import RHYTHM, PriorNet, PriorSizes

SIZES = PriorSizes(bins=8, patch=4, width=16, depth=2, heads=2, context=6, local_width=16, embedding=4, style=4)


@pytest.fixture
def net():
    torch.manual_seed(0)
    return MaskedNet(SIZES).eval()


def test_a_code_is_seen_from_either_side_and_a_hidden_one_from_none(net):
    codes, rhythm, shown = torch.randint(8, (1, 24)), torch.randn(1, 24, RHYTHM), torch.tensor([True])
    condition = net.condition(rhythm, torch.zeros(1, 4))
    before = net(codes, rhythm, condition, shown)
    last = codes.clone()
    last[0, 23] = (last[0, 23] + 1) % 8
    assert not torch.allclose(net(last, rhythm, condition, shown)[0, 0], before[0, 0])
    at = torch.zeros(1, 24, dtype=torch.bool)
    at[0, [3, 20]] = True
    assert torch.allclose(net(codes, rhythm, condition, shown, at), before[0, [3, 20]], atol=1e-6)


def test_it_is_as_large_as_the_causal_one(net):
    count = lambda net: sum(p.numel() for p in net.parameters())
    assert count(net) == count(PriorNet(SIZES))


def test_its_loss_is_of_hidden_codes_alone(net):
    """A network that scores all codes equally is at log 8, whatever is hidden; ends of short pieces (-1) never are."""
    torch.nn.init.zeros_(net.within.head.weight)
    torch.nn.init.zeros_(net.within.head.bias)
    codes = torch.randint(8, (2, 24))
    codes[1, 12:] = -1
    excerpts = MusicExcerpts(torch.full((2, 8), 8), codes, torch.randn(2, 24, RHYTHM), torch.randint(8, (2, 64)), None)
    loss = MaskedTask(net, None, params_of("high", 1), torch.device("cpu")).loss(
        excerpts, torch.ones(2, 2, dtype=torch.bool)
    )
    assert float(loss.detach()) == pytest.approx(math.log(8), abs=0.02)


def test_what_is_hidden_follows_a_cosine_to_nothing():
    assert [hidden_after(k, 3, 100) for k in range(3)] == [86, 50, 0]
    assert [hidden_after(k, 1, 7) for k in range(1)] == [0]


@pytest.mark.parametrize("length", [3, 24, 41])
@pytest.mark.parametrize("guidance", [1.0, 2.0])
def test_any_length_is_drawn_whole_and_again(net, length, guidance):
    rhythm, draw = torch.randn(length, RHYTHM), MaskedDraw(passes=3, guidance=guidance)
    made = [masked_sample(net, rhythm, torch.zeros(4), draw, torch.Generator().manual_seed(seed)) for seed in (0, 0, 1)]
    assert made[0].shape == (length,) and made[0].max() < 8 and torch.equal(made[0], made[1])
    assert length == 3 or not torch.equal(made[0], made[2])


def test_a_longer_piece_begins_as_a_shorter_one(net):
    rhythm, style = torch.randn(36, RHYTHM), torch.zeros(4)
    short, long = (
        masked_sample(net, rhythm[:n], style, MaskedDraw(passes=3), torch.Generator().manual_seed(0)) for n in (24, 36)
    )
    assert torch.equal(long[:24], short)


def test_another_draw_is_scored_beside_the_chosen_one(tmp_path, monkeypatch):
    monkeypatch.setattr(masked_prior, "test_clips", lambda _: None)
    monkeypatch.setattr(masked_prior, "score_draw", lambda kind, draw, *_: [kind, draw.guidance, draw.noise])
    (tmp_path / "masked.json").write_text('{"steps": 9}')
    out = tmp_path / "found.json"
    out.write_text('{"masked": {"test clips": ["chosen"], "test clips, other draws": ["before"]}}')
    monkeypatch.setattr(
        sys, "argv", ["masked_prior", "score", "--draw", "2", "3", "--keep", str(tmp_path), "--out", str(out)]
    )
    masked_prior.main()
    assert json.loads(out.read_text()) == {
        "masked": {"test clips": ["chosen"], "test clips, other draws": ["before", ["masked", 2.0, 3.0]], "steps": 9}
    }


def test_a_tenth_of_p4_is_worth_a_fad_of_one():
    assert selection_score({"P4": 0.5, "FAD": 3.0}) == pytest.approx(selection_score({"P4": 0.4, "FAD": 2.0}))
