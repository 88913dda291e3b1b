"""The prior: a causal Transformer over patches of codes, and a small network that predicts the codes within a patch.

A code lasts 5.8 ms at level high and 1.5 ms at level low, too short for one Transformer step each. So, as in MegaByte (Yu et
al., 2023) and the RQ-Transformer (Lee et al., 2022), the Transformer runs over patches (23 ms), and the codes within a patch are
predicted from its output and the codes just before. The rhythm is a condition of every block and every code. For
classifier-free guidance (Ho and Salimans, 2022), learned vectors replace missing conditions.
"""

import dataclasses
from dataclasses import dataclass
from itertools import repeat

import torch
import torch.nn.functional as F
from torch import nn

PATCH = 512
"""Samples per patch, at every level: 23 ms."""
MAX_SIZE = 1 << 16
"""Upper bound of each size, so that a damaged file cannot ask for a huge network."""
RHYTHM = 13
"""Columns of `conditions.rhythm_features`."""


@dataclass(frozen=True, kw_only=True)
class PriorSizes:
    """Sizes of the network, from which it can be built."""

    bins: int
    """Codebook entries."""
    patch: int
    """Codes per patch."""
    width: int
    depth: int
    heads: int
    context: int
    """Context of the Transformer in patches."""
    local_width: int
    """Width of the network within a patch."""
    embedding: int = 32
    """Length of a code's embedding."""
    style: int = 0
    """Length of a style vector; 0 for a level without a style."""
    upper: int = 0
    """Codes of the level above per patch; 0 for the top level."""
    dropout: float = 0.0

    def __post_init__(self):
        whole = (
            self.bins,
            self.patch,
            self.width,
            self.depth,
            self.heads,
            self.context,
            self.local_width,
            self.embedding,
            1 + self.style,
            1 + self.upper,
        )
        if not all(type(size) is int and 1 <= size <= MAX_SIZE for size in whole):
            raise ValueError(f"sizes must be whole numbers from 1 (style and upper from 0) to {MAX_SIZE}, found {self}")
        if self.width % (2 * self.heads):
            raise ValueError(f"width must be a multiple of 2 x heads, found {self.width} and {self.heads}")

    @property
    def seen(self) -> int:
        """Number of previous codes that the network within a patch reads."""
        return max(8, self.patch)

    def as_dict(self) -> dict:
        """The sizes by name, as in model.pt."""
        return dataclasses.asdict(self)


class PatchAttention(nn.Module):
    """Causal self-attention with rotary positions (Su et al., 2021)."""

    turns: torch.Tensor

    def __init__(self, width: int, heads: int):
        super().__init__()
        self.heads = heads
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        size = width // heads
        places = torch.arange(0, size, 2, device="cpu")  # arithmetic on the meta device would load torch's compiler
        self.register_buffer("turns", 10_000.0 ** (-places / size), persistent=False)

    def forward(self, x: torch.Tensor, cache: "Cache | None" = None) -> torch.Tensor:
        """(B, N, width) -> (B, N, width). With a cache, x continues the cached positions and is added to the cache."""
        q, k, v = self.qkv(x).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        first = cache.length if cache else 0
        angle = torch.arange(first, first + x.shape[1], device=x.device)[:, None] * self.turns.to(x.device)
        q, k = _rotate(q, angle), _rotate(k, angle)
        if cache:
            k, v = cache.with_more(k, v)
        out = F.scaled_dot_product_attention(q, k, v, is_causal=x.shape[1] > 1)
        return self.out(out.transpose(1, 2).flatten(2))


def _rotate(x: torch.Tensor, angle: torch.Tensor) -> torch.Tensor:
    """Rotary embedding: x (B, H, N, E) with the pairs of its halves rotated by angle (N, E / 2)."""
    a, b = x.chunk(2, -1)
    cos, sin = angle.cos().to(x.dtype), angle.sin().to(x.dtype)
    return torch.cat([a * cos - b * sin, a * sin + b * cos], -1)


