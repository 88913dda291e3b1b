"""The training loop: stopped, killed and resumed trainings end at the same bytes; a loss that is no number ends in a line."""

import csv
import dataclasses
import io
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
import yaml

from d2m_model.d2m_gan import __main__ as d2m_gan
from d2m_model.nets.jukebox_vqvae import JukeboxVQVAE, VqVaeConfig
from d2m_model.synthesizer import __main__ as synthesizer
from d2m_model.synthesizer import stage as synthesizer_stage
from d2m_model.synthesizer import task as synthesizer_task
from d2m_model.synthesizer.params import Params
from d2m_model.training import checkpoint, loop
from d2m_model.training.autoencoding import audio_batch
from d2m_model.training.command import TrainingParams
from d2m_model.training.dance_data import DanceData
from d2m_model.training.loop import EXIT_STOPPED, FiniteLossGuard
from d2m_model.training.vqvae_files import save_vqvae
from d2m_model.vqvae import __main__ as vqvae
from d2m_model.vqvae import task as vqvae_task
from dataset_tools.lib.core.errors import UserError
from dataset_tools.lib.core.layout import Layout
from tests.helpers.builders import build_shards

ROOT = Path(__file__).resolve().parents[3]
STAGES = {"vqvae": vqvae, "synthesizer": synthesizer, "d2m_gan": d2m_gan}
TASKS = {"vqvae": vqvae_task, "synthesizer": synthesizer_task}
SHARED = {"batch": 2, "log_every": 3, "checkpoint_every": 2, "threads": 1}
PARAMS = {
    "vqvae": SHARED | {"width": 4, "depth": 1, "multipliers": [1, 1, 1], "bins": 16, "steps": [2, 5, 2], "seconds": 0.1,
                       "warm_up": 0.2, "test_windows": 1},
    "synthesizer": SHARED | {"steps": 5, "seconds": 0.1, "discriminator_width": 0.05, "scales": 2, "test_windows": 1, "embedding": ""},
    "d2m_gan": SHARED | {"steps": 5, "width": 0.05, "discriminator_width": 0.05, "excerpt_windows": 1, "excerpt_seconds": 0.1,
                         "discriminator_windows": 1},
}  # fmt: skip
ARGUMENTS = {"vqvae": [], "synthesizer": ["--level", "high"], "d2m_gan": ["--level", "high"]}
RESULTS = {"vqvae": "vqvae", "synthesizer": "synthesizer/high", "d2m_gan": "d2m_gan/high-full"}


def prepared(root: Path) -> Path:
    """A working folder with everything that comes before each training stage."""
    (root / "manifests" / "tiny").mkdir(parents=True)
    (root / "params.yaml").write_text(yaml.safe_dump(PARAMS))
    shards = root / "data" / "tiny" / "shards"
    build_shards(shards, clips=2, seconds=3)
    build_shards(shards, clips=2, seconds=3, split="test", first=2)
    torch.manual_seed(0)
    model = JukeboxVQVAE(VqVaeConfig(width=4, depth=1, multipliers=(1, 1, 1), bins=16))
    for level in range(3):
        model.codebook(level).k.normal_()
    for place in ("vqvae", "synthesizer/high"):
        save_vqvae(root / "runs" / "tiny" / place / "model.pt", model, {})
    return root


def work(root: Path, stage: str) -> Path:
    return root / "data" / ".cache" / stage


def run(root: Path, stage: str, *more: str) -> dict[str, bytes]:
    """Train in this process; gives the results' bytes."""
    assert STAGES[stage].main(["--corpus", "tiny", "--root", str(root), *ARGUMENTS[stage], *more]) == 0
    return {f.name: f.read_bytes() for f in sorted((root / "runs" / "tiny" / RESULTS[stage]).iterdir())}


@pytest.fixture
def root(tmp_path):
    return prepared(tmp_path)


class Killed(BaseException):
    """As abrupt as SIGKILL: nobody catches it."""


@pytest.mark.parametrize("stage", STAGES)
def test_a_killed_training_resumes_to_the_same_bytes(root, stage, monkeypatch, capsys):
    whole = run(root, stage)
    assert not list(work(root, stage).rglob("*.pt")), "a finished training leaves no state"

    def killed_at_three(original):
        def batch(*arguments):
            if arguments[2] == 3:  # the step; the last checkpoint is of step 2
                raise Killed
            return original(*arguments)

        return batch

    with monkeypatch.context() as patch:
        if stage == "d2m_gan":
            patch.setattr(DanceData, "batch", killed_at_three(DanceData.batch))
        else:
            patch.setattr(TASKS[stage], "audio_batch", killed_at_three(audio_batch))
        with pytest.raises(Killed):
            run(root, stage)
    assert len(list(work(root, stage).rglob("*.pt"))) >= 1
    capsys.readouterr()
    assert run(root, stage, "--resume") == whole
    assert "continues from step 2" in capsys.readouterr().out
    assert run(root, stage, "--resume") == whole, "nothing to resume: from the start"


