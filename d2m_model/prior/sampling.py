"""Samples codes from a prior, one after another, for any length."""

from dataclasses import dataclass

import torch

from d2m_model.prior.net import Cache, PriorNet


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


@torch.inference_mode()
def sample(
    net: PriorNet, rhythm: torch.Tensor, style: torch.Tensor | None, draw: Draw, rng: torch.Generator,
    *, upper: torch.Tensor | None = None, kept: torch.Tensor | None = None,
) -> torch.Tensor:  # fmt: skip
    """Codes (L,) int64 for rhythm (L, RHYTHM), style (style,) and upper (U,), the codes of the level above.

    A rhythm of zeros means no rhythm. kept: codes (K,) that the result begins with, K at most L. When the Transformer's context is
    full, sampling continues from its second half, so that any length is possible. Equal states of `rng` give equal codes.
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
    codes = torch.full((sizes.seen + patches * sizes.patch,), net.start)
    if kept is not None:
        codes[sizes.seen : sizes.seen + known] = kept[:known]
    uniform = torch.rand(patches * sizes.patch, generator=rng, dtype=torch.float64)
    first_new, caches = known // sizes.patch, None
    for t in range(first_new, patches):
        if caches is None or caches[0].length == sizes.context:
            first = max(0, t + 1 - sizes.context) if caches is None else t - sizes.context // 2
            caches = [Cache(sizes.context) for _ in net.blocks]
        else:
            first = t
        begin = sizes.seen - sizes.patch
        last = codes[begin + first * sizes.patch : begin + (t + 1) * sizes.patch].view(1, -1, sizes.patch)
        h = net.through(last.expand(rows, -1, -1), condition[:, first : t + 1], caches)[:, -1:]
        spread = net.within.spread(h, rhythm[:, t * sizes.patch : (t + 1) * sizes.patch])
        for j in range(max(0, known - t * sizes.patch), sizes.patch):
            place = t * sizes.patch + j
            behind = net.code(codes[place : place + sizes.seen]).flatten()
            scores = net.within.scores(spread[:, j], behind.expand(rows, -1))
            codes[sizes.seen + place] = _sample_code(scores, uniform[place], draw)
    return codes[sizes.seen : sizes.seen + count].clone()


def _pad(x: torch.Tensor, length: int) -> torch.Tensor:
    """x (L, ...), cut or padded with zeros to `length`."""
    return torch.cat([x[:length], x.new_zeros(max(0, length - len(x)), *x.shape[1:])])


def _sample_code(scores: torch.Tensor, uniform: torch.Tensor, draw: Draw) -> torch.Tensor:
    """One code sampled from logits (2, bins), with and without the condition, or (1, bins); uniform: a uniform number within 0..1."""
    mixed = scores[0] if len(scores) == 1 else scores[1] + draw.guidance * (scores[0] - scores[1])
    share, order = torch.softmax(mixed.double() / draw.temperature, -1).sort(descending=True)
    total = share.cumsum(0)
    return order[torch.searchsorted(total, uniform * total[-1]).clamp(max=len(total) - 1)]
