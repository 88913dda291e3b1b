"""CMT: the network against its definition, and what it writes once it has learnt two pieces by heart."""

import dataclasses

import numpy as np
import pytest
import torch

from d2m_model.baselines.cmt import generation as cmt_generation
from d2m_model.baselines.cmt import net as cmt_net
from d2m_model.baselines.cmt import system as cmt
from d2m_model.baselines.cmt import tokens as cmt_tokens
from d2m_model.baselines.cmt.generation import PiecePlan, Sampling, Statistics
from d2m_model.baselines.cmt.pieces import PieceExcerpts
from d2m_model.baselines.cmt.tokens import BAR, BEAT, DENSITY, NOTE, PITCH, RHYTHM, STRENGTH, TYPE, Piece
from dataset_tools.lib.core.errors import UserError
from tests.d2m_model.baselines.cmt.test_cmt_tokens import TOKENS


def tiny_net(genres=1, **sizes):
    torch.manual_seed(0)
    return cmt_net.CmtNet(
        genres, **({"width": 32, "depth": 2, "heads": 4, "feed_forward": 64, "dropout": 0.0} | sizes)
    ).eval()


def random_tokens(count, seed=0):
    rng = np.random.default_rng(seed)
    tokens = torch.from_numpy(np.stack([rng.integers(0, n, count) for n in cmt_tokens.SIZES], -1))
    places = torch.from_numpy(np.stack([rng.integers(0, n, count) for n in cmt_net.TIMES], -1))
    return tokens[None], places[None]


def test_linear_attention_is_its_definition():
    torch.manual_seed(0)
    length = cmt_net.CHUNK * 2 + 7
    q, k, v = torch.rand(2, 3, length, 4), torch.rand(2, 3, length, 4), torch.randn(2, 3, length, 4)
    weights = (q @ k.transpose(-1, -2)).tril()
    expected = weights @ v / weights.sum(-1, keepdim=True)
    assert torch.allclose(cmt_net.linear_attention(q, k, v), expected, atol=1e-5)


def test_no_word_sees_the_future():
    net, song = tiny_net(), torch.tensor([[1, 3, 1, 0, 1, 0, 1]])
    tokens, places = random_tokens(100)
    changed = tokens.clone()
    changed[0, 70] = (changed[0, 70] + 1) % torch.tensor(cmt_tokens.SIZES)
    with torch.no_grad():
        a, b = net(song, tokens, places), net(song, changed, places)
    assert torch.equal(a[:, :71], b[:, :71])
    assert not torch.allclose(a[:, 71:], b[:, 71:], atol=1e-4)


def test_the_recurrent_form_is_the_parallel_one():
    net, song = tiny_net(), torch.tensor([[1, 3, 1, 0, 1, 0, 1], [0, 9, 0, 1, 1, 1, 1]])
    tokens, places = (torch.cat(parts) for parts in zip(random_tokens(150), random_tokens(150, 1), strict=True))
    with torch.no_grad():
        parallel = net(song, tokens, places)
        known, state = net.begin(song)
        steps = [known]
        for t in range(tokens.shape[1]):
            known, state = net.step(tokens[:, t], places[:, t], state)
            steps.append(known)
    assert torch.allclose(torch.stack(steps, 1), parallel, atol=1e-4)
    assert {part.shape for part in state[0]} == {(2, 4, 8, 8), (2, 4, 8)}


def test_the_published_sizes_are_the_default():
    net = cmt_net.CmtNet(1)
    assert (
        len(net.blocks) == 12
        and net.sizes["width"] == 512
        and net.blocks[0].heads == 8
        and net.blocks[0].feed[0].out_features == 2048
    )
    tables = [table.weight.shape for table in (*net.attributes, *net.places)]
    assert [n for n, _ in tables] == [18, 3, 18, 129, 18, 6, 20, 102, 5025]
    assert [wide for _, wide in tables[:7]] == [64, 32, 64, 512, 128, 32, 64]


