"""Samples codes from a prior, one after another, for music of any length."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from threadpoolctl import threadpool_limits

from d2m_model.nets.cpu.switch import is_plain
from d2m_model.prior.cpu_steps import CpuSteps, TorchSteps
from d2m_model.prior.net import PATCH, Cache, PriorNet
from dataset_tools.lib.core.progress import ProgressBar
from dataset_tools.lib.core.timebase import SAMPLE_RATE


@dataclass(frozen=True, kw_only=True)
class Draw:
    """How codes are sampled."""

    guidance: float = 1.0
    """Scale of classifier-free guidance by rhythm and style: 0 ignores them, 1 is as trained, more exaggerates their effect."""
    temperature: float = 1.0
    """Softmax temperature; below 1 likely codes become likelier."""


DRAWS = {"high": Draw(), "low": Draw()}
"""Default settings of each level. On held-out songs of the demo's pool, guidance 2.5 gave more onsets off the beats, and
temperature 0.7 a higher FAD. Level low only adds detail to level high."""


@threadpool_limits.wrap(limits=1, user_api="blas")  # for products so small, more threads only wait for each other
@torch.inference_mode()
def sample(
    net: PriorNet, rhythm: torch.Tensor, style: torch.Tensor | None, draw: Draw, rng: torch.Generator,
    *, upper: torch.Tensor | None = None, kept: torch.Tensor | None = None, bar: str = "",
) -> torch.Tensor:  # fmt: skip
    """Codes (L,) int64 for rhythm (L, RHYTHM), style (style,) and upper (U,), the codes of the level above.

    A rhythm of zeros means no rhythm. kept: codes (K,) that the result begins with, K at most L. When the Transformer's context is
    full, sampling continues from its second half, so that any length is possible. Equal states of `rng` give equal codes.
    bar: label of a progress bar in seconds of music; empty for none.
    """
    sizes, count = net.sizes, len(rhythm)
    patches = -(-count // sizes.patch)
    rhythm = _pad(rhythm, patches * sizes.patch)[None]
    upper = None if upper is None else _pad(upper, patches * sizes.upper)[None]
    guided = draw.guidance != 1
    has_rhythm, has_style = (
        torch.tensor([known, False] if guided else [known]) for known in (bool(rhythm.any()), True)
    )
    rows = len(has_rhythm)
    style = None if style is None else style[None].expand(rows, -1)
    condition = net.condition(
        rhythm.expand(rows, -1, -1),
        style,
        None if upper is None else upper.expand(rows, -1),
        has_rhythm=has_rhythm,
        has_style=has_style,
    )
    rhythm = rhythm.expand(rows, -1, -1) * has_rhythm[:, None, None]
    known = 0 if kept is None else min(len(kept), count)
    codes = np.full(sizes.seen + patches * sizes.patch, net.start)
    if kept is not None:
        codes[sizes.seen : sizes.seen + known] = kept[:known]
    uniform = torch.rand(patches * sizes.patch, generator=rng, dtype=torch.float64).numpy()
    first_new, caches = known // sizes.patch, None
    steps = (TorchSteps if is_plain() else CpuSteps)(net)
    places = range(first_new, patches)
    for t in _with_bar(places, bar) if bar else places:
        now = t * sizes.patch
        if caches is None or caches[0].length == sizes.context:
            first = max(0, t + 1 - sizes.context) if caches is None else t - sizes.context // 2
            caches = [Cache(sizes.context) for _ in net.blocks]
            before = codes[sizes.seen + (first - 1) * sizes.patch : sizes.seen + now].reshape(1, -1, sizes.patch)
            h = net.through(torch.from_numpy(before).expand(rows, -1, -1), condition[:, first : t + 1], caches)[:, -1]
            hidden = h.numpy()
            window = slice(first, first + sizes.context)
            steps.prepare(condition[:, window], rhythm.unflatten(1, (-1, sizes.patch))[:, window].flatten(1, 2))
        else:
            hidden = steps.through(codes[sizes.seen + now - sizes.patch : sizes.seen + now], caches)
        spread = steps.spread(hidden, t - first)
        for j in range(max(0, known - now), sizes.patch):
            scores = steps.scores(spread[:, j], codes[now + j : now + j + sizes.seen])
            codes[sizes.seen + now + j] = _sample_code(scores, uniform[now + j], draw)
    return torch.from_numpy(codes[sizes.seen : sizes.seen + count].copy())


def _with_bar(places: range, label: str) -> Iterator[int]:
    """The places of patches, with a bar that counts seconds of music."""
    with ProgressBar(total=len(places) * PATCH // SAMPLE_RATE, desc=label, unit="s of music") as bar:
        for done, place in enumerate(places, 1):
            yield place
            bar.update(done * PATCH // SAMPLE_RATE - bar.n)


def _pad(x: torch.Tensor, length: int) -> torch.Tensor:
    """x (L, ...), cut or padded with zeros to `length`."""
    return torch.cat([x[:length], x.new_zeros(max(0, length - len(x)), *x.shape[1:])])


def _sample_code(scores: np.ndarray, uniform: float, draw: Draw) -> int:
    """One code sampled from logits (2, bins), with and without the condition, or (1, bins); uniform: a uniform number within 0..1."""
    mixed = scores[0] if len(scores) == 1 else scores[1] + draw.guidance * (scores[0] - scores[1])
    mixed = mixed.astype(np.float64) / draw.temperature
    share = np.exp(mixed - mixed.max())
    order = np.argsort(-share, kind="stable")
    total = share[order].cumsum()
    return int(order[min(np.searchsorted(total, uniform * total[-1]), len(total) - 1)])
