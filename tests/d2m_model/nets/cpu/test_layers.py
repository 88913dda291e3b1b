"""Whichever way a layer computes, outputs and gradients are those of torch's, whatever the length and dilation."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.utils.parametrizations import weight_norm

from d2m_model.nets.cpu import layers, minimal_filtering
from d2m_model.nets.cpu.layers import Conv1d
from d2m_model.nets.cpu.minimal_filtering import Filtered, TilePlan, filtered
from d2m_model.nets.cpu.strided_convolution import phased
from d2m_model.nets.fusing import fuse_for_inference

BOUND = {"rtol": 1e-4, "atol": 1e-4}


def same_gradients(found: torch.Tensor, inputs: tuple, wanted: torch.Tensor, doubles: tuple) -> None:
    """Outputs and gradients are those that torch computes in double precision."""
    torch.testing.assert_close(found, wanted.float(), **BOUND)
    onto = torch.randn_like(found)
    theirs = torch.autograd.grad(wanted, doubles, onto.double())
    for own, their in zip(torch.autograd.grad(found, inputs, onto), theirs, strict=True):
        torch.testing.assert_close(own, their.float(), **BOUND)


@pytest.mark.parametrize(
    ("kernel", "dilation", "length", "mirrored"),
    [
        (3, 1, 20, 0),
        (3, 27, 61, 27),
        (3, 9, 70, 9),
        (4, 1, 9, 0),
        (5, 1, 9, 1),
        (40, 1, 40, 0),
        (41, 1, 131, 0),
        (41, 2, 200, 0),
    ],
)
def test_outputs_and_gradients_are_torchs(kernel, dilation, length, mirrored):
    torch.manual_seed(0)
    inputs = tuple(torch.randn(*shape, requires_grad=True) for shape in ((2, 5, length), (6, 5, kernel), (6,)))
    doubles = tuple(t.detach().double().requires_grad_() for t in inputs)
    padded = F.pad(doubles[0], (mirrored, mirrored), mode="reflect")
    rows = Filtered.apply(*inputs, TilePlan(2, 5, length, kernel, dilation, mirrored))
    same_gradients(
        rows.view(2, -1, 6).transpose(1, 2), inputs, F.conv1d(padded, *doubles[1:], dilation=dilation), doubles
    )


@pytest.mark.parametrize(
    ("kernel", "stride", "padding", "groups"), [(41, 4, 20, 2), (4, 2, 1, 1), (5, 3, 0, 4), (7, 3, 5, 1)]
)
@pytest.mark.parametrize("length", [41, 42, 43, 44])
def test_a_stride_is_taken_apart_into_phases(kernel, stride, padding, groups, length):
    torch.manual_seed(0)
    layer = Conv1d(8, 12, kernel, stride, padding, groups=groups)
    inputs = (torch.randn(2, 8, length, requires_grad=True), layer.weight, layer.bias)
    doubles = tuple(t.detach().double().requires_grad_() for t in inputs)
    for found in (phased(*inputs, stride, padding, groups), layer(inputs[0])):
        wanted = F.conv1d(*doubles, stride=stride, padding=padding, groups=groups)
        same_gradients(found, inputs, wanted, doubles)


def test_a_gradient_that_is_one_number_over_and_over():
    torch.manual_seed(0)
    x, layer = torch.randn(2, 5, 11, requires_grad=True), Conv1d(5, 7, 1)
    layer(x).sum().backward()
    torch.testing.assert_close(x.grad, layer.weight.detach().sum(0).expand_as(x), **BOUND)
    torch.testing.assert_close(layer.weight.grad[:, :, 0], x.detach().sum((0, 2)).expand(7, 5), **BOUND)


def test_a_kernel_of_one_is_a_product_of_matrices():
    torch.manual_seed(0)
    layer = Conv1d(5, 7, 1)
    inputs = (torch.randn(2, 5, 11, requires_grad=True), layer.weight, layer.bias)
    doubles = tuple(t.detach().double().requires_grad_() for t in inputs)
    same_gradients(layer(inputs[0]), inputs, F.conv1d(*doubles), doubles)


def used(monkeypatch, layer: Conv1d, x: torch.Tensor) -> bool:
    """Whether the layer filters x; either way it must give what nn.Conv1d would."""
    calls = []
    for module in (layers, minimal_filtering):
        monkeypatch.setattr(module, "filtered", lambda *args: calls.append(1) or filtered(*args))
    expected = nn.Conv1d._conv_forward(layer, x, layer.weight, layer.bias)
    torch.testing.assert_close(layer(x).float(), expected.float(), rtol=2e-2, atol=2e-2)
    return bool(calls)


def test_only_large_ones_in_training_or_folded_on_a_cpu_in_float32(monkeypatch):
    x = torch.randn(1, 512, 30)
    layer = weight_norm(Conv1d(512, 256, 3, padding=1))
    assert used(monkeypatch, layer, x)
    assert used(monkeypatch, Conv1d(512, 256, 3, padding=2, dilation=2, padding_mode="reflect"), x)
    with torch.no_grad():
        assert not used(monkeypatch, layer, x)
    with torch.autocast("cpu", torch.bfloat16):
        assert not used(monkeypatch, layer, x)
    assert not used(monkeypatch, layer.double(), x.double())
    assert not used(monkeypatch, Conv1d(512, 256, 3, stride=2), x)
    assert not used(monkeypatch, Conv1d(512, 256, 6), x)
    assert not used(monkeypatch, Conv1d(256, 128, 3), x[:, :256])
    assert not used(monkeypatch, Conv1d(512, 256, 3, groups=2), x)
    untrained = Conv1d(512, 256, 3).requires_grad_(False)
    assert not used(monkeypatch, untrained, x)
    assert used(monkeypatch, fuse_for_inference(untrained), x)
