"""The stage: a corpus's systems, those of others and what is known of its beats are scored; what doesn't fit is refused."""

import json
import shutil

import numpy as np
import pytest
import soundfile

from d2m_model.evaluate import __main__ as evaluate_command
from d2m_model.evaluate import stage as evaluate
from dataset_tools.lib.core.errors import UserError
from dataset_tools.lib.shard_io.shard_format import NO_POSE
from tests.d2m_model.evaluate.test_evaluate import (
    RATE,
    elsewhere,  # noqa: F401 - a fixture
    write_folder,
)
from tests.helpers.builders import beats_of, build_manifest, build_shards, click_train


@pytest.fixture
def corpus(tmp_path):
    """A corpus with two train and two test clips of 2 s, two generated systems and a stale folder."""
    build_manifest(tmp_path, "demo")
    build_shards(tmp_path / "data/demo/shards", clips=2, seconds=2)
    test = build_shards(tmp_path / "data/demo/shards", clips=2, seconds=2, split="test", first=2)
    audio = {c.clip_id: test.read(c.clip_id).audio for c in test.clips}
    for stage, names in {
        "generate": ("high-full", "low-full", "high-stale"),
        "baselines": ("dance2music", "stale"),
    }.items():
        (tmp_path / "runs/demo" / stage).mkdir(parents=True)
        for name in names:
            (write_folder(tmp_path / "runs/demo" / stage / name, audio) / "about.txt").write_text("a search\n")
    (tmp_path / "params.yaml").write_text(
        "levels: [high, low]\nmodels: [full]\nsystems: [dance2music]\nevaluate: {draws: 100, protocols: [P1, P4], embedding: demo}\n"
    )
    return tmp_path


def test_the_stage_scores_what_params_name(corpus, monkeypatch):
    monkeypatch.setattr(evaluate, "reconstructions", lambda own, *_: own)
    assert evaluate_command.main(["--root", str(corpus), "--corpus", "demo"]) == 0
    folder = corpus / "runs/demo/evaluate"
    (folder / "summary" / "high-stale.json").write_text("{}")
    first = (folder / "metrics.json").read_bytes(), (folder / "per_clip.csv").read_bytes()
    systems = json.loads(first[0])["systems"]
    assert [n for n, s in systems.items() if s["kind"] == "model"] == ["high-full", "low-full"], (
        "stale folders are not scored"
    )
    assert [n for n, s in systems.items() if s["kind"] == "baseline"] == ["dance2music"]
    assert systems["dance2music"]["about"] == "a search" and "about" not in systems["high-full"]
    assert {"VQ reconstruction high", "VQ reconstruction low", "random training song", "ground truth"} <= set(systems)
    assert "motion_to_music" in systems["high-full"]["P4"] and "P2" not in systems["high-full"]
    assert systems["high-full"]["genre"]["segments"] == 2 and systems["high-full"]["novelty"][
        "novelty"
    ] == pytest.approx(1, abs=0.05)
    assert "demo weights" in json.loads(first[0])["embedding"]["label"]
    shown = json.loads((folder / "summary" / "ground-truth.json").read_text())
    assert shown["P1_hit"] == 100 and set(shown) <= set((folder / "systems.csv").read_text().split("\n")[0].split(","))
    settings = (corpus / "params.yaml").read_text()
    (corpus / "params.yaml").write_text(settings.replace("{draws: 100", "{workers: 2, draws: 100"))
    shutil.rmtree(corpus / "data/.cache/evaluate")
    assert evaluate_command.main(["--root", str(corpus), "--corpus", "demo"]) == 0  # in two processes
    assert first == ((folder / "metrics.json").read_bytes(), (folder / "per_clip.csv").read_bytes())
    assert evaluate_command.main(["--root", str(corpus), "--corpus", "demo"]) == 0  # of what is kept
    assert first == ((folder / "metrics.json").read_bytes(), (folder / "per_clip.csv").read_bytes())
    assert not (folder / "summary" / "high-stale.json").exists()


