"""The prior on music whose answer is known: a stroke after each beat, in one of two alphabets of codes."""

import dataclasses
import json

import numpy as np
import pytest
import soundfile
import torch

from d2m_model.checkpoints import load_jukebox
from d2m_model.demo.train_vqvae import CODEC
from d2m_model.prior.conditions import USUAL_STRENGTH, features_of, rhythm_features
from d2m_model.prior.data import MusicData, TrainingMusic
from d2m_model.prior.model_file import PriorModel, load_prior, save_prior
from d2m_model.prior.net import RHYTHM, PriorNet, PriorSizes
from d2m_model.prior.params import Params
from d2m_model.prior.sampling import Draw, sample
from d2m_model.prior.stage import free_music
from d2m_model.prior.style import encode_styles
from d2m_model.prior.task import PriorTask, condition_mask
from d2m_model.rhythm.beats_file import Beats
from d2m_model.training import coding
from d2m_model.training.coding import encode_long
from d2m_model.training.loop import Run, train_loop
from d2m_model.training.vqvae_files import load_vqvae
from dataset_tools.demo.music.songs import compose, synthesise
from dataset_tools.lib.core.errors import UserError
from dataset_tools.lib.core.layout import PROJECT
from dataset_tools.lib.core.timebase import HOPS

HOP = 128
CODE = HOP / 22050
SIZES = PriorSizes(bins=8, patch=4, width=32, depth=1, heads=2, context=86, local_width=32, embedding=8, style=8)
GREEDY = Draw(guidance=1.0, temperature=0.01)


def strokes(beats, seconds, offset):
    """Codes `offset` + 1 for 30 ms after each beat, `offset` elsewhere."""
    times = (np.arange(round(seconds / CODE)) + 0.5) * CODE
    since = times[:, None] - np.asarray(beats)[None]
    return torch.from_numpy(offset + ((since >= 0) & (since < 0.03)).any(1)).to(torch.int16)


def piece(song, gap, offset, seconds=12.0):
    beats = np.arange(0.3, seconds, gap)
    return TrainingMusic(
        song=song,
        codes=strokes(beats, seconds, offset),
        beats=beats,
        downbeats=beats[::4],
        strength=np.ones(len(beats)),
    )


def features(beats, count):
    beats = np.asarray(beats, float)
    return torch.from_numpy(rhythm_features(beats, beats[::4], np.ones(len(beats)), first=0, count=count, hop=HOP))


@pytest.fixture(scope="module")
def trained():
    """A network that has learnt the strokes of four songs, two with codes 0 and 1, two with codes 4 and 5."""
    torch.manual_seed(0)
    torch.set_num_threads(1)
    pieces = [piece("a", 0.4, 0), piece("b", 0.55, 0), piece("c", 0.45, 4), piece("d", 0.6, 4)]
    data = MusicData(pieces, SIZES, HOP, jitter=0.0)
    params = Params(steps=150, batch=4, learning_rate=5e-3, warm_up=10, weight_decay=0.0, log_every=10)
    task = PriorTask(PriorNet(SIZES), data, params, torch.device("cpu"))
    curves = train_loop(task, params.steps, params, Run(stage="prior"))
    return task.net.eval(), data, curves


def test_training_brings_the_loss_far_below_guessing(trained):
    _, _, curves = trained
    assert curves.rows[-1]["loss"] < 0.25 * np.log(2)


@pytest.mark.parametrize("gap", [0.5, 0.7])
def test_strokes_follow_the_beats_they_are_given(trained, gap):
    net, data, _ = trained
    beats = np.arange(0.25, 8, gap)
    codes = sample(
        net, features(beats, round(8 / CODE)), data_style(net, data, "a"), GREEDY, torch.Generator().manual_seed(0)
    )
    starts = np.flatnonzero(np.diff((codes % 4 == 1).int().numpy(), prepend=0) == 1) * CODE
    assert len(starts) == len(beats)
    assert np.abs(starts - beats).max() < 0.02


