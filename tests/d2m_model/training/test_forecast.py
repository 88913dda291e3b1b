"""What a training would take, on a network whose operations and parameters can be counted by hand."""

import torch
from torch import nn

from d2m_model.prior.__main__ import main
from d2m_model.training.forecast import RATE, forecast


def test_operations_and_parameters_are_those_of_the_network():
    def build():
        net, x = nn.Linear(30, 20, bias=False), torch.zeros(7, 30)
        return net, lambda: net(x).sum()

    found = forecast(build, steps=1000)
    assert found.parameters == 600
    assert found.step_operations == 2 * (2 * 7 * 30 * 20)  # forward, and the gradient of the weights
    assert found.hours == 1000 * found.step_operations / RATE / 3600
    assert found.memory >= 16 * 600


def test_a_dry_run_says_what_the_prior_would_take_and_trains_nothing(tmp_path, capsys):
    (tmp_path / "manifests" / "c").mkdir(parents=True)
    (tmp_path / "params.yaml").write_text("vqvae: {bins: 2048}\nprior: {}\n")
    for level in ("high", "low"):
        assert main(["--corpus", "c", "--root", str(tmp_path), "--level", level, "--dry-run"]) == 0
        said = capsys.readouterr().out
        assert (
            said.startswith(f"prior: {level}: ")
            and "M parameters, 100000 steps" in said
            and "hours on one A100" in said
        )
    assert not (tmp_path / "runs").exists()