def test_losses_ignore_what_is_padded():
    net, song = tiny_net(), torch.tensor([[1, 1, 1, 0, 0, 0, 0]])
    tokens = torch.tensor(TOKENS)[None]
    places = torch.from_numpy(cmt_generation.places_of(cmt_tokens.bar_and_tick(tokens[0].numpy()), 2))[None]
    longer = [torch.nn.functional.pad(part, (0, 0, 0, 5)) for part in (tokens, places)]
    with torch.no_grad():
        a, b = cmt_net.losses(net, song, tokens, places), cmt_net.losses(net, song, *longer)
    assert set(a) == {"type", "beat", "density", "pitch", "duration", "instrument", "strength"}
    assert all(float(a[name]) == pytest.approx(float(b[name]), abs=1e-5) for name in a)


def test_nucleus_keeps_the_likeliest_that_reach_its_share():
    scores = np.log([0.5, 0.3, 0.15, 0.05])
    everything = np.ones(4, bool)

    def drawn(share, temperature=1.0, allowed=everything):
        return {
            cmt_generation.nucleus(scores, allowed, temperature, share, luck) for luck in np.linspace(0, 1 - 1e-9, 400)
        }

    assert drawn(0.5) == {0} and drawn(0.8) == {0, 1} and drawn(0.9) == {0, 1, 2} and drawn(1.0) == {0, 1, 2, 3}
    assert drawn(0.9, temperature=0.1) == {0}
    assert drawn(1.0, allowed=np.array([False, True, False, True])) == {1, 3}
    lucks = [cmt_generation.nucleus(scores, everything, 1.0, 1.0, luck) for luck in np.linspace(0, 1 - 1e-9, 2000)]
    assert np.bincount(lucks) / 2000 == pytest.approx([0.5, 0.3, 0.15, 0.05], abs=0.01)


def sparse_and_dense():
    """A piece whose bars have 2 ticks struck, and one whose bars have 12; four bars each."""
    pieces = []
    for every in ((0, 8), (0, 1, 2, 4, 5, 6, 8, 9, 10, 12, 13, 14)):
        tokens = []
        for _ in range(4):
            tokens.append(cmt_tokens.bar_token(len(every)))
            for tick in every:
                tokens += [cmt_tokens.tick_token(tick, 1), cmt_tokens.note_token(60 + tick % 4, 2, 1)]
        pieces.append(Piece(np.array(tokens, np.uint8), "", 1, (False, True, False, False, False)))
    return pieces


@pytest.fixture(scope="module")
def trained():
    """A small network that has learnt both pieces by heart, and its last losses."""
    torch.set_num_threads(1)
    params = cmt.Params(width=32, depth=2, heads=4, feed_forward=64, dropout=0.0, steps=1, batch=8, learning_rate=1e-2)
    torch.manual_seed(0)
    data = PieceExcerpts(sparse_and_dense(), (), bars=4, tokens=256, seed=0)
    task = cmt.CmtTask(data, 0, params, torch.device("cpu"))
    for number in range(240):
        terms = task.step(number, lambda *_: None)
    return task.net.eval(), {name: float(term.detach()) for name, term in terms.items()}, data.songs[0]


def test_two_pieces_are_learnt_by_heart(trained):
    _, losses, _ = trained
    assert losses["pitch"] < 0.1 and losses["type"] < 0.1 and losses["beat"] < 0.3, losses


def write(net, song, densities, strengths=None, seed=0, **sampling):
    rng = np.random.default_rng(seed)
    return cmt_generation.write_tokens(net, song, PiecePlan(densities, strengths or {}), Sampling(**sampling), rng)


def test_density_controls_the_number_of_notes(trained):
    """One network, one seed: only the density that its bars are told differs."""
    net, _, song = trained

    def notes(density, control):
        return int((write(net, song, [density] * 3, control=control, beat_temperature=1.0)[:, TYPE] == NOTE).sum())

    assert notes(2, 1.0) <= 10 and notes(12, 1.0) >= 24
    assert notes(2, 0.0) == notes(12, 0.0)


def test_what_is_learnt_by_heart_is_played(trained):
    net, _, song = trained
    tokens = write(net, song, [2, 2, 2], control=1.0, nucleus=0.2)
    assert tokens.tolist() == sparse_and_dense()[0].tokens[:15].tolist()


