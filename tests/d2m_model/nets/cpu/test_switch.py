"""One switch makes every network compute by torch's own layers: nothing of the fast ways runs, and the outputs are equal."""

import ast
import os
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch

import d2m_model
from d2m_model.nets.cpu import layers
from d2m_model.nets.cpu.switch import is_plain, plain_torch
from d2m_model.nets.dance_to_codes import DanceToCodes
from d2m_model.nets.discriminator import MultiScaleDiscriminator, discriminator_config
from d2m_model.nets.fusing import fuse_for_inference
from d2m_model.nets.jukebox_vqvae import JukeboxVQVAE, VqVaeConfig
from d2m_model.nets.presets import PRESETS

PACKAGE = Path(d2m_model.__file__).parent
CPU = PACKAGE / "nets" / "cpu"
WAYS = {
    "minimal_filtering": None,
    "matrix_product": None,
    "strided_convolution": None,
    "row_convolution": {"in_rows", "spread"},
}
"""Files that compute otherwise than torch, and which of their functions tell; None: any."""


@contextmanager
def watched():
    """The names of the fast ways whose code runs within the block, forwards and backwards."""
    ran = set()

    def watch(frame, event, _):
        path = Path(frame.f_code.co_filename)
        if event == "call" and path.parent == CPU and path.stem in WAYS:
            if WAYS[path.stem] is None or frame.f_code.co_name in WAYS[path.stem]:
                ran.add(path.stem)

    sys.setprofile(watch)
    try:
        yield ran
    finally:
        sys.setprofile(None)


def generator(level):
    torch.manual_seed(0)
    net = DanceToCodes(PRESETS["released"], level, frames=60, joints=17, width=0.05)
    dance = torch.rand(1, 60, 17, 3) * torch.tensor([204.0, 360.0, 1.0])
    return net, lambda net=net: net(dance, (204, 360), torch.ones(1, 2048))


def fused_generator(level):
    net, make = generator(level)
    return fuse_for_inference(net.requires_grad_(False)), make


def discriminator(preset):
    torch.manual_seed(0)
    net = MultiScaleDiscriminator(discriminator_config(preset, width=0.25))
    audio = torch.randn(2, 1, 3000)
    return net, lambda: torch.cat([score.flatten() for score in net(audio)[0]])


def encoder(level):
    torch.manual_seed(0)
    net = JukeboxVQVAE(VqVaeConfig(width=8, depth=3, bins=16, emb_width=12)).requires_grad_(False)
    audio = torch.randn(2, 3000)
    return net, torch.no_grad()(lambda: net.latents(audio, level))


def decoder(level):
    net, encode = encoder(level)
    latents = encode()
    return net, torch.no_grad()(lambda: net.decode_latents(latents, level))


FILTERING, PRODUCTS, PHASES, ROWS = WAYS
NETWORKS = [
    *((generator, level, {FILTERING, PRODUCTS}) for level in ("high", "low")),
    *((fused_generator, level, {FILTERING, PRODUCTS}) for level in ("high", "low")),
    *((discriminator, preset, {FILTERING, PRODUCTS, PHASES}) for preset in ("paper", "released")),
    *((encoder, level, {ROWS}) for level in (0, 1, 2)),
    *((decoder, level, {ROWS}) for level in (0, 1, 2)),
]


@pytest.mark.parametrize(("build", "which", "ways"), NETWORKS)
def test_the_switch_reaches_every_network(build, which, ways, monkeypatch):
    monkeypatch.setattr(layers, "WORTH_SHORT", 1)  # small layers too
    monkeypatch.setattr(layers, "WORTH_LONG", 1)
    net, make = build(which)
    results, gradients = [], []
    for plain in (False, True):
        net.zero_grad()
        with watched() as ran:
            if plain:
                with plain_torch():
                    result = make()
                    gradient = learnt(net, result)
            else:
                result = make()
                gradient = learnt(net, result)
        assert ran == (set() if plain else ways)
        results.append(result.detach())
        gradients.append(gradient)
    torch.testing.assert_close(*results, rtol=1e-3, atol=1e-3 * float(results[1].abs().max()))
    for fast, slow in zip(*gradients, strict=True):
        torch.testing.assert_close(fast, slow, rtol=1e-2, atol=1e-3 * float(slow.abs().max()) + 1e-12)
    assert not is_plain()


def learnt(net, result) -> list[torch.Tensor]:
    """Gradients of a network's weights, if it is trained."""
    if not result.requires_grad:
        return []
    result.square().mean().backward()
    return [p.grad.clone() for p in net.parameters() if p.grad is not None]


def test_a_network_fused_where_the_switch_is_on_is_torchs_too(monkeypatch):
    monkeypatch.setattr(layers, "WORTH_SHORT", 1)
    layer = layers.Conv1d(4, 4, 3).requires_grad_(False)
    with watched() as ran, plain_torch():
        fuse_for_inference(layer)(torch.randn(1, 4, 20))
    assert not ran and not is_plain()


@pytest.mark.parametrize(("value", "plain"), [("1", True), ("0", False), ("", False)])
def test_the_environment_turns_it_on(value, plain):
    code = "from d2m_model.nets.cpu.switch import is_plain; print(is_plain())"
    done = subprocess.run(
        [sys.executable, "-c", code], env=os.environ | {"D2M_PLAIN_TORCH": value}, capture_output=True, text=True
    )
    assert done.stdout.strip() == str(plain), done.stderr


def test_no_other_file_computes_by_them():
    """Networks import `layers` and `row_convolution` only; the other files of the folder are imported by each other."""
    users = {}
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("d2m_model.nets.cpu"):
                if path.parent != CPU:
                    users.setdefault(node.module.rpartition(".")[2], set()).add(path.relative_to(PACKAGE).as_posix())
    nets = ("code_generator", "discriminator", "fusing", "motion_encoder", "residual_stack")
    assert users == {
        "layers": {f"nets/{name}.py" for name in nets},
        "row_convolution": {"nets/jukebox_vqvae.py"},
        "memory": {"training/loop.py"},
        "switch": {"evaluate/kept_scores.py", "prior/sampling.py"},
    }
