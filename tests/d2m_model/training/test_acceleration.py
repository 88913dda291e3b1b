"""What a training does on GPUs, tried on a CPU: bf16, compilation (graphs run as they are), what nccl demands."""

import functools
import json

import pytest
import torch
import yaml
from torch import nn

from d2m_model.losses.gan_terms import Excerpt, generator_terms
from d2m_model.nets.presets import PRESETS
from d2m_model.training import distributed, loop
from d2m_model.training.acceleration import accelerate
from d2m_model.training.autoencoding import measure, open_test
from d2m_model.training.seeding import seed_everything
from d2m_model.training.vqvae_files import load_vqvae
from dataset_tools.lib.core.errors import UserError
from tests.d2m_model.d2m_gan.test_d2m_gan import setup
from tests.d2m_model.training.test_loop import PARAMS, prepared, run

CPU = torch.device("cpu")


class Doubling(nn.Module):
    def __init__(self, width: int):
        super().__init__()
        self.weight = nn.Parameter(torch.full((width,), 2.0))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x[: len(self.weight)] * self.weight


class Squashing(Doubling):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.tanh(torch.tanh(x * self.weight) * self.weight)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_every_one_of_many_modules_is_compiled(precision, monkeypatch):
    """Torch keeps eight versions of one code, and forwards under autocast are all the same code."""
    graphs = []
    noted = lambda graph, _: graphs.append(graph) or graph.forward
    monkeypatch.setattr(torch, "compile", functools.partial(torch.compile, backend=noted))
    nets = [accelerate(Doubling(width), CPU, precision, "always") for width in range(1, 12)]
    assert [net(torch.ones(20)).tolist() for net in nets] == [[2.0] * width for width in range(1, 12)]
    assert len(graphs) == len(nets) and all(list(net.state_dict()) == ["weight"] for net in nets)


def test_a_backward_that_was_compiled_for_one_gradient_gives_several(monkeypatch):
    """The graph of the discriminators is the same in a preset that takes one gradient of it and in one that takes several."""
    monkeypatch.setattr(torch._functorch.config, "donated_buffer", True)
    monkeypatch.setattr(torch, "compile", functools.partial(torch.compile, backend="aot_eager"))
    net = accelerate(Squashing(3), CPU, "fp32", "always")
    found = []
    for keep in (False, True, True):
        x = torch.ones(3, requires_grad=True)
        found.append(torch.autograd.grad(net(x).sum(), x, retain_graph=keep)[0])
    assert torch.equal(found[0], found[1]) and torch.equal(found[1], found[2])


def test_batch_normalisation_over_processes_is_not_compiled():
    assert accelerate(nn.Sequential(nn.BatchNorm1d(2)), CPU, "fp32", "always")._compiled_call_impl is not None
    assert accelerate(nn.Sequential(nn.SyncBatchNorm(2)), CPU, "fp32", "always")._compiled_call_impl is None


@pytest.mark.parametrize("name", PRESETS)
def test_bf16_changes_the_losses_little_and_the_types_of_nothing(name):
    found = []
    for precision in ("fp32", "bf16"):
        net, discriminator, vqvae, target = setup(PRESETS[name])
        for part in (net, discriminator):  # the decoder stays as it is: audio_precision
            accelerate(part, CPU, precision, "never")
        torch.manual_seed(2)
        predicted = net(torch.rand(2, 60, 17, 3) * 200, (204, 360), torch.rand(2, 2048))
        terms = generator_terms(net, discriminator, vqvae, predicted, target, Excerpt(1, 1, 60))
        sum(term for term in terms.values() if term.requires_grad).backward()
        found.append({key: float(term.detach()) for key, term in terms.items()})
        assert {
            t.dtype for t in (predicted, *terms.values(), *(p.grad for p in net.parameters() if p.grad is not None))
        } == {torch.float32}
    plain, narrow = found
    assert narrow == pytest.approx(plain, rel=0.05, abs=0.05) and narrow != plain


def test_a_synthesizer_trained_in_bf16_is_measured_as_it_plays(tmp_path):
    root = prepared(tmp_path)
    (root / "params.yaml").write_text(
        yaml.safe_dump(PARAMS | {"synthesizer": PARAMS["synthesizer"] | {"precision": "bf16", "steps": 1}})
    )
    after = json.loads(run(root, "synthesizer")["metrics.json"])["after"]
    played = load_vqvae(root / "runs/tiny/synthesizer/high/model.pt")
    again = measure(played, 2, open_test(root / "data/tiny/shards"), 1)
    assert after["si_sdr_db"] == again["si_sdr_db"] and after["spectral_convergence"] == again["spectral_convergence"]


def test_means_are_shared_where_the_training_is_though_it_was_resumed(monkeypatch):
    """The first row comes from the checkpoint, which is on the CPU."""

    class Far(float):
        device = torch.device("meta")

    devices = []
    monkeypatch.setattr(distributed, "world_size", lambda: 2)
    monkeypatch.setattr(
        distributed, "sum_over_processes", lambda value: devices.append(value.device) or torch.tensor([6.0])
    )
    assert loop._means([{"loss": torch.tensor(1.0)}, {"loss": Far(5.0)}]) == {"loss": 3.0}
    assert devices == [torch.device("meta")]


def test_more_processes_than_gpus_are_refused(monkeypatch):
    for name, value in {"WORLD_SIZE": "2", "LOCAL_RANK": "1"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with pytest.raises(UserError, match="process 2 .* there are 1; lower --nproc-per-node"), distributed.processes():
        pass


@pytest.mark.skipif(torch.cuda.is_available(), reason="a GPU's operations without a deterministic form warn")
def test_on_a_cpu_what_has_no_deterministic_form_fails():
    seed_everything(0)
    assert torch.get_deterministic_debug_mode() == 2