@pytest.mark.parametrize("stage", ["d2m_gan", "vqvae"])
def test_sigterm_saves_and_says_how_to_go_on(root, stage):
    """vqvae passes it on to its two workers."""
    params = dict(PARAMS)
    params[stage] = (
        PARAMS[stage]
        | ({"steps": [30, 30, 30], "workers": 2} if stage == "vqvae" else {"steps": 30})
        | {"log_every": 30}
    )
    (root / "params.yaml").write_text(yaml.safe_dump(params))
    command = [sys.executable, "-m", f"d2m_model.{stage}", "--corpus", "tiny", "--root", str(root), *ARGUMENTS[stage]]
    before = {f: f.read_bytes() for f in (root / "runs").rglob("model.pt")}
    process = subprocess.Popen(
        command,
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    deadline = time.monotonic() + 120
    while not list((root / "runs" / "tiny" / "tensorboard").rglob("events*")) and time.monotonic() < deadline:
        assert process.poll() is None, process.stderr.read()
        time.sleep(0.02)
    process.send_signal(signal.SIGTERM)
    out, err = process.communicate(timeout=120)
    assert process.returncode == EXIT_STOPPED, out + err
    lines = out.strip().splitlines()
    assert (
        len(lines) == 1
        and lines[0].startswith(f"{stage}: ")
        and lines[0].endswith("--resume")
        and "Traceback" not in err
    )
    assert {f: f.read_bytes() for f in (root / "runs").rglob("model.pt")} == before
    states = [
        checkpoint.load(f, f"{stage}-training", 1).meta["step"]
        for f in work(root, stage).rglob("*.pt")
        if "trained" not in f.name
    ]
    assert states and all(0 < step < 30 for step in states)
    resumed = run(root, stage, "--resume")
    if stage == "d2m_gan":  # starting workers three times takes long, and the test above has compared vqvae
        assert run(root, stage) == resumed


def test_other_parameters_do_not_resume(root, capsys):
    file = root / "params.yaml"
    with pytest.raises(SystemExit):
        d2m_gan_stopped_at_once(root)
    file.write_text(file.read_text().replace("width: 0.05", "width: 0.06"))
    run(root, "d2m_gan", "--resume")
    assert "goes on" not in capsys.readouterr().out


def test_other_code_does_not_resume(root, tmp_path, monkeypatch):
    layout = Layout(root=root, corpus="tiny")
    state = lambda: loop.training_run(layout, "vqvae", "", TrainingParams(), [], "", True).state
    before = state()
    assert state() == before
    shutil.copytree(loop.PACKAGE, tmp_path / "package", ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(loop, "PACKAGE", tmp_path / "package")
    assert state() == before, "wherever the program lies"
    (tmp_path / "package" / "losses" / "spectral.py").write_text("")
    assert state() != before


def d2m_gan_stopped_at_once(root):
    original = DanceData.batch

    def batch(*arguments):
        os.kill(os.getpid(), signal.SIGTERM)
        return original(*arguments)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(DanceData, "batch", batch)
        run(root, "d2m_gan")


def test_watch_names_the_term_and_the_last_finite_values():
    guard = FiniteLossGuard("vqvae")
    guard(6, {"wave": torch.tensor(2.5)})
    guard(7, {"wave": torch.tensor(1.5), "mel": torch.tensor(0.5)})
    with pytest.raises(
        UserError, match=r"vqvae: loss 'mel' is inf at step 8; last finite values \(step 7\): wave 1\.5, mel 0\.5;"
    ):
        guard(8, {"wave": torch.tensor(1.0), "mel": torch.tensor(torch.inf)})


def test_measuring_changes_nothing_but_leaves_scores_and_audio(root):
    for stage in STAGES:
        quiet = run(root, stage)
        params = {name: values | {"measure_every": 2, "measure_clips": 2} for name, values in PARAMS.items()}
        (root / "params.yaml").write_text(yaml.safe_dump(params))
        heard = run(root, stage)
        curves = list(csv.DictReader(io.StringIO(heard["curves.csv"].decode())))
        score = {"vqvae": "onset_f_level_1", "synthesizer": "si_sdr_db", "d2m_gan": "P4_difference"}[stage]
        assert [row["step"] for row in curves if row[score] != "nan"] == ["2", "4", "5"] and heard["model.pt"] == quiet[
            "model.pt"
        ]
        board = root / "runs" / "tiny" / "tensorboard" / RESULTS[stage]
        assert list(board.rglob("events*")) and len(list(board.rglob("samples/000004-clip_00[23].wav"))) == 2
        (root / "params.yaml").write_text(yaml.safe_dump(PARAMS))


@pytest.mark.parametrize(
    "bad", [{"precision": "fp8"}, {"compile": "maybe"}, {"measure_every": -1}, {"checkpoint_every": 0}]
)
def test_params_out_of_range_are_refused(bad):
    with pytest.raises(ValueError, match=next(iter(bad))):
        TrainingParams(**bad)


def test_gradients_are_cut(root):
    """With a tiny limit Adam's first steps stay what they are, but a cut gradient leaves its size in Adam's state."""
    sizes = []
    for limit in (0.0, 1e-4):
        params = dataclasses.replace(
            Params(**{k: v for k, v in PARAMS["synthesizer"].items()}), steps=1, gradient_norm=limit
        )
        runs = root / "runs" / "tiny"
        out = root / f"cut{limit}"
        synthesizer_stage.train(root / "data" / "tiny" / "shards", runs / "vqvae" / "model.pt", "high", params, out)
        adam = torch.load(out / "model.pt", weights_only=True)["state"]["training"]["optimizers"]["decoder"]["state"]
        sizes.append(sum(float(s["exp_avg"].square().sum()) for s in adam.values()) ** 0.5)
    assert sizes[1] == pytest.approx(0.5 * 1e-4, rel=0.01) and sizes[0] > 10 * sizes[1]
