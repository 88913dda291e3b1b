"""I3D: Inception-v1 inflated to three dimensions (Carreira and Zisserman, CVPR 2017), one stream.

The layers have the names of the widely used PyTorch conversions, so that their files can be loaded (i3d/checkpoints.py).
TensorFlow's SAME padding and batch-norm epsilon are kept, because the published weights were trained with them.
"""

import torch
from torch import nn
from torch.nn import functional as F

FEATURES = 1024  # channels after the last block, at any width
BATCH_NORM_EPS = 1e-3  # TensorFlow's; torch's own 1e-5 gives other features from the same weights

# Output channels at width 1: [1x1, 3x3 reduce, 3x3, second 3x3 reduce, second 3x3, pool projection]
MIXED = {
    "Mixed_3b": (64, 96, 128, 16, 32, 32),
    "Mixed_3c": (128, 128, 192, 32, 96, 64),
    "Mixed_4b": (192, 96, 208, 16, 48, 64),
    "Mixed_4c": (160, 112, 224, 24, 64, 64),
    "Mixed_4d": (128, 128, 256, 24, 64, 64),
    "Mixed_4e": (112, 144, 288, 32, 64, 64),
    "Mixed_4f": (256, 160, 320, 32, 128, 128),
    "Mixed_5b": (256, 160, 320, 32, 128, 128),
    "Mixed_5c": (384, 192, 384, 48, 128, 128),
}
# Block -> (kernel, stride) of the max-pooling before it, over (time, height, width)
POOL_BEFORE = {
    "Conv3d_2b_1x1": ((1, 3, 3), (1, 2, 2)),
    "Mixed_3b": ((1, 3, 3), (1, 2, 2)),
    "Mixed_4b": ((3, 3, 3), (2, 2, 2)),
    "Mixed_5b": ((2, 2, 2), (2, 2, 2)),
}


