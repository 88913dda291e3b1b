"""What a user steers, heard through the demo's own codec and prior: beats, tempo, takes, parts made again."""

import dataclasses
import json

import numpy as np
import pytest
import soundfile
import torch

from d2m_model.checkpoints import load_jukebox
from d2m_model.demo.train_vqvae import CODEC
from d2m_model.generate import __main__ as generate
from d2m_model.generate import models
from d2m_model.generate.generators import PriorGenerator
from d2m_model.generate.takes import Again, read_take
from d2m_model.metrics.audio_features import HOP, AudioFeatures
from d2m_model.metrics.p4_onsets import onset_times
from d2m_model.prior import player as players
from d2m_model.prior.model_file import load_prior
from d2m_model.prior.player import Player
from d2m_model.prior.sampling import Draw
from d2m_model.rhythm.beats_file import Beats
from dataset_tools.lib.core.errors import UserError
from dataset_tools.lib.core.layout import PROJECT

WEIGHTS = PROJECT / "dataset_tools" / "demo" / "weights"
RATE = 22050


@pytest.fixture(scope="module")
def player():
    torch.set_num_threads(1)
    decoder = load_jukebox(WEIGHTS / "vqvae_demo.pt", CODEC)
    high, low = (
        load_prior(WEIGHTS / f"prior_demo_{level}.pt", decoder.codebook(index).k)
        for level, index in (("high", 2), ("low", 1))
    )
    return {"high": Player(high=high, decoder=decoder), "low": Player(high=high, low=low, decoder=decoder)}


@pytest.fixture
def run(player, tmp_path, monkeypatch):
    """run(*arguments) of generate, in a folder with b.json: 6 s of beats at 120 a minute, each fourth a down-beat."""
    (tmp_path / "manifests" / "c").mkdir(parents=True)
    (tmp_path / "params.yaml").write_text("generate: {}\npose: {}\ni3d: {}\nclips: {}\n")
    beats(tmp_path / "b.json", np.arange(0.25, 6, 0.5))
    monkeypatch.setattr(models, "trained", lambda *_: ("prior.pt", "synthesizer.pt"))
    monkeypatch.setattr(models, "load_player", lambda layout, level: player[level])
    monkeypatch.chdir(tmp_path)
    return lambda *arguments: generate.main(["--corpus", "c", *map(str, arguments)])


def beats(path, times):
    path.write_text(json.dumps({"beats": list(times), "downbeats": list(times[::4]), "seconds": 6.0}))


def followed(audio, times):
    """Share of beats with an onset within 70 ms."""
    onsets = onset_times(audio)
    return float(np.mean([np.abs(onsets - t).min(initial=9) < 0.07 for t in times]))


def test_edited_beats_are_followed(run, tmp_path):
    """The same dance, and with its beats a quarter of a second later: the music goes with them."""
    run("--beats", "b.json", "--style", "house", "--out", "a.wav")
    times = np.arange(0.25, 6, 0.5)
    beats(tmp_path / "b.json", times[:-1] + 0.25)
    run("--beats", "b.json", "--style", "house", "--out", "b.wav")
    first, second = read_take(tmp_path / "a.wav"), read_take(tmp_path / "b.wav")
    assert len(first) == len(second) == 6 * RATE
    assert followed(first, times) >= 0.75 and followed(second, times[:-1] + 0.25) >= 0.75
    assert followed(first, times) > followed(second, times[1:-1])


def test_a_tempo_is_met(run, tmp_path):
    """Of all tempos within a tenth of the wished one, its beats are the nearest to the strong onsets, to 2 %."""
    run("--beats", "b.json", "--tempo", "100", "--style", "pop", "--out", "a.wav")
    audio = read_take(tmp_path / "a.wav")
    assert followed(audio, np.arange(0.25, 6, 0.6)) >= 0.7
    envelope = AudioFeatures(audio).envelope
    heard = lambda times: float(
        np.mean([envelope[max(0, round(t * RATE / HOP) - 1) : round(t * RATE / HOP) + 3].max() for t in times])
    )
    tempos = np.arange(90, 110.5, 0.5)
    scores = [heard(np.arange(0.25, 6 - 0.1, 60 / tempo)) for tempo in tempos]
    assert abs(tempos[int(np.argmax(scores))] / 100 - 1) <= 0.02


