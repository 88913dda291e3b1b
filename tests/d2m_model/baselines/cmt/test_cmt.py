"""CMT: tokens, the rhythm of videos, the network, and what it writes, on pieces and motions that are known."""

import dataclasses

import numpy as np
import pytest
import torch

from d2m_model.baselines.cmt import generation as cmt_generation
from d2m_model.baselines.cmt import net as cmt_net
from d2m_model.baselines.cmt import system as cmt
from d2m_model.baselines.cmt import tokens as cmt_tokens
from d2m_model.baselines.cmt import video as cmt_video
from d2m_model.baselines.cmt.generation import PiecePlan, Sampling, Statistics
from d2m_model.baselines.cmt.grid import fit_bars, fit_tempo
from d2m_model.baselines.cmt.pieces import PieceExcerpts, fit_transcript_bars
from d2m_model.baselines.cmt.tokens import BAR, BEAT, DENSITY, NOTE, PITCH, RHYTHM, STRENGTH, TYPE, Piece
from d2m_model.baselines.score import Note, read_score, write_midi
from dataset_tools.lib.core.errors import UserError
from dataset_tools.lib.core.timebase import FPS

BARS = np.arange(4) * 2.0  # 120 beats per minute: a tick is an eighth of a second
TUNE = [
    Note(0.0, 0.1, 36, 90, drum=True),
    Note(0.0, 0.5, 60, 90, program=4),
    Note(0.51, 1.0, 64, 90, program=27),  # 10 ms late
    Note(2.25, 9.0, 40, 90, program=33),  # longer than tokens can say
    Note(2.25, 2.5, 67, 90, program=81),
]
TOKENS = [
    (17, 1, 3, 0, 0, 0, 0),  # bar 0, 2 ticks struck
    (1, 1, 0, 0, 0, 0, 2),
    (0, 2, 0, 37, 1, 1, 0),
    (0, 2, 0, 61, 4, 2, 0),
    (5, 1, 0, 0, 0, 0, 1),
    (0, 2, 0, 65, 4, 3, 0),
    (17, 1, 2, 0, 0, 0, 0),  # bar 1, 1 tick
    (3, 1, 0, 0, 0, 0, 2),
    (0, 2, 0, 41, 17, 4, 0),
    (0, 2, 0, 68, 2, 5, 0),
]


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


def test_tokens_of_a_known_tune():
    assert cmt_tokens.tokens_of(TUNE, BARS).tolist() == [list(token) for token in TOKENS]
    assert cmt_tokens.tokens_of([], BARS).shape == (0, 7)


def test_a_midi_file_comes_back_through_tokens(tmp_path):
    write_midi(tmp_path / "tune.mid", TUNE, tempo=120.0)
    score = read_score(tmp_path / "tune.mid")
    tokens = cmt_tokens.tokens_of(score.notes, score.bars)
    assert tokens.tolist() == [list(token) for token in TOKENS]
    back = cmt_tokens.notes_of(tokens, score.bars)
    assert [(n.start, n.pitch, n.drum) for n in back] == [
        (0.0, 36, True),
        (0.0, 60, False),
        (0.5, 64, False),
        (2.25, 67, False),
        (2.25, 40, False),
    ]
    assert [n.program for n in back] == [0, 0, 27, 48, 33]
    assert cmt_tokens.tokens_of(back, score.bars).tolist() == tokens.tolist()


def test_ticks_follow_changes_of_tempo_and_go_on_beyond():
    bars = [1.0, 3.0, 4.0]
    assert cmt_tokens.ticks([1.0, 2.0, 3.5, 0.0, 5.0], bars).tolist() == [0, 8, 24, -8, 48]
    assert cmt_tokens.seconds([0, 8, 24, -8, 48], bars).tolist() == [1.0, 2.0, 3.5, 0.0, 5.0]


def test_the_strongest_chord_is_cut_to_what_tokens_can_say():
    tokens = cmt_tokens.tokens_of([Note(0.0, 1.0, pitch, 90) for pitch in range(40, 70)], BARS)
    assert tokens[1, STRENGTH] == 19 and (tokens[:, TYPE] == NOTE).sum() == 19


def test_keys():
    def scale(tonic, steps):
        return [Note(k, k + (2.0 if k in (0, 4) else 1.0), tonic + step, 90) for k, step in enumerate(steps)]

    assert cmt_tokens.key_of(scale(60, (0, 2, 4, 5, 7, 9, 11))) == 1
    assert cmt_tokens.key_of(scale(62, (0, 2, 4, 5, 7, 9, 11))) == 3
    assert cmt_tokens.key_of(scale(69, (0, 2, 3, 5, 7, 8, 10))) == 12 + 10
    assert cmt_tokens.key_of([Note(0.0, 1.0, 36, 90, drum=True)]) == 0


def test_places_of_tokens():
    at = cmt_tokens.bar_and_tick(np.array(TOKENS))
    assert at.tolist() == [0, 0, 0, 0, 4, 4, 16, 18, 18, 18]
    assert cmt_generation.places_of(at, 2)[[0, 4, 6, 7]].tolist() == [[1, 1], [13, 5], [51, 17], [57, 19]]
    assert cmt_generation.places_of(np.array([10_000]), 1).tolist() == [[101, 5024]]