def test_visual_beats_are_struck_with_their_strength(trained):
    net, _, song = trained
    strengths = {3: 3, 7: 1, 31: 2, 43: 4}  # never struck in what was learnt
    tokens = write(net, song, [2, 2, 2], strengths, control=1.0)
    at = cmt_tokens.bar_and_tick(tokens)
    ticks = {int(t): int(w[STRENGTH]) for t, w in zip(at, tokens, strict=True) if w[TYPE] == RHYTHM and w[BEAT] != BAR}
    assert strengths.items() <= ticks.items()
    free = write(net, song, [2, 2, 2], strengths, control=0.0, nucleus=0.2)
    assert set(strengths).isdisjoint(cmt_tokens.bar_and_tick(free)[free[:, TYPE] == NOTE].tolist())


def test_untrained_tokens_still_make_sense():
    """Whatever the scores: bars as asked for, ticks that ascend, each with a note, only the song's instruments."""
    net = tiny_net(width=16)
    tokens = write(net, torch.tensor([0, 0, 1, 0, 0, 1, 0]), [3, 0, 16], {5: 2}, seed=4)
    assert (tokens[:, BEAT] == BAR).sum() == 3 and tokens[0, BEAT] == BAR
    assert (tokens.max(axis=0) < np.array(cmt_tokens.SIZES)).all()
    bars = np.flatnonzero(tokens[:, BEAT] == BAR)
    for part in np.split(tokens, bars[1:]):
        ticks = part[(part[:, TYPE] == RHYTHM)][1:, BEAT].astype(int)
        assert (np.diff(ticks) > 0).all()
    struck = np.flatnonzero((tokens[:, TYPE] == RHYTHM) & (tokens[:, BEAT] != BAR))
    assert (tokens[struck + 1, TYPE] == NOTE).all()
    assert set(tokens[tokens[:, TYPE] == NOTE, cmt_tokens.INSTRUMENT]) <= {1, 4}
    assert (tokens[tokens[:, TYPE] == NOTE, PITCH] > 0).all() and (tokens[bars, DENSITY] > 0).all()


def test_a_seed_decides_the_tokens(trained):
    net, _, song = trained
    wild = {"nucleus": 1.0, "beat_temperature": 3.0}
    first, again, other = (write(net, song, [6, 6], {4: 2}, seed=seed, **wild) for seed in (1, 1, 2))
    assert np.array_equal(first, again) and not np.array_equal(first, other)


def test_excerpts_are_whole_bars_with_their_places():
    data = PieceExcerpts(sparse_and_dense(), (), bars=2, tokens=256, seed=3)
    songs, tokens, places = data.batch(0, 12)
    assert songs.tolist() == [[0, 1, 0, 1, 0, 0, 0]] * 12
    for row, place in zip(tokens, places, strict=True):
        real = row[row[:, TYPE] > 0]
        assert real[0, BEAT] == BAR and (real[:, BEAT] == BAR).sum() in (1, 2) and len(real) in (5, 10, 25, 50)
        assert place[0].tolist() == [1, 1] and not place[len(real) :].any()
    assert all(torch.equal(a, b) for a, b in zip(data.batch(0, 12), (songs, tokens, places), strict=True))
    assert not torch.equal(data.batch(1, 12)[1], tokens)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("control", 1.5),
        ("tempo", 20.0),
        ("nucleus", 0.0),
        ("width", 30),
        ("tokens", 2),
        ("dropout", 1.0),
        ("learning_rate", 0.0),
    ],
)
def test_parameters_out_of_range_are_refused(name, value):
    with pytest.raises(ValueError, match=name):
        dataclasses.replace(cmt.Params(), **{name: value})


def test_a_model_file_of_another_shape_is_refused(tmp_path, trained):
    net, _, songs = trained
    sizes = net.sizes | {"width": 64}
    state = {"net": net.state_dict(), "songs": songs[None]} | {name: torch.zeros(3) for name in Statistics._fields}
    cmt.checkpoint.save(tmp_path / "model.pt", cmt.KIND, cmt.VERSION, state, {"sizes": sizes, "genres": []})
    with pytest.raises(UserError, match="model.pt"):
        cmt.load(tmp_path / "model.pt", cmt.Params())
