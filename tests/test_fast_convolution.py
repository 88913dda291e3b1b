"""Minimal filtering is a convolution: outputs and gradients are those of torch's, whatever the length and dilation."""

import pytest
import torch
import torch.nn.functional as F
from torch.nn.utils.parametrizations import weight_norm

from d2m_model.nets import fast_convolution
from d2m_model.nets.fast_convolution import FastConv1d, filtered, transformed
from d2m_model.nets.folding import fold


@pytest.mark.parametrize(("kernel", "dilation", "length"), [(3, 1, 20), (3, 27, 61), (4, 1, 9), (40, 1, 40), (41, 1, 131), (41, 2, 200)])
def test_outputs_and_gradients_are_torchs(kernel, dilation, length):
    torch.manual_seed(0)
    x, weight, bias = torch.randn(2, 5, length), torch.randn(6, 5, kernel), torch.randn(6)
    wanted = F.conv1d(*(t.double().requires_grad_() for t in (x, weight, bias)), dilation=dilation)
    x, weight, bias = (t.requires_grad_() for t in (x, weight, bias))
    found = filtered(x, transformed(weight), bias, kernel, dilation)
    bound = {"rtol": 1e-4, "atol": 1e-4}
    torch.testing.assert_close(found, wanted.float(), **bound)
    onto = torch.randn_like(found)
    doubles = tuple(t.detach().double().requires_grad_() for t in (x, weight, bias))
    theirs = torch.autograd.grad(F.conv1d(*doubles, dilation=dilation), doubles, onto.double())
    for own, their in zip(torch.autograd.grad(found, (x, weight, bias), onto), theirs, strict=True):
        torch.testing.assert_close(own, their.float(), **bound)


def used(monkeypatch, layer: FastConv1d, x: torch.Tensor) -> bool:
    """Whether the layer filters x; either way it must give what nn.Conv1d would."""
    calls = []
    monkeypatch.setattr(fast_convolution, "filtered", lambda *args: calls.append(1) or filtered(*args))
    expected = F.conv1d(x, layer.weight, layer.bias, layer.stride, layer.padding, layer.dilation)
    torch.testing.assert_close(layer(x).float(), expected.float(), rtol=2e-2, atol=2e-2)
    return bool(calls)


def test_only_large_ones_in_training_or_folded_on_a_cpu_in_float32(monkeypatch):
    x = torch.randn(1, 512, 30)
    layer = weight_norm(FastConv1d(512, 256, 3, padding=1))
    assert used(monkeypatch, layer, x)
    with torch.no_grad():
        assert not used(monkeypatch, layer, x)
    with torch.autocast("cpu", torch.bfloat16):
        assert not used(monkeypatch, layer, x)
    assert not used(monkeypatch, layer.double(), x.double())
    assert not used(monkeypatch, FastConv1d(512, 256, 3, stride=2), x)
    assert not used(monkeypatch, FastConv1d(512, 256, 5), x)
    assert not used(monkeypatch, FastConv1d(512, 128, 3), x)
    untrained = FastConv1d(512, 256, 3).requires_grad_(False)
    assert not used(monkeypatch, untrained, x)
    assert used(monkeypatch, fold(untrained), x)