class Cache:
    """Keys and values (B, H, n, E) of one layer, for at most `size` positions."""

    def __init__(self, size: int):
        self.size, self.length = size, 0
        self.keys: torch.Tensor | None = None
        self.values: torch.Tensor | None = None

    def with_more(self, k: torch.Tensor, v: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Add k and v (B, H, N, E); returns all keys and values so far."""
        if self.keys is None or self.values is None:
            self.keys, self.values = (
                torch.empty(*t.shape[:2], self.size, t.shape[3], dtype=t.dtype, device=t.device) for t in (k, v)
            )
        after = self.length + k.shape[2]
        self.keys[:, :, self.length : after], self.values[:, :, self.length : after] = k, v
        return self.keys[:, :, :after], self.values[:, :, :after]


class PatchBlock(nn.Module):
    """A pre-normalised Transformer block: attention and feed-forward; the condition is added to its input."""

    def __init__(self, sizes: PriorSizes):
        super().__init__()
        width = sizes.width
        self.condition = nn.Linear(width, width)
        self.before, self.between = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attention = PatchAttention(width, sizes.heads)
        self.feed = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))
        self.drop = nn.Dropout(sizes.dropout)

    def forward(self, x: torch.Tensor, condition: torch.Tensor, cache: Cache | None) -> torch.Tensor:
        """(B, N, width) for x (B, N, width) and a condition of the same shape; `cache` holds the keys and values so far."""
        x = x + self.condition(condition)
        x = x + self.drop(self.attention(self.before(x), cache))
        return x + self.drop(self.feed(self.between(x)))


class StyleEncoder(nn.Module):
    """Codes of a reference (B, R) -> its style (B, style), which keeps how it sounds but not its order in time."""

    def __init__(self, sizes: PriorSizes):
        super().__init__()
        self.code = nn.Embedding(sizes.bins, sizes.embedding)
        self.net = nn.Sequential(
            nn.Conv1d(sizes.embedding, 96, 8, stride=4),
            nn.GELU(),
            nn.Conv1d(96, 96, 8, stride=4),
            nn.GELU(),
            nn.Conv1d(96, 96, 1),
        )
        self.out = nn.Linear(192, sizes.style)
        self.norm = nn.LayerNorm(sizes.style)

    def forward(self, codes: torch.Tensor) -> torch.Tensor:
        """Codes (B, R) to styles (B, style)."""
        x = self.net(self.code(codes).transpose(1, 2))
        return self.norm(self.out(torch.cat([x.mean(-1), x.std(-1)], -1)))


class LocalNet(nn.Module):
    """Logits of a code from the Transformer's output for its patch, the codes just before it, and the rhythm at its place."""

    def __init__(self, sizes: PriorSizes):
        super().__init__()
        width = sizes.local_width
        self.patch = sizes.patch
        self.above = nn.Linear(sizes.width, sizes.patch * width)
        self.behind = nn.Linear(sizes.seen * sizes.embedding, width)
        self.rhythm = nn.Linear(RHYTHM, width)
        self.feeds = nn.ModuleList(
            nn.Sequential(nn.LayerNorm(width), nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width))
            for _ in range(2)
        )
        self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, sizes.bins)

    def spread(self, h: torch.Tensor, rhythm: torch.Tensor) -> torch.Tensor:
        """h (B, N, width) of patches and rhythm (B, N * P, RHYTHM) -> (B, N * P, local_width): the input of `scores` that does not
        depend on previous codes."""
        return self.above(h).unflatten(-1, (self.patch, -1)).flatten(1, 2) + self.rhythm(rhythm)

    def scores(self, spread: torch.Tensor, behind: torch.Tensor) -> torch.Tensor:
        """Logits (..., bins) from `spread` (..., local_width) and the embeddings of the previous codes (..., seen * embedding)."""
        x = spread + self.behind(behind)
        for feed in self.feeds:
            x = x + feed(x)
        return self.head(self.norm(x))