def test_what_is_known_of_beats_and_codes_is_scored(corpus, monkeypatch):
    """True beats give the fitted song, the rhythm stage's clicks, its own rows and P4 against what models were given; codes
    beside a system's audio the longest run that was copied. Training seeds are named."""
    monkeypatch.setattr(evaluate, "reconstructions", lambda own, *_: own)
    training = np.random.default_rng(0).integers(0, 50, 400)
    monkeypatch.setattr(evaluate, "coded", lambda own, *_: [training] if len(own) else [])
    truth, rhythm = corpus / "data/demo/sources/truth", corpus / "runs/demo/rhythm/beats"
    truth.mkdir(parents=True)
    rhythm.mkdir(parents=True)
    for n in range(4):
        beats = beats_of(n, 2.0)
        np.savez(truth / f"clip_{n:03d}.npz", beats=beats, downbeats=beats[:1])
        if n > 1:
            (rhythm / f"clip_{n:03d}.json").write_text(
                json.dumps({"fps": 30, "beats": list(beats + 0.02), "downbeats": [beats[0] + 0.02]})
            )
    made = corpus / "runs/demo/generate/high-full"
    np.save(made / "clip_002.codes.npy", np.r_[training[100:250], 60:80])
    np.save(made / "clip_003.codes.npy", np.arange(100, 200))
    (corpus / "runs/demo/d2m_gan/high-full").mkdir(parents=True)
    (corpus / "runs/demo/d2m_gan/high-full/metrics.json").write_text('{"seed": 3}')
    assert evaluate_command.main(["--root", str(corpus), "--corpus", "demo"]) == 0
    found = json.loads((corpus / "runs/demo/evaluate/metrics.json").read_text())
    systems = found["systems"]
    assert (
        found["rhythm"]["beats"]["own"] == found["rhythm"]["downbeats"]["own"] == 1
        and found["rhythm"]["beats"]["difference"] > 0.2
    )
    assert (
        systems["rhythm clicks"]["P4"]["rhythm_70ms"]["own"] > 0.99
        and systems["rhythm clicks"]["P4"]["beats_70ms"]["own"] > 0.99
    )
    assert systems["fitted song"]["P4"]["beats_70ms"]["own"] > 0.85 and systems["fitted song"]["kind"] == "control"
    assert systems["high-full"]["codes"]["copied_seconds"] == pytest.approx(150 / (RATE / 128), abs=1e-5)
    assert (
        systems["high-full"]["codes"]["hum_ratio"] == pytest.approx(1, abs=0.01)
        and systems["high-full"]["P4"]["onset_ratio"] == 1
        and systems["high-full"]["seed"] == 3
    )
    assert systems["VQ reconstruction high"]["codes"]["copied_seconds"] == pytest.approx(400 / (RATE / 128), abs=1e-5)
    assert (
        "copied_seconds" not in systems["low-full"]["codes"]
        and "codes" not in systems["dance2music"]
        and "seed" not in systems["low-full"]
    )
    (rhythm / "clip_003.json").unlink()
    with pytest.raises(UserError, match="clip_003.json: not there, but there is a rhythm of other clips"):
        evaluate_command.main(["--root", str(corpus), "--corpus", "demo"])
    (rhythm / "clip_003.json").write_text('{"beats": [1.0, 0.5], "downbeats": []}')
    with pytest.raises(UserError, match="must be ascending lists of seconds"):
        evaluate_command.main(["--root", str(corpus), "--corpus", "demo"])