def same_padding(size: int, kernel: int, stride: int) -> tuple[int, int]:
    """(padding before, padding after) an axis of `size`, so that the output has ceil(size / stride) steps. An odd zero goes after."""
    steps = -(-size // stride)
    total = max((steps - 1) * stride + kernel - size, 0)
    return total // 2, total - total // 2


def pad_same(x: torch.Tensor, kernel: tuple, stride: tuple) -> torch.Tensor:
    """Pad (B, C, T, H, W) with zeros for a SAME window of `kernel` and `stride`."""
    pads = [same_padding(n, k, s) for n, k, s in zip(x.shape[2:], kernel, stride, strict=True)]
    flat = [p for pair in reversed(pads) for p in pair]
    return F.pad(x, flat) if any(flat) else x


def max_pool_same(x: torch.Tensor, kernel: tuple, stride: tuple) -> torch.Tensor:
    """SAME max-pooling of the output of a ReLU, (B, C, T, H, W). Since that is never negative, zeros replace TensorFlow's minus infinity.

    On a CPU without gradients it pools one axis after the other, which gives the same maxima ten times as fast as torch's pooling,
    which also computes their positions.
    """
    if x.requires_grad or x.device.type != "cpu":
        return F.max_pool3d(pad_same(x, kernel, stride), kernel, stride)
    for axis, size, step in zip((2, 3, 4), kernel, stride, strict=True):
        if size > 1 or step > 1:
            x = _max_along(x, axis, size, step)
    return x


def _max_along(x: torch.Tensor, axis: int, kernel: int, stride: int) -> torch.Tensor:
    """Maxima over SAME windows of one axis."""
    count = x.shape[axis]
    before, _ = same_padding(count, kernel, stride)
    steps = -(-count // stride)

    def shifted(by: int, first: int, last: int) -> torch.Tensor:
        """The values `by` positions after the start of the steps first..last."""
        return x[(slice(None),) * axis + (slice(first * stride + by, last * stride + by + 1, stride),)]

    out = shifted(0, 0, steps - 1).clone()
    for by in range(-before, kernel - before):
        first, last = max(0, -(by // stride)), min(steps, (count - 1 - by) // stride + 1) - 1  # steps inside the axis
        if by and first <= last:
            part = out.narrow(axis, first, last - first + 1)
            torch.maximum(part, shifted(by, first, last), out=part)
    return out


class Unit3D(nn.Module):
    """Convolution with SAME padding, batch norm and ReLU; with `bare`, only the convolution, with a bias."""

    def __init__(self, inputs: int, outputs: int, kernel: int = 1, stride: int = 1, bare: bool = False):
        super().__init__()
        self.conv3d = nn.Conv3d(inputs, outputs, kernel, stride, bias=bare)
        if not bare:
            self.bn = nn.BatchNorm3d(outputs, eps=BATCH_NORM_EPS)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, inputs, T, H, W) -> (B, outputs, T', H', W'), sizes divided by the stride and rounded up."""
        x = self.conv3d(pad_same(x, self.conv3d.kernel_size, self.conv3d.stride))
        return F.relu(self.bn(x), inplace=True) if hasattr(self, "bn") else x


class Mixed(nn.Module):
    """Inception block: four parallel branches, concatenated along the channels."""

    def __init__(self, inputs: int, channels: tuple[int, ...]):
        super().__init__()
        one, reduce3, three, reduce_second, second, project = channels
        self.b0 = Unit3D(inputs, one)
        self.b1a, self.b1b = Unit3D(inputs, reduce3), Unit3D(reduce3, three, 3)
        self.b2a, self.b2b = Unit3D(inputs, reduce_second), Unit3D(reduce_second, second, 3)
        self.b3b = Unit3D(inputs, project)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, inputs, T, H, W) -> (B, outputs, T, H, W), the channels of all branches."""
        pooled = max_pool_same(x, (3, 3, 3), (1, 1, 1))
        return torch.cat([self.b0(x), self.b1b(self.b1a(x)), self.b2b(self.b2a(x)), self.b3b(pooled)], dim=1)


class I3D(nn.Module):
    """One stream of the two-stream network.

    Parameters
    ----------
    in_channels : 3 for RGB, 2 for optical flow (x, y).
    width : factor for the channels of every layer except the outputs of the last block, which are always 1024, so that the
        size of the features does not depend on the width. Width 1 is the published network.
    classes : number of outputs of `forward`.

    """

    def __init__(self, in_channels: int, width: float = 1.0, classes: int = 400):
        super().__init__()
        self.in_channels, self.width, self.classes = in_channels, width, classes

        def scaled(channels: int) -> int:
            return max(4, round(channels * width))

        self.Conv3d_1a_7x7 = Unit3D(in_channels, scaled(64), 7, 2)
        self.Conv3d_2b_1x1 = Unit3D(scaled(64), scaled(64))
        self.Conv3d_2c_3x3 = Unit3D(scaled(64), scaled(192), 3)
        inputs = scaled(192)
        for name, channels in MIXED.items():
            one, reduce3, three, reduce_second, second, project = channels
            inner = tuple(scaled(c) for c in channels)
            if name == "Mixed_5c":
                inner = (one, scaled(reduce3), three, scaled(reduce_second), second, project)
            self.add_module(name, Mixed(inputs, inner))
            inputs = inner[0] + inner[2] + inner[4] + inner[5]
        self.dropout = nn.Dropout(0.5)
        self.logits = Unit3D(FEATURES, classes, bare=True)

    def feature_map(self, x: torch.Tensor) -> torch.Tensor:
        """Last feature map: (B, C, T, H, W) in -1..1 -> (B, 1024, T/8, H/32, W/32), sizes rounded up."""
        for name in ("Conv3d_1a_7x7", "Conv3d_2b_1x1", "Conv3d_2c_3x3", *MIXED):
            if name in POOL_BEFORE:
                x = max_pool_same(x, *POOL_BEFORE[name])
            x = getattr(self, name)(x)
        return x

    def features(self, x: torch.Tensor) -> torch.Tensor:
        """Features: (B, C, T, H, W) in -1..1 -> (B, 1024).

        The published head averages the last map over windows of (2, 7, 7) with stride 1, then over time. A smaller map (of less than
        9 frames, or a side of at most 192 px) is averaged over its own size. A map larger than 7x7 gives several positions,
        which are averaged too.
        """
        maps = self.feature_map(x)
        window = [min(k, n) for k, n in zip((2, 7, 7), maps.shape[2:], strict=True)]
        return F.avg_pool3d(maps, window, stride=1).mean(dim=(2, 3, 4))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Class scores before softmax: (B, C, T, H, W) in -1..1 -> (B, classes).

        The classifier is linear, so the scores of the mean feature are the mean of the scores over time.
        """
        pooled = self.dropout(self.features(x))
        return self.logits(pooled[:, :, None, None, None]).flatten(1)
