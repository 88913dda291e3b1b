"""The prior's network on a CPU, one patch and one code after another: equal to `PriorNet` up to rounding.

A step is so small that torch's calls take longer than the arithmetic. numpy's take less. Linear layers of embedded codes become
sums of table rows, and what depends only on the condition is computed for many patches at once.
"""

from math import sqrt

import numpy as np
import torch
from scipy.special import erf
from torch import nn

from d2m_model.prior.net import Cache, PatchBlock, PriorNet


class CpuSteps:
    """A network in evaluation mode, for steps of `rows` sequences with the same codes and different conditions."""

    def __init__(self, net: PriorNet):
        sizes, within = net.sizes, net.within
        self.codes = _tables(net.code, net.patches, sizes.patch)
        self.blocks = [_Block(block, sizes.context) for block in net.blocks]  # type: ignore[arg-type]
        self.norm = _norm(net.norm)
        self.above, self.rhythm = _linear(within.above), within.rhythm
        self.behind = _tables(net.code, within.behind, sizes.seen)
        self.feeds = [_feed(feed[0], feed[1], feed[3]) for feed in within.feeds]  # type: ignore[index]
        self.head = _after_norm(within.norm, within.head)
        self.places = np.arange(sizes.patch), np.arange(sizes.seen)

    def prepare(self, condition: torch.Tensor, rhythm: torch.Tensor) -> None:
        """Take the condition (rows, N, width) and rhythm (rows, N * P, RHYTHM) of the patches of one context, N at most `context`."""
        self.beats = self.rhythm(rhythm).unflatten(1, (condition.shape[1], -1)).numpy()
        for block in self.blocks:
            block.prepare(condition)

    def through(self, codes: np.ndarray, caches: list[Cache]) -> np.ndarray:
        """`PriorNet.through` for one patch of codes (P,) at the caches' next position: (rows, width)."""
        at = caches[0].length
        x = self.codes[self.places[0], codes].sum(0)[None]
        for block, cache in zip(self.blocks, caches, strict=True):
            x = block(x, at, cache)
        for cache in caches:
            cache.length += 1
        gain, bias = self.norm
        return _normalised(x) * gain + bias

    def spread(self, h: np.ndarray, at: int) -> np.ndarray:
        """`LocalNet.spread` (rows, P, local_width) for `through`'s result (rows, width) at a position of the context."""
        weight, bias = self.above
        return (h @ weight + bias).reshape(len(h), len(self.places[0]), -1) + self.beats[:, at]

    def scores(self, spread: np.ndarray, behind: np.ndarray) -> np.ndarray:
        """`LocalNet.scores` (rows, bins) for `spread` (rows, local_width) and the previous codes (seen,)."""
        x = spread + self.behind[self.places[1], behind].sum(0)
        for feed in self.feeds:
            x = x + _fed(x, *feed)
        weight, bias = self.head
        return _normalised(x) @ weight + bias


class TorchSteps:
    """The same steps with torch's own layers, for comparison."""

    def __init__(self, net: PriorNet):
        self.net = net

    def prepare(self, condition: torch.Tensor, rhythm: torch.Tensor) -> None:
        """As `CpuSteps.prepare`."""
        self.condition, self.beats = condition, rhythm.unflatten(1, (condition.shape[1], -1))

    def through(self, codes: np.ndarray, caches: list[Cache]) -> np.ndarray:
        """As `CpuSteps.through`."""
        at = caches[0].length
        condition = self.condition[:, at : at + 1]
        return self.net.through(torch.from_numpy(codes).expand(len(condition), 1, -1), condition, caches)[:, 0].numpy()

    def spread(self, h: np.ndarray, at: int) -> np.ndarray:
        """As `CpuSteps.spread`."""
        return self.net.within.spread(torch.from_numpy(h)[:, None], self.beats[:, at]).numpy()

    def scores(self, spread: np.ndarray, behind: np.ndarray) -> np.ndarray:
        """As `CpuSteps.scores`."""
        embedded = self.net.code(torch.from_numpy(behind)).flatten().expand(len(spread), -1)
        return self.net.within.scores(torch.from_numpy(spread), embedded).numpy()


