"""The I3D network against independent arithmetic."""

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from dataset_tools.i3d.checkpoints import STREAMS, i3d_features
from dataset_tools.i3d.net import I3D, Unit3D, max_pool_same, pad_same, same_padding
from tests.helpers.i3d_builders import lively


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize("size", range(1, 40))
@pytest.mark.parametrize(("kernel", "stride"), [(1, 1), (3, 1), (7, 2), (3, 2), (2, 2)])
def test_same_padding_is_tensorflows(size, kernel, stride):
    # tensorflow.org/api_docs/python/tf/nn, "padding": by the remainder of the size
    total = max(kernel - (size % stride or stride), 0)
    before, after = same_padding(size, kernel, stride)
    assert (before, after) == (total // 2, total - total // 2)
    assert (size + total - kernel) // stride + 1 == -(-size // stride)


def test_convolution_is_a_sum_over_an_end_padded_window():
    unit = Unit3D(2, 3, kernel=7, stride=2, bare=True)
    x = torch.randn(1, 2, 10, 9, 8)
    with torch.no_grad():
        y = unit(x)[0].numpy()
    w, bias = unit.conv3d.weight.detach().numpy(), unit.conv3d.bias.detach().numpy()
    assert y.shape == (3, 5, 5, 4)
    padded = np.zeros((2, 40, 40, 40), np.float32)
    start = [15 - (5 if n % 2 == 0 else 6) // 2 for n in (10, 9, 8)]  # total 7 - 2 or 7 - 1, the smaller half first
    padded[:, 15:25, 15:24, 15:23] = x[0].numpy()
    for t, i, j in np.ndindex(5, 5, 4):
        corner = [s + 2 * n for s, n in zip(start, (t, i, j), strict=True)]
        patch = padded[:, corner[0] : corner[0] + 7, corner[1] : corner[1] + 7, corner[2] : corner[2] + 7]
        np.testing.assert_allclose(y[:, t, i, j], (w * patch).sum(axis=(1, 2, 3, 4)) + bias, atol=1e-4)


@pytest.mark.parametrize("kernel", [(1, 3, 3), (3, 3, 3), (2, 2, 2)])
@pytest.mark.parametrize("stride", [(1, 1, 1), (1, 2, 2), (2, 2, 2)])
@pytest.mark.parametrize("size", [(1, 2, 3), (5, 8, 9), (6, 7, 4)])
def test_pooling_is_the_same_with_and_without_gradients(kernel, stride, size):
    x = torch.randn(2, 3, *size, generator=torch.Generator().manual_seed(1)).relu()
    expected = F.max_pool3d(pad_same(x, kernel, stride), kernel, stride)
    assert torch.equal(max_pool_same(x, kernel, stride), expected)
    assert torch.equal(max_pool_same(x.requires_grad_(), kernel, stride), expected)


def test_max_pool_looks_at_the_end_but_not_before_the_start():
    x = torch.arange(6.0).view(1, 1, 6, 1, 1)
    assert max_pool_same(x, (3, 1, 1), (2, 1, 1)).flatten().tolist() == [2.0, 4.0, 5.0]
    assert pad_same(x, (3, 1, 1), (2, 1, 1)).flatten().tolist() == [0, 1, 2, 3, 4, 5, 0]


@pytest.mark.parametrize(("channels", "parameters"), [(3, 12_697_264), (2, 12_675_312)])
def test_width_one_is_the_published_network(channels, parameters):
    with torch.device("meta"):
        net = I3D(channels)
    assert sum(p.numel() for p in net.parameters()) == parameters
    assert len([k for k in net.state_dict() if not k.endswith("num_batches_tracked")]) == 287
    assert all(m.eps == 1e-3 for m in net.modules() if isinstance(m, torch.nn.BatchNorm3d))


@pytest.mark.parametrize(
    ("frames", "height", "width", "expected"),
    [(60, 33, 32, (8, 2, 1)), (64, 113, 64, (8, 4, 2)), (10, 64, 100, (2, 2, 4)), (9, 224, 32, (2, 7, 1))],
)
def test_map_sizes(frames, height, width, expected):
    with torch.inference_mode():
        maps = lively(3).feature_map(torch.zeros(1, 3, frames, height, width))
    assert maps.shape == (1, 1024, *expected)


@pytest.mark.parametrize(("frames", "side"), [(1, 32), (8, 48), (16, 64), (60, 48)])
def test_features_at_several_lengths(frames, side):
    net = lively(3)
    with torch.inference_mode():
        features = net.features(torch.randn(2, 3, frames, side, side))
        assert features.shape == (2, 1024) and features.std() > 0.01
        assert net(torch.randn(1, 3, frames, side, side)).shape == (1, 3)


def test_features_weigh_the_middle_of_time_as_the_published_head_does(monkeypatch):
    net = lively(3)
    maps = torch.zeros(1, 1024, 8, 7, 7)
    maps[0, 0, 0], maps[0, 1, 3] = 1.0, 1.0
    monkeypatch.setattr(net, "feature_map", lambda x: maps)
    features = net.features(torch.zeros(1))
    # eight steps make seven pairs: an end step is in one of them, an inner one in two
    assert features[0, 0].item() == pytest.approx(1 / 14) and features[0, 1].item() == pytest.approx(2 / 14)


def test_scores_are_the_classifier_over_time_then_the_mean():
    net = lively(3)
    x = torch.randn(2, 3, 30, 40, 40)
    with torch.inference_mode():
        maps = net.feature_map(x)
        pooled = F.avg_pool3d(maps, (2, 2, 2), stride=1)
        direct = net.logits(pooled).mean(dim=(2, 3, 4))
        torch.testing.assert_close(net(x), direct, atol=1e-5, rtol=1e-4)


def test_width_leaves_the_features_as_they_are():
    for width in (0.05, 0.125, 0.5):
        net = I3D(2, width)
        outputs = sum(getattr(net.Mixed_5c, b).conv3d.out_channels for b in ("b0", "b1b", "b2b", "b3b"))
        assert outputs == 1024
    assert I3D(2, 0.5).Mixed_3b.b1b.conv3d.out_channels == 64


def straight_line(state, x):
    """Features of (B, C, T, H, W) from the tensors of a piergiaj-named state dict alone: the published network written
    down step by step with torch's functions, TensorFlow's SAME padding by the remainder of each size."""

    def pad(x, kernel, stride):
        flat = []
        for size, k, s in zip(reversed(x.shape[2:]), reversed(kernel), reversed(stride), strict=True):
            total = max(k - s, 0) if size % s == 0 else max(k - size % s, 0)
            flat += [total // 2, total - total // 2]
        return F.pad(x, flat)

    def unit(x, name, kernel=1, stride=1):
        x = F.conv3d(pad(x, (kernel,) * 3, (stride,) * 3), state[f"{name}.conv3d.weight"], stride=stride)
        mean, var, gain, shift = (
            state[f"{name}.bn.{part}"].view(1, -1, 1, 1, 1)
            for part in ("running_mean", "running_var", "weight", "bias")
        )
        return torch.relu((x - mean) / torch.sqrt(var + 0.001) * gain + shift)

    def pool(x, kernel, stride):
        return F.max_pool3d(pad(x, kernel, stride), kernel, stride)

    def mixed(x, name):
        first = unit(x, f"{name}.b0")
        second = unit(unit(x, f"{name}.b1a"), f"{name}.b1b", 3)
        third = unit(unit(x, f"{name}.b2a"), f"{name}.b2b", 3)
        return torch.cat([first, second, third, unit(pool(x, (3, 3, 3), (1, 1, 1)), f"{name}.b3b")], dim=1)

    x = pool(unit(x, "Conv3d_1a_7x7", 7, 2), (1, 3, 3), (1, 2, 2))
    x = pool(unit(unit(x, "Conv3d_2b_1x1"), "Conv3d_2c_3x3", 3), (1, 3, 3), (1, 2, 2))
    x = pool(mixed(mixed(x, "Mixed_3b"), "Mixed_3c"), (3, 3, 3), (2, 2, 2))
    for block in "bcdef":
        x = mixed(x, f"Mixed_4{block}")
    x = mixed(mixed(pool(x, (2, 2, 2), (2, 2, 2)), "Mixed_5b"), "Mixed_5c")
    pairs = (x[:, :, :-1] + x[:, :, 1:]) / 2  # average over (2, 7, 7) with stride 1, of a map of at most 7 x 7
    return pairs.mean(dim=(3, 4)).mean(dim=2)


@pytest.mark.parametrize("stream", ["rgb", "flow"])
@pytest.mark.parametrize(
    ("frames", "height", "width"), [(10, 65, 49), (16, 64, 64), (17, 33, 95), (30, 47, 63), (60, 51, 35)]
)
def test_parity_with_the_network_written_down_step_by_step(stream, frames, height, width):
    net = lively(STREAMS[stream])
    torch.manual_seed(frames)
    for norm in (m for m in net.modules() if isinstance(m, torch.nn.BatchNorm3d)):
        norm.weight.data.uniform_(0.5, 1.5)
        norm.bias.data.uniform_(-0.2, 0.2)
    x = torch.rand(2, STREAMS[stream], frames, height, width) * 2 - 1
    found = i3d_features(net, x)
    expected = straight_line({k: v.double() for k, v in net.state_dict().items()}, x.double())
    assert found.shape == (2, 1024) and found.std() > 0.01
    assert (found - expected).norm() / expected.norm() < 1e-5


def test_features_refuse_what_is_not_their_input():
    net = lively(2)
    for x, reason in (
        (torch.zeros(1, 3, 10, 32, 32), r"expected \(B, 2, T, H, W\), found \(1, 3, 10, 32, 32\)"),
        (torch.zeros(2, 10, 32, 32), r"expected \(B, 2, T, H, W\)"),
        (torch.full((1, 2, 10, 32, 32), 128.0), "values must be within -1..1, found 128..128"),
        (torch.full((1, 2, 10, 32, 32), torch.nan), "values must be within -1..1"),
    ):
        with pytest.raises(ValueError, match=reason):
            i3d_features(net, x)
