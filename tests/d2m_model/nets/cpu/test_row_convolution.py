"""The codec's convolutions by rows: equal to torch's, at every level and length."""

import pytest
import torch
from torch import nn

from d2m_model.nets.conv_blocks import ResidualStack
from d2m_model.nets.cpu import row_convolution
from d2m_model.nets.cpu.row_convolution import PIECE
from d2m_model.nets.cpu.switch import plain_torch
from d2m_model.nets.jukebox_vqvae import JukeboxVQVAE, VqVaeConfig
from dataset_tools.lib.core.timebase import HOPS

CLOSE = {"rtol": 1e-4, "atol": 1e-5}


@pytest.fixture(scope="module")
def codec():
    torch.manual_seed(0)
    return JukeboxVQVAE(VqVaeConfig(width=8, depth=3, bins=16, emb_width=12))


@pytest.mark.parametrize("level", [0, 1, 2])
@pytest.mark.parametrize("samples", [128, 129, 1003, 3 * PIECE + 77])
def test_equal_with_and_without_a_gradient(codec, level, samples):
    audio = torch.randn(2, samples, generator=torch.Generator().manual_seed(samples))
    by_torch = codec.latents(audio, level)
    with torch.no_grad():
        by_rows = codec.latents(audio, level)
    torch.testing.assert_close(by_rows, by_torch.detach(), **CLOSE)
    latents = by_torch.detach()
    by_torch = codec.decode_latents(latents, level)
    with torch.no_grad():
        by_rows = codec.decode_latents(latents, level)
    assert by_rows.shape == (2, samples // HOPS[level] * HOPS[level])
    torch.testing.assert_close(by_rows, by_torch.detach(), **CLOSE)


@pytest.mark.parametrize("length", [1, 2, 27, 40, PIECE - 1, PIECE, PIECE + 1, 2 * PIECE + 39])
def test_pieces_have_no_seams(length):
    stack, x = ResidualStack(4, 4), torch.randn(length, 4)
    with torch.no_grad():
        torch.testing.assert_close(row_convolution.residual_stack(x, stack).t(), stack(x.t()[None])[0], **CLOSE)


@pytest.mark.parametrize("length", [1, 2, 5, 6, 100])
@pytest.mark.parametrize(
    ("by_rows", "conv"),
    [
        (row_convolution.same, nn.Conv1d(3, 5, 3, padding=1)),
        (row_convolution.same, nn.Conv1d(3, 5, 3, padding=9, dilation=9)),
        (row_convolution.same, nn.Conv1d(3, 5, 1)),
        (row_convolution.halved, nn.Conv1d(3, 5, 4, stride=2, padding=1)),
        (row_convolution.doubled, nn.ConvTranspose1d(3, 5, 4, stride=2, padding=1)),
    ],
)
def test_each_convolution(by_rows, conv, length):
    x = torch.randn(length + (by_rows is row_convolution.halved), 3)  # of one row nothing is left
    with torch.no_grad():
        torch.testing.assert_close(by_rows(x, conv).t(), conv(x.t()[None])[0], **CLOSE)


def test_only_where_nobody_asks_for_a_gradient_or_another_precision():
    x = torch.zeros(1)
    assert not row_convolution.takes(x)
    with torch.no_grad():
        assert row_convolution.takes(x) and not row_convolution.takes(x.double())
        with torch.autocast("cpu", torch.bfloat16):
            assert not row_convolution.takes(x)
        with plain_torch():
            assert not row_convolution.takes(x)