class _Block:
    """A `PatchBlock` for one patch after another."""

    def __init__(self, block: PatchBlock, context: int):
        attention = block.attention
        self.heads, self.scale = attention.heads, 1 / sqrt(attention.out.in_features // attention.heads)
        self.condition_of = block.condition
        self.qkv = _after_norm(block.before, attention.qkv)
        self.out = _linear(attention.out)
        self.feed = _feed(block.between, block.feed[0], block.feed[2])  # type: ignore[arg-type]
        angle = torch.arange(context)[:, None] * attention.turns
        self.cos, self.sin = angle.cos().numpy(), angle.sin().numpy()

    def prepare(self, condition: torch.Tensor) -> None:
        self.condition = self.condition_of(condition).numpy()

    def __call__(self, x: np.ndarray, at: int, cache: Cache) -> np.ndarray:
        assert cache.keys is not None and cache.values is not None
        x = x + self.condition[:, at]
        weight, bias = self.qkv
        qkv = (_normalised(x) @ weight + bias).reshape(len(x), 3, self.heads, -1)
        half = self.cos.shape[1]
        a, b = qkv[:, :2, :, :half], qkv[:, :2, :, half:]  # of q and k
        turned = np.concatenate([a * self.cos[at] - b * self.sin[at], a * self.sin[at] + b * self.cos[at]], -1)
        keys, values = cache.keys.numpy(), cache.values.numpy()  # views: what is written here is in the cache
        keys[:, :, at], values[:, :, at] = turned[:, 1], qkv[:, 2]
        share = (keys[:, :, : at + 1] @ turned[:, 0, :, :, None])[..., 0] * self.scale
        share = np.exp(share - share.max(-1, keepdims=True))
        share /= share.sum(-1, keepdims=True)
        attended = (share[:, :, None] @ values[:, :, : at + 1]).reshape(len(x), -1)
        weight, bias = self.out
        x = x + attended @ weight + bias
        return x + _fed(x, *self.feed)


def _array(x: torch.Tensor) -> np.ndarray:
    return np.ascontiguousarray(x.detach().float().numpy())


def _linear(layer: nn.Linear) -> tuple[np.ndarray, np.ndarray]:
    """Weight (in, out) and bias (out,)."""
    return _array(layer.weight.T), _array(layer.bias)


def _norm(layer: nn.LayerNorm) -> tuple[np.ndarray, np.ndarray]:
    return _array(layer.weight), _array(layer.bias)


def _after_norm(norm: nn.LayerNorm, layer: nn.Linear) -> tuple[np.ndarray, np.ndarray]:
    """The linear layer, with the norm's gain and bias in it."""
    weight, bias = _linear(layer)
    gain, shift = _norm(norm)
    return np.ascontiguousarray(gain[:, None] * weight), bias + shift @ weight


def _feed(norm: nn.LayerNorm, first: nn.Linear, second: nn.Linear) -> tuple[np.ndarray, ...]:
    return *_after_norm(norm, first), *_linear(second)


def _tables(code: nn.Embedding, layer: nn.Linear, places: int) -> np.ndarray:
    """(places, bins, out): a linear layer of the embeddings of `places` codes is the sum of one row of each; the bias is in the first."""
    with torch.inference_mode():
        weight = layer.weight.unflatten(1, (places, -1))  # (out, places, E)
        tables = torch.einsum("ce,ope->pco", code.weight, weight)
        tables[0] += layer.bias
    return _array(tables)


def _normalised(x: np.ndarray) -> np.ndarray:
    """x (rows, width) with mean 0 and variance 1 in each row, as torch.nn.LayerNorm before gain and bias."""
    x = x - x.sum(-1, keepdims=True) / x.shape[-1]
    return x / np.sqrt((x * x).sum(-1, keepdims=True) / x.shape[-1] + 1e-5)


def _fed(x: np.ndarray, weight: np.ndarray, bias: np.ndarray, last: np.ndarray, last_bias: np.ndarray) -> np.ndarray:
    h = _normalised(x) @ weight + bias
    return (h * (1 + erf(h * np.float32(sqrt(0.5)))) * np.float32(0.5)) @ last + last_bias
