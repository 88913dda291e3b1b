"""A creator's first hour, as docs/for-creators.md says it: a clip and its beats, several takes, a style, a tempo, the original audio under the
new, and what is refused. The demo's own codec and prior make the music."""

import json

import numpy as np
import pytest
import soundfile

from d2m_model.checkpoints import load_jukebox
from d2m_model.demo.train_vqvae import CODEC
from d2m_model.generate import __main__ as generate
from d2m_model.generate import models
from d2m_model.prior.model_file import load_prior
from d2m_model.prior.player import Player
from dataset_tools.lib.core.errors import UserError
from dataset_tools.lib.core.layout import PROJECT
from tests.d2m_model.generate.test_mux import packets_and_audio, write_video

WEIGHTS = PROJECT / "dataset_tools" / "demo" / "weights"
RATE, SECONDS = 22050, 3.0


@pytest.mark.timeout(600)
def test_from_a_clip_to_music(tmp_path, monkeypatch, capsys):
    def run(*arguments):
        assert generate.main(["--corpus", "c", "--video", "dance.mp4", *map(str, arguments)]) == 0
        return capsys.readouterr().out

    decoder = load_jukebox(WEIGHTS / "vqvae_demo.pt", CODEC)
    player = Player(high=load_prior(WEIGHTS / "prior_demo_high.pt", decoder.codebook(2).k), decoder=decoder)
    monkeypatch.setattr(models, "trained", lambda *_: ("prior.pt", "synthesizer.pt"))
    monkeypatch.setattr(models, "load_player", lambda *_: player)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "manifests" / "c").mkdir(parents=True)
    (tmp_path / "params.yaml").write_text("generate: {}\n")
    write_video(tmp_path / "dance.mp4", frames=round(SECONDS * 30), fps=30)
    beats = np.arange(0.25, SECONDS, 0.5)
    (tmp_path / "beats.json").write_text(json.dumps({"beats": list(beats), "downbeats": list(beats[::4])}))
    known = ("--beats", "beats.json", "--style", "house")

    said = run(*known, "--takes", 2, "--seed", 5, "--out", "take.wav", "--json")
    assert "dance.mp4: 3.0 s; 6 beats" in said and "seed 5 -> take-1.wav" in said and "seed 6 -> take-2.wav" in said
    first, second = (soundfile.read(f"take-{n}.wav")[0] for n in (1, 2))
    assert len(first) == len(second) == SECONDS * RATE and not np.array_equal(first, second)
    assert json.loads((tmp_path / "take-2.json").read_text())["seed"] == 6

    run(*known, "--seed", 5, "--out", "again.wav")
    assert np.array_equal(soundfile.read("again.wav")[0], first), "the same seed gives the same piece"
    run(*known, "--seed", 5, "--tempo", 140, "--out", "faster.wav")
    assert not np.array_equal(soundfile.read("faster.wav")[0], first)

    said = run(*known, "--seed", 5, "--mix", 0.2, "--out", "new.mp4")
    assert "original audio at 0.2" in said
    before, after = packets_and_audio(tmp_path / "dance.mp4"), packets_and_audio(tmp_path / "new.mp4")
    assert [digest for digest, _ in before[0]] == [digest for digest, _ in after[0]], "the picture is the same"

    said = run(*known, "--seed", 5, "--loudness", 0, "--out", "loud.wav")
    assert "LUFS instead of 0: its peaks allow no more" in said
    for mistake, message in (
        (("--denoise", 0.5, "--out", "x.wav"), "--denoise changes nothing with the prior"),
        (("--mix", 3, "--out", "x.wav"), "--mix must be above 0 and at most 1"),
        (("--style", "polka", "--beats", "beats.json", "--out", "x.wav"), "polka"),
    ):
        with pytest.raises(UserError, match=message) as refused:
            run(*mistake)
        assert "\n" not in str(refused.value)
    assert not (tmp_path / "x.wav").exists()