def test_tempo_and_bars_of_a_piece_that_names_none():
    """Drums at 100 beats per minute from 0.35 s, a bass on every fourth beat."""
    notes = [Note(0.35 + 0.6 * k, 0.45 + 0.6 * k, 36, 80, drum=True) for k in range(30)]
    notes += [Note(0.35 + 0.6 * k, 0.9 + 0.6 * k, 40, 90, 33) for k in range(2, 30, 4)]
    bars = fit_transcript_bars(sorted(notes), 18.0)
    assert np.diff(bars) == pytest.approx(2.4, abs=0.01)
    assert (bars[1] - (0.35 + 1.2) + 0.02) % 2.4 < 0.06
    assert bars[0] <= 0 and bars[-1] >= 18


def test_nothing_to_go_by_gives_the_usual_tempo():
    assert fit_tempo(np.zeros(0), np.zeros(0)) == 115
    assert fit_tempo(np.arange(30) / 30, np.zeros(30)) == 115
    assert len(fit_bars(np.zeros(0), np.zeros(0), 120.0, 3.0)) == 3


def stopping(tempo, seconds=8.0, start=0.3):
    """Flow by direction of a body that swings to and fro and stops short on each beat."""
    times = (np.arange(round(seconds * FPS) - 1) + 0.5) / FPS
    beats = (times - start) * tempo / 60
    flows = np.zeros((len(times), cmt_video.DIRECTIONS))
    flows[np.arange(len(times)), np.where(np.floor(beats) % 2 == 0, 0, 6)] = beats % 1.0
    return flows


@pytest.mark.parametrize("tempo", [84.0, 118.0, 146.0])
def test_visual_beats_of_a_body_that_stops_on_the_beat(tempo):
    rhythm = cmt_video.rhythm_of(cmt_video.motion_of(stopping(tempo)))
    assert rhythm.tempo == pytest.approx(tempo, abs=1.0)
    assert rhythm.bars[0] <= 0 and rhythm.bars[-1] >= 8 and np.diff(rhythm.bars) == pytest.approx(240 / rhythm.tempo)
    found = cmt_tokens.seconds(sorted(rhythm.beats), rhythm.bars)
    true = np.arange(0.3, 8.0, 60 / tempo)
    assert len(found) >= len(true) - 3
    assert max(np.abs(true - time).min() for time in found) < 0.06


def test_a_tempo_that_is_known_is_kept():
    assert cmt_video.rhythm_of(cmt_video.motion_of(stopping(118.0)), tempo=100.0).tempo == 100.0


def test_a_still_video_has_bars_and_no_beats():
    rhythm = cmt_video.rhythm_of(cmt_video.motion_of(np.zeros((89, cmt_video.DIRECTIONS))))
    assert rhythm.beats == {} and not rhythm.speeds.any()
    assert cmt_video.motion_of(np.zeros((0, cmt_video.DIRECTIONS))).impact.tolist() == [0.0]


def test_the_flow_of_a_video_file(tmp_path):
    """A pattern that moves right by 3 px a frame in a picture of 96 x 64 px, then rests."""
    import av

    rng = np.random.default_rng(0)
    wide = np.kron(rng.integers(0, 255, (16, 60)), np.ones((4, 4))).astype(np.uint8)
    with av.open(str(tmp_path / "moves.mp4"), "w") as out:
        stream = out.add_stream("libx264", rate=FPS, options={"crf": "10"})
        stream.width, stream.height, stream.pix_fmt = 96, 64, "yuv420p"
        for k in range(20):
            at = 60 - 3 * min(k, 10)
            picture = np.ascontiguousarray(np.repeat(wide[:, at : at + 96, None], 3, axis=2))
            out.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        out.mux(stream.encode())
    motion = cmt_video.read_motion(tmp_path / "moves.mp4")
    assert motion.speed.shape == motion.impact.shape == (20,)
    assert motion.speed[1:10] * 96 == pytest.approx(3, abs=0.5)
    assert motion.speed[12:].max() * 96 < 0.2
    assert motion.impact.argmax() in (11, 12)


def test_directions_add_up_to_the_length():
    flow = np.zeros((2, 8, 8), np.float32)
    flow[0, :, :4], flow[1, :, 4:] = 2.0, -1.0  # right, and up
    found = cmt_video.directions(flow)
    assert found.sum() == pytest.approx(1.5) and sorted(np.flatnonzero(found)) == [0, 9]


def test_an_unreadable_video_is_a_users_mistake(tmp_path):
    (tmp_path / "x.mp4").write_bytes(b"no video")
    with pytest.raises(UserError, match="x.mp4"):
        cmt_video.read_motion(tmp_path / "x.mp4")


def test_faster_bars_are_denser_and_stronger_beats_stronger():
    """Speeds 0..99; densities 4 in half of the training bars, 12 in the other; strengths 1 to 10 equally often."""
    densities, strengths = np.zeros(18), np.zeros(20)
    densities[[5, 13]], strengths[1:11] = 50, 7
    known = Statistics(np.arange(100.0), densities, strengths)
    rhythm = cmt_video.Rhythm(120.0, BARS, np.array([-1.0, 30.0, 80.0, 500.0]), {0: 0.05, 4: 0.55, 8: 1.0})
    plan = cmt_generation.plan_of(rhythm, known)
    assert plan.densities == [4, 4, 12, 12] and plan.strengths == {0: 1, 4: 6, 8: 10}


def test_statistics_count_bars_and_ticks():
    known = cmt_generation.statistics_of([np.array(TOKENS, np.uint8)], np.array([3.0, 1.0]))
    assert known.speeds.tolist() == [1.0, 3.0]
    assert {int(d): int(known.densities[d]) for d in np.flatnonzero(known.densities)} == {2: 1, 3: 1}
    assert {int(s): int(known.strengths[s]) for s in np.flatnonzero(known.strengths)} == {1: 1, 2: 2}


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