def test_a_style_brings_its_alphabet_and_guidance_none_of_the_others(trained):
    net, data, _ = trained
    beats = np.arange(0.25, 4, 0.5)
    for song, offset in (("b", 0), ("d", 4)):
        codes = sample(
            net,
            features(beats, 600),
            data_style(net, data, song),
            Draw(guidance=2.0, temperature=0.3),
            torch.Generator().manual_seed(1),
        )
        assert ((codes // 4 * 4) == offset).float().mean() > 0.9


def data_style(net, data, song):
    styles = encode_styles(net, data, {"a": "left", "b": "left", "c": "right", "d": "right"})
    return styles.vectors[list(data.of_song).index(song)]


def test_excerpts_lack_both_conditions_or_one_in_the_shares_that_are_asked():
    shown = condition_mask(torch.linspace(0.0005, 0.9995, 1000), 0.1)
    assert [
        int((shown == torch.tensor(which)[:, None]).all(0).sum())
        for which in ([False, False], [True, False], [False, True])
    ] == [100, 50, 50]


def test_no_code_sees_itself_or_what_comes_after():
    net = PriorNet(SIZES).eval()
    before, codes = torch.randint(8, (1, SIZES.seen)), torch.randint(8, (1, 40))
    rhythm, shown = torch.randn(1, 40, RHYTHM), torch.ones(1, dtype=torch.bool)
    condition = net.condition(rhythm, torch.randn(1, 8))
    base = net(before, codes, rhythm, condition, shown)
    for k in (0, 5, 11, 38):
        other = codes.clone()
        other[0, k] = (other[0, k] + 1) % 8
        changed = (net(before, other, rhythm, condition, shown) - base).abs().amax(-1)[0] > 1e-6
        assert not changed[: k + 1].any() and changed[k + 1]


def test_sampling_says_what_the_whole_network_says():
    torch.manual_seed(3)
    net = PriorNet(SIZES).eval()
    count = SIZES.context * SIZES.patch
    rhythm, style = torch.randn(count, RHYTHM), torch.randn(8)
    codes = sample(net, rhythm, style, GREEDY, torch.Generator().manual_seed(0))
    before, shown = torch.full((1, SIZES.seen), net.start), torch.ones(1, dtype=torch.bool)
    with torch.no_grad():
        scores = net(before, codes[None], rhythm[None], net.condition(rhythm[None], style[None]), shown)[0]
    top = scores.topk(2, -1).values
    sure = top[:, 0] - top[:, 1] > 0.2
    assert sure.float().mean() > 0.3
    assert torch.equal(scores.argmax(-1)[sure], codes[sure])


def test_kept_codes_are_kept_and_the_rest_follows_from_them(trained):
    net, data, _ = trained
    beats, style = np.arange(0.25, 8, 0.5), data_style(net, data, "a")
    draw = Draw(guidance=1.5)
    first = sample(net, features(beats, 1378), style, draw, torch.Generator().manual_seed(0))
    again = sample(net, features(beats, 1378), style, draw, torch.Generator().manual_seed(9), kept=first[:501])
    assert torch.equal(again[:501], first[:501]) and not torch.equal(again[501:], first[501:])
    assert len(again) == 1378


def test_music_of_any_length_keeps_to_its_beats(trained):
    net, data, _ = trained
    beats = np.arange(0.25, 30, 0.5)
    codes = sample(
        net, features(beats, round(30 / CODE)), data_style(net, data, "a"), GREEDY, torch.Generator().manual_seed(0)
    )
    starts = np.flatnonzero(np.diff((codes % 4 == 1).int().numpy(), prepend=0) == 1) * CODE
    assert len(starts) == 60 and np.abs(starts - beats).max() < 0.02


def test_equal_seeds_give_equal_codes_and_others_do_not():
    net = PriorNet(SIZES).eval()
    draw = lambda seed: sample(
        net, torch.zeros(300, RHYTHM), torch.zeros(8), Draw(), torch.Generator().manual_seed(seed)
    )
    assert torch.equal(draw(1), draw(1)) and not torch.equal(draw(1), draw(2))


def test_rhythm_features_say_where_in_beat_and_bar_a_code_is():
    beats = np.array([1.0, 1.5, 2.0, 2.5, 3.0])
    found = rhythm_features(beats, beats[::4], np.linspace(0.2, 1, 5), first=0, count=round(4 / CODE), hop=HOP)
    at = lambda seconds: found[round(seconds / CODE - 0.5)]
    assert at(1.0)[0] > 0.95 and at(1.25)[1] < 0.01 and at(3.0)[2] > 0.95 > at(2.0)[2]
    assert at(1.25)[4] == pytest.approx(-1, abs=0.01)  # half-way through the beat
    assert at(2.0)[8] == pytest.approx(-1, abs=0.01)  # half-way through the bar
    assert at(2.1)[9] == pytest.approx(0, abs=1e-6)  # beats of half a second
    assert at(2.1)[10] == pytest.approx(0.6) and found[:, 11:].min() == 1
    bare = rhythm_features(beats, beats[:0], beats[:0], first=0, count=100, hop=HOP)
    assert (
        not bare[:, [2, 7, 8, 10, 11, 12]].any()
        and not rhythm_features(beats[:0], beats[:0], beats[:0], first=0, count=9, hop=HOP).any()
    )


@pytest.mark.parametrize("first", [0.25, 50.25])
def test_a_short_list_of_beats_goes_on_for_the_whole_dance(first):
    """In 60 s, beats of 2 s at its start or near its end: the phases of beat and bar go on long before and after."""
    beats = first + 0.5 * np.arange(5)
    found = rhythm_features(beats, beats[::4], np.linspace(0.2, 1, 5), first=0, count=round(60 / CODE), hop=HOP)
    at = lambda seconds: found[round(seconds / CODE - 0.5)]
    for beat in (0.25, 20.25, 40.75, 58.75):
        assert at(beat + 0.25)[4] == pytest.approx(-1, abs=0.01) and at(beat + 0.125)[3] == pytest.approx(1, abs=0.01)
    assert at(first + 1.1)[10] == pytest.approx(0.6) and at(first + 2.1)[8] == pytest.approx(
        np.cos(2 * np.pi * 0.1 / 2), abs=0.01
    )
    assert at(30.25 + 1)[8] == pytest.approx(-1, abs=0.01)  # half-way through a bar


def test_a_file_gives_the_prior_back_and_refuses_another_codebook(tmp_path, trained):
    net, data, _ = trained
    styles = encode_styles(net, data, {"a": "left", "b": "left", "c": "right", "d": "right"})
    book = torch.randn(8, 64)
    save_prior(tmp_path / "model.pt", PriorModel(net=net, codebook=book, level="high", styles=styles))
    found = load_prior(tmp_path / "model.pt", book)
    assert found.net.sizes == net.sizes and found.styles.genres == ("left", "left", "right", "right")
    for name, value in net.state_dict().items():
        assert torch.allclose(found.net.state_dict()[name], value, atol=2e-3, rtol=1e-3)
    with pytest.raises(UserError, match="another codebook"):
        load_prior(tmp_path / "model.pt", book + 1)
    with pytest.raises(UserError, match="known: left, right"):
        found.styles.named("waltz", np.random.default_rng(0))


def test_a_lower_level_is_made_from_the_level_above():
    torch.manual_seed(0)
    sizes = dataclasses.replace(SIZES, patch=16, upper=4, style=0, context=20)
    upper = torch.randint(8, (2000,), dtype=torch.int16)
    music = TrainingMusic(
        song="a",
        codes=upper.repeat_interleave(4),
        beats=np.arange(0, 11, 0.5),
        downbeats=np.zeros(0),
        strength=np.zeros(0),
        upper=upper,
    )
    params = Params(steps=120, batch=8, learning_rate=5e-3, warm_up=10, weight_decay=0.0, log_every=10)
    task = PriorTask(PriorNet(sizes), MusicData([music], sizes, 32), params, torch.device("cpu"))
    curves = train_loop(task, params.steps, params, Run(stage="prior"))
    assert curves.rows[-1]["loss"] < 0.5 * np.log(8)
    above = torch.randint(8, (200,))
    codes = sample(
        task.net.eval(), torch.zeros(800, RHYTHM), None, GREEDY, torch.Generator().manual_seed(0), upper=above
    )
    assert (codes == above.repeat_interleave(4)).float().mean() > 0.7  # chance is an eighth


def test_short_music_is_its_own_reference_and_what_is_shorter_is_refused():
    batch = MusicData([piece("a", 0.5, 0, seconds=1.5)], SIZES, HOP).batch(0, 0, 2)
    own = piece("a", 0.5, 0, seconds=1.5).codes.long()
    assert batch.reference.shape == (2, round(4 * 22050 / HOP)) and torch.equal(batch.reference[0, : len(own)], own)
    assert (batch.codes[:, len(own) :] == -1).all()
    with pytest.raises(UserError, match="none of 1 pieces of training music lasts 1 s"):
        MusicData([piece("a", 0.5, 0, seconds=0.9)], SIZES, HOP)


def test_long_audio_has_the_codes_that_it_has_at_once():
    weights = PROJECT / "dataset_tools" / "demo" / "weights" / "vqvae_demo.pt"
    model = load_jukebox(weights, CODEC)
    audio = torch.from_numpy(synthesise(compose(7, "house", seconds=8.0), 22050))
    for level in (1, 2):
        whole, pieces = model.encode(audio[None], level)[0], encode_long(model, audio, level)
        assert (
            len(whole) == len(pieces) and (whole == pieces).float().mean() > 0.99
        )  # but for rounding where two entries are as near


@pytest.mark.parametrize("level", [1, 2])
def test_long_codes_have_the_audio_that_they_have_at_once(monkeypatch, level):
    """Pieces of 8 192 samples of the demo's codec; two of them would differ audibly where they meet, were they made alone."""
    weights = PROJECT / "dataset_tools" / "demo" / "weights" / "vqvae_demo.pt"
    model = load_jukebox(weights, CODEC)
    monkeypatch.setattr(coding, "PIECE", 1 << 13)
    codes = torch.randint(256, (45_000 // HOPS[level],), generator=torch.Generator().manual_seed(0))
    whole, pieces = model.decode(codes[None], level)[0], coding.decode_long(model, codes, level)
    assert whole.shape == pieces.shape and len(codes) * HOPS[level] > coding.PIECE + 2 * coding.receptive_field(
        model, level
    )
    assert (whole - pieces).abs().max() < 1e-4 * whole.abs().max()
    monkeypatch.setattr(coding, "receptive_field", lambda *_: HOPS[level])
    assert (whole - coding.decode_long(model, codes, level)).abs().max() > 1e-2 * whole.abs().max()


def test_the_stage_leaves_a_prior_that_says_how_it_was_made(pipeline):
    for level in ("high", "low"):
        folder = pipeline / "runs" / "demo" / "prior" / level
        metrics = json.loads((folder / "metrics.json").read_text())
        assert metrics["seed"] == 0 and metrics["steps"] == 3 and metrics["train_clips"] == metrics["pieces"] > 0
        assert {"loss", "P4_difference", "onsets_to_truth"} <= set(metrics["scores"])
        found = load_prior(folder / "model.pt")
        assert found.level == level and bool(found.styles) == (level == "high")
        files = sorted((pipeline / "runs" / "demo" / "generate" / f"{level}-prior").glob("*.wav"))
        assert files


def test_music_without_video_is_learnt_from_and_bad_folders_are_refused(pipeline, tmp_path):
    vqvae = load_vqvae(pipeline / "runs" / "demo" / "synthesizer" / "high" / "model.pt")
    (tmp_path / "album").mkdir()
    clicks = np.zeros(22050 * 70, np.float32)
    clicks[::11025] = 0.9
    soundfile.write(tmp_path / "album" / "song.wav", clicks, 22050)
    (tmp_path / "album" / "._song.wav").write_bytes(b"not audio")
    pieces = free_music(tmp_path, vqvae, "high")
    assert [len(p.codes) for p in pieces] == [60 * 22050 // 128, 10 * 22050 // 128] and {p.song for p in pieces} == {
        "music/album/song.wav"
    }
    assert 110 < len(pieces[0].beats) < 125
    with pytest.raises(UserError, match="no audio file there"):
        free_music(tmp_path / "nowhere", vqvae, "high")


def test_beats_alone_have_bars_from_the_first_and_one_strength():
    times = np.arange(0.25, 6, 0.5)
    alone = features_of(Beats(fps=30, seconds=6.0, beats=times), 1000, HOP)
    told = features_of(
        Beats(fps=30, seconds=6.0, beats=times, downbeats=times[::4], strength=np.full(12, USUAL_STRENGTH)), 1000, HOP
    )
    assert torch.equal(alone, told) and not features_of(Beats(fps=30, seconds=6.0, beats=times[:0]), 50, HOP).any()