def test_takes_differ_and_are_the_seeds_after_the_first(run, tmp_path):
    run("--beats", "b.json", "--takes", 2, "--seed", 5, "--out", "t.wav")
    one, two = read_take(tmp_path / "t-1.wav"), read_take(tmp_path / "t-2.wav")
    assert not np.array_equal(one, two)
    run("--beats", "b.json", "--seed", 6, "--out", "six.wav")
    assert np.array_equal(read_take(tmp_path / "six.wav"), two)


@pytest.mark.parametrize(
    ("level", "option", "kept"),
    [("high", ("--redo", "2-3.5"), [(0, 2), (3.5, 6)]), ("low", ("--keep", "0-4"), [(0, 4)])],
)
def test_what_is_not_made_again_stays_to_the_bit(run, tmp_path, level, option, kept):
    run("--beats", "b.json", "--level", level, "--out", "t.wav")
    run("--beats", "b.json", "--level", level, "--from", "t.wav", *option, "--seed", 9, "--out", "new.wav")
    old, new = (soundfile.read(tmp_path / name, dtype="int16")[0] for name in ("t.wav", "new.wav"))
    assert old.shape == new.shape
    for start, end in kept:
        assert np.array_equal(
            old[round(start * RATE) : round(end * RATE)], new[round(start * RATE) : round(end * RATE)]
        )
    changed = np.ones(len(old), bool)
    for start, end in kept:
        changed[round(start * RATE) : round(end * RATE)] = False
    assert not np.array_equal(old[changed], new[changed])
    loud = lambda part: float(np.sqrt(np.mean(np.square(part.astype(float)))))
    assert 0.25 < loud(new[changed]) / loud(old[changed]) < 4


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--style", "waltz"], "no training song has this genre"),
        (["--style", "gone.wav"], r"gone\.wav"),
        (["--tempo", "5"], "--tempo must be 20 to 400"),
        (["--from", "t.wav", "--redo", "5-9"], "--redo must lie within the take's"),
    ],
)
def test_options_are_looked_at_before_the_dance(run, tmp_path, options, message):
    """Finding the dancer takes longest: what is wrong without it is said before."""
    soundfile.write(tmp_path / "t.wav", np.zeros(3 * RATE, np.int16), RATE)
    (tmp_path / "b.json").write_text("no beats")
    with pytest.raises(UserError, match=message):
        run("--beats", "b.json", "--out", "a.wav", *options)


def test_a_style_is_a_genre_or_an_audio_file(run, tmp_path, player):
    time = np.arange(3 * RATE) / RATE
    soundfile.write(tmp_path / "like.wav", 0.3 * np.sin(2 * np.pi * 220 * time), RATE)
    run("--beats", "b.json", "--style", "like.wav", "--out", "a.wav")
    with pytest.raises(
        UserError, match=r"style 'waltz': no training song has this genre; known: .*hiphop.*or name an audio file"
    ):
        run("--beats", "b.json", "--style", "waltz", "--out", "a.wav")
    soundfile.write(tmp_path / "like.wav", np.zeros(RATE), RATE)
    with pytest.raises(
        UserError, match=r"like\.wav: audio for the style must last at least a second and not be silent"
    ):
        run("--beats", "b.json", "--style", "like.wav", "--out", "a.wav")
    assert PriorGenerator(player["high"]).level == "high"


def test_a_read_style_audio_is_read_once(run, tmp_path, monkeypatch):
    soundfile.write(tmp_path / "like.wav", 0.3 * np.sin(np.arange(3 * RATE) / 16), RATE)
    read, whole = [], players.read_style_audio
    monkeypatch.setattr(players, "read_style_audio", lambda path: read.append(path) or whole(path))
    run("--beats", "b.json", "--style", "like.wav", "--takes", 2, "--out", "t.wav")
    assert len(read) == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["--from", "b.json", "--redo", "1-2"],
            r"b\.json: not a readable \.wav; --from takes a \.wav that generate wrote",
        ),
        (["--from", "gone.wav", "--redo", "1-2"], "gone.wav: file not found"),
        (["--from", "other.wav", "--redo", "1-2"], r"other\.wav: --from takes a \.wav that generate wrote .* 44100 Hz"),
        (["--from", "short.wav", "--redo", "0.5-1"], "the take lasts 2.00 s, but the dance 6.00 s"),
        (["--from", "short.wav", "--redo", "1-7"], "--redo must lie within the take's 2.00 s"),
        (["--from", "short.wav", "--keep", "0-2"], "nothing is left to generate"),
    ],
)
def test_mistakes_are_one_line(run, tmp_path, arguments, message):
    soundfile.write(tmp_path / "other.wav", np.zeros(44100), 44100)
    soundfile.write(tmp_path / "short.wav", np.zeros(2 * RATE), RATE, subtype="PCM_16")
    with pytest.raises(UserError, match=message) as caught:
        run("--beats", "b.json", *arguments, "--out", "new.wav")
    assert "\n" not in str(caught.value) and not (tmp_path / "new.wav").exists()