def test_other_systems_have_rows_of_their_own(corpus, monkeypatch, capsys):
    monkeypatch.setattr(evaluate, "reconstructions", lambda own, *_: own)
    params = corpus / "params.yaml"
    params.write_text(params.read_text().replace("{draws: 100", "{others: {CDCD: external/cdcd}, draws: 100"))

    def refused(message):
        with pytest.raises(UserError, match=message):
            evaluate_command.main(["--root", str(corpus), "--corpus", "demo"])

    refused(
        "external/cdcd: not there, but params.yaml names it; cdcd must hold <clip_id>.wav for each clip of the test split"
    )
    (corpus / "external").mkdir()
    made = write_folder(corpus / "external/cdcd", {"clip_002": click_train(np.arange(0.2, 1.5, 0.5), int(1.5 * RATE))})
    refused(
        "clip_003 has no audio .1 such.; cdcd must hold <clip_id>.wav for each clip of the test split and nothing else"
    )
    soundfile.write(made / "clip_003.flac", np.zeros(2 * RATE), RATE)
    refused("cdcd/clip_003.flac: must be called clip_003.wav")
    (made / "clip_003.flac").unlink()
    write_folder(made, {"clip_003": np.zeros(2 * RATE)})
    assert evaluate_command.main(["--root", str(corpus), "--corpus", "demo"]) == 0
    found = json.loads((corpus / "runs/demo/evaluate/metrics.json").read_text())["systems"]["CDCD"]
    assert found["kind"] == "baseline" and "genre" in found and "fad" in found and "motion_to_music" in found["P4"]
    assert (
        "CDCD: clip_002: the generated audio has 1.50 s, its reference 2.00 s: the missing 0.50 s"
        in capsys.readouterr().out
    )
    for wrong, message in (("{silence: x}", "'silence' can't be"), ("{high-full: external/cdcd}", "of this name already"), ("[x]", "others must be a mapping"),
                           ("{../x: external/cdcd}", "must be letters"), ("{5: external/cdcd}", "put it in quotes"), (f"{{{'x' * 130}: a}}", "must be letters")):  # fmt: skip
        params.write_text(params.read_text().replace("{CDCD: external/cdcd}", wrong))
        refused(message)
        params.write_text(params.read_text().replace(wrong, "{CDCD: external/cdcd}"))


def test_without_a_pose_there_are_no_motion_beats(corpus, monkeypatch):
    monkeypatch.setattr(evaluate, "reconstructions", lambda own, *_: own)
    build_shards(
        corpus / "data/demo/shards", clips=2, seconds=2, split="test", first=2, motion_rate=60, pose_weights=NO_POSE
    )
    assert evaluate_command.main(["--root", str(corpus), "--corpus", "demo"]) == 0
    systems = json.loads((corpus / "runs/demo/evaluate/metrics.json").read_text())["systems"]
    assert "onsets_50ms" in systems["ground truth"]["P4"] and not [
        k for s in systems.values() for k in s["P4"] if "motion" in k
    ]


def test_the_stage_refuses_what_does_not_fit(corpus):
    generate, params = corpus / "runs/demo/generate", corpus / "params.yaml"

    def refused(message):
        with pytest.raises(UserError, match=message):
            evaluate_command.main(["--root", str(corpus), "--corpus", "demo"])

    (generate / "low-full" / "clip_002.wav").unlink()
    refused(
        "low-full: clip_002 has no audio .1 such.; run `dvc repro` or `.*--level low --variant full`, with generate.split: test in params.yaml"
    )
    soundfile.write(generate / "high-full" / "extra.wav", np.zeros(100), RATE)
    refused("high-full: extra is no clip of the test split")
    params.write_text(params.read_text().replace("models: [full]", "models: [no_mel]"))
    refused("high-no_mel: not there, but params.yaml names it; run `dvc repro` or `python -m d2m_model.generate")
    write_folder(generate / "high-no_mel", {"clip_002": np.zeros(100), "clip_003": np.zeros(100)})
    params.write_text("levels: [high]\nmodels: [no_mel]\nsystems: [cmt]\nevaluate: {}\n")
    refused(
        "cmt: not there, but params.yaml names it; run `dvc repro` or `python -m d2m_model.baselines --corpus demo --system cmt`"
    )
    params.write_text("levels: [high]\nmodels: []\nevaluate: {}\n")
    refused("models must be a list of names")
    params.write_text("levels: [high]\nmodels: [full]\nevaluate: {split: tset}\n")
    refused("split must be one of train, val, test, found 'tset'")
    params.write_text("levels: [high]\nmodels: [full]\nevaluate: {embedding: clap}\n")
    refused("embedding must be vggish or demo, found 'clap'")