class PriorNet(nn.Module):
    """Predicts the codes of one level from a rhythm, a style and, for a lower level, the codes of the level above."""

    def __init__(self, sizes: PriorSizes):
        super().__init__()
        self.sizes = sizes
        width = sizes.width
        self.code = nn.Embedding(sizes.bins + 1, sizes.embedding)
        self.patches = nn.Linear(sizes.patch * sizes.embedding, width)
        self.rhythm = nn.Sequential(
            nn.Conv1d(sizes.patch * RHYTHM, width, 5, padding=2), nn.GELU(), nn.Conv1d(width, width, 5, padding=2)
        )
        self.no_rhythm = nn.Parameter(torch.zeros(width))
        if sizes.style:
            self.style = StyleEncoder(sizes)
            self.style_in = nn.Linear(sizes.style, width)
            self.no_style = nn.Parameter(torch.zeros(width))
        if sizes.upper:
            self.upper_code = nn.Embedding(sizes.bins, sizes.embedding)
            self.upper = nn.Sequential(
                nn.Conv1d(sizes.upper * sizes.embedding, width, 5, padding=2),
                nn.GELU(),
                nn.Conv1d(width, width, 5, padding=2),
            )
        self.blocks = nn.ModuleList(PatchBlock(sizes) for _ in range(sizes.depth))
        self.norm = nn.LayerNorm(width)
        self.within = LocalNet(sizes)
        for table in (m for m in self.modules() if isinstance(m, nn.Embedding)):
            nn.init.normal_(table.weight, std=0.3)

    @property
    def start(self) -> int:
        """The index that stands for codes before the first one."""
        return self.sizes.bins

    def condition(
        self, rhythm: torch.Tensor, style: torch.Tensor | None = None, upper: torch.Tensor | None = None,
        *, has_rhythm: torch.Tensor | None = None, has_style: torch.Tensor | None = None,
    ) -> torch.Tensor:  # fmt: skip
        """The condition (B, N, width) from rhythm (B, N * P, RHYTHM), style (B, style) and upper (B, N * U) int64.

        has_rhythm, has_style: (B,) bool; False replaces the rhythm or style by a learned vector. None means True everywhere.
        """
        found = self.rhythm(rhythm.unflatten(1, (-1, self.sizes.patch)).flatten(2).transpose(1, 2)).transpose(1, 2)
        if has_rhythm is not None:
            found = torch.where(has_rhythm[:, None, None], found, self.no_rhythm.to(found.dtype))
        if self.sizes.style:
            style_condition = self.no_style.expand(len(found), -1) if style is None else self.style_in(style)
            if has_style is not None:
                style_condition = torch.where(
                    has_style[:, None], style_condition, self.no_style.to(style_condition.dtype)
                )
            found = found + style_condition[:, None]
        if self.sizes.upper:
            above = self.upper_code(upper).unflatten(1, (-1, self.sizes.upper)).flatten(2)
            found = found + self.upper(above.transpose(1, 2)).transpose(1, 2)
        return found

    def through(
        self, patches: torch.Tensor, condition: torch.Tensor, caches: list[Cache] | None = None
    ) -> torch.Tensor:
        """The Transformer's output (B, N, width) for the next patch after each of the patches (B, N, P) int64."""
        x = self.patches(self.code(patches).flatten(2))
        for block, cache in zip(self.blocks, caches or repeat(None, len(self.blocks)), strict=True):
            x = block(x, condition, cache)
        if caches:
            for cache in caches:
                cache.length += patches.shape[1]
        return self.norm(x)

    def forward(
        self,
        before: torch.Tensor,
        codes: torch.Tensor,
        rhythm: torch.Tensor,
        condition: torch.Tensor,
        shown: torch.Tensor,
    ) -> torch.Tensor:
        """Logits (B, N * P, bins) of codes (B, N * P) int64, each predicted from the codes before it.

        before (B, seen) int64: the codes before the first one, or `start`. rhythm (B, N * P, RHYTHM): as passed to `condition`.
        condition (B, N, width): from `condition`. shown (B,) bool: False hides the rhythm.
        """
        sizes, whole = self.sizes, torch.cat([before, codes], 1)
        last = whole[:, sizes.seen - sizes.patch : -sizes.patch].unflatten(1, (-1, sizes.patch))
        h = self.through(last, condition)
        behind = self.code(whole[:, :-1]).unfold(1, sizes.seen, 1).transpose(2, 3).flatten(2)
        return self.within.scores(self.within.spread(h, rhythm * shown[:, None, None]), behind)