def test_a_genre_may_have_a_dot(player):
    high = player["high"].high
    styles = dataclasses.replace(high.styles, genres=("R.B", *("pop" for _ in high.styles.genres[1:])))
    known = Player(high=dataclasses.replace(high, styles=styles), decoder=player["high"].decoder)
    rhythm = Beats(fps=30, seconds=1, beats=np.array([0.5]))
    assert torch.equal(known.style("R.B", rhythm, 0), high.styles.vectors[0])
    with pytest.raises(UserError, match=r"R\.C"):
        known.style("R.C", rhythm, 0)


@pytest.mark.parametrize("strictness", [0.0, 1.0])
def test_without_strictness_neither_level_hears_the_rhythm(player, strictness):
    style = player["low"].high.styles.vectors[0]
    one, two = (
        player["low"].codes(Beats(fps=30, seconds=1, beats=times), RATE // 3, style, Draw(guidance=strictness), 0)
        for times in (np.array([0.1, 0.2, 0.3]), np.array([0.15, 0.4]))
    )
    for level in ("high", "low"):
        assert torch.equal(one[level], two[level]) == (strictness == 0)


@pytest.mark.parametrize(
    ("arguments", "lost"),
    [
        (["--beats", "b.json", "--out", "b.wav", "--json"], "b.json"),
        (["--beats", "b.json", "--out", "n.wav", "--json", "--level", "both"], "n-low.json"),
        (["--beats", "b.json", "--from", "t-2.wav", "--redo", "1-2", "--takes", 2, "--out", "t.wav"], "t-2.wav"),
        (["--beats", "b.json", "--style", "like.wav", "--out", "like.wav"], "like.wav"),
        (["--beats", "b.json", "--style", "like.wav", "--out", "link.wav"], "like.wav"),
        (["--beats", "b.json", "--own-music", "songs", "--out", "songs/a.wav"], "a.wav"),
        (["--pose", "people", "--out", "people/d_01_keypoints.wav", "--json"], "d_01_keypoints.json"),
        (["--video", "dances", "--style", "out/d.wav", "--json", "--out", "out"], "out/d.json"),
    ],
)
def test_no_file_that_is_read_is_written_over(run, tmp_path, arguments, lost):
    beats(tmp_path / "n-low.json", np.arange(0.25, 6, 0.5))
    for name in ("t-2.wav", "like.wav", "songs/a.wav", "people/d_01_keypoints.json", "dances/d.mp4"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"mine")
    (tmp_path / "out").mkdir()
    (tmp_path / "dances" / "d.mp4").replace(
        tmp_path / "out" / "d.json"
    )  # a video of the folder, linked to an output's name
    (tmp_path / "dances" / "d.mp4").symlink_to(tmp_path / "out" / "d.json")
    (tmp_path / "link.wav").symlink_to(tmp_path / "like.wav")
    if lost == "n-low.json":
        arguments = [argument if argument != "b.json" else lost for argument in arguments]
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    with pytest.raises(UserError, match="same file as the input .*, which would be lost") as caught:
        run(*arguments)
    assert lost in str(caught.value) and "\n" not in str(caught.value)
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


def test_the_take_is_read_once(tmp_path):
    soundfile.write(tmp_path / "t.wav", np.zeros(RATE), RATE, subtype="PCM_16")
    again = Again(take=tmp_path / "t.wav", redo="0-0.5")
    assert len(again.audio) == RATE
    (tmp_path / "t.wav").unlink()
    assert len(again.audio) == RATE


def test_a_take_made_again_wants_a_dance(run, tmp_path):
    with pytest.raises(UserError, match="--from is for a dance of your own: give --video, --pose or --beats"):
        run("--from", "t.wav", "--redo", "1-2")
