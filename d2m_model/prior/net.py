"""Codes of music from rhythm and style: a causal Transformer over patches of codes, and a small network within a patch.

A code lasts 5.8 ms at level high and 1.5 ms at level low, too short to spend a whole Transformer on. So, as in MegaByte (Yu
et al., 2023) and the RQ-Transformer (Lee et al., 2022), the Transformer goes from patch to patch (23 ms), and within a patch
the codes follow from its output and the codes just before them. The rhythm reaches every block and every code; without a
condition, for guidance (Ho and Salimans, 2022), learnt vectors stand in its place.
"""

import dataclasses
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import nn

PATCH = 512
"""Samples of a patch, at every level: 23 ms."""
MOST = 1 << 16
"""Of each size."""
RHYTHM = 13
"""Numbers that `conditions.rhythm_features` gives for each code."""


@dataclass(frozen=True, kw_only=True)
class PriorSizes:
    """Of the network; all that is needed to build it again."""

    bins: int
    """Codebook entries."""
    patch: int
    """Codes of a patch."""
    width: int
    depth: int
    heads: int
    context: int
    """Patches that the Transformer looks back on."""
    local_width: int
    embedding: int = 32
    """Length of a code's vector."""
    style: int = 0
    """Length of a style vector; 0: of a level that is told no style."""
    upper: int = 0
    """Codes of the level above that a patch spans; 0: there is none."""
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
        if not all(type(size) is int and 1 <= size <= MOST for size in whole):
            raise ValueError(f"sizes must be whole numbers from 1 (style and upper from 0) to {MOST}, found {self}")
        if self.width % (2 * self.heads):
            raise ValueError(f"width must be a multiple of 2 x heads, found {self.width} and {self.heads}")

    @property
    def seen(self) -> int:
        """Codes before a code that the network within a patch looks at."""
        return max(8, self.patch)

    def as_dict(self) -> dict:
        """The sizes by name, as model.pt keeps them."""
        return dataclasses.asdict(self)


class PatchAttention(nn.Module):
    """Causal self-attention with rotary positions (Su et al., 2021)."""

    def __init__(self, width: int, heads: int):
        super().__init__()
        self.heads = heads
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        size = width // heads
        self.register_buffer("turns", 10_000.0 ** (-torch.arange(0, size, 2) / size), persistent=False)

    def forward(self, x: torch.Tensor, cache: "Cache | None" = None) -> torch.Tensor:
        """(B, N, width) -> the same; with a cache N positions after those in it, which are added to it."""
        q, k, v = self.qkv(x).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        first = cache.length if cache else 0
        angle = torch.arange(first, first + x.shape[1], device=x.device)[:, None] * self.turns
        q, k = _turned(q, angle), _turned(k, angle)
        if cache:
            k, v = cache.with_more(k, v)
        out = F.scaled_dot_product_attention(q, k, v, is_causal=x.shape[1] > 1)
        return self.out(out.transpose(1, 2).flatten(2))


def _turned(x: torch.Tensor, angle: torch.Tensor) -> torch.Tensor:
    """x (B, H, N, E) with pairs of its halves turned by angle (N, E / 2)."""
    a, b = x.chunk(2, -1)
    cos, sin = angle.cos().to(x.dtype), angle.sin().to(x.dtype)
    return torch.cat([a * cos - b * sin, a * sin + b * cos], -1)


class Cache:
    """Keys and values (B, H, n, E) of one layer, for at most `size` positions."""

    def __init__(self, size: int):
        self.size, self.length, self.keys, self.values = size, 0, None, None

    def with_more(self, k: torch.Tensor, v: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """All keys and values so far, those of k and v (B, H, N, E) the last, which are kept."""
        if self.keys is None:
            self.keys, self.values = (
                torch.empty(*t.shape[:2], self.size, t.shape[3], dtype=t.dtype, device=t.device) for t in (k, v)
            )
        after = self.length + k.shape[2]
        self.keys[:, :, self.length : after], self.values[:, :, self.length : after] = k, v
        return self.keys[:, :, :after], self.values[:, :, :after]


class PatchBlock(nn.Module):
    """PatchAttention and feed-forward, each on the normalised input and added to it; the condition comes in before."""

    def __init__(self, sizes: PriorSizes):
        super().__init__()
        width = sizes.width
        self.condition = nn.Linear(width, width)
        self.before, self.between = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attention = PatchAttention(width, sizes.heads)
        self.feed = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))
        self.drop = nn.Dropout(sizes.dropout)

    def forward(self, x: torch.Tensor, condition: torch.Tensor, cache: Cache | None) -> torch.Tensor:
        """(B, N, width) of x (B, N, width) and its condition; `cache` keeps what later patches look back at."""
        x = x + self.condition(condition)
        x = x + self.drop(self.attention(self.before(x), cache))
        return x + self.drop(self.feed(self.between(x)))


class StyleEncoder(nn.Module):
    """Codes of a reference (B, R) -> its style (B, style): what it sounds like, not when."""

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
        """The style (B, style) of codes (B, R)."""
        x = self.net(self.code(codes).transpose(1, 2))
        return self.norm(self.out(torch.cat([x.mean(-1), x.std(-1)], -1)))


class Within(nn.Module):
    """Scores of a code from the Transformer's output for its patch, the codes just before it and the rhythm where it is."""

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
        """h (B, N, width) of patches and rhythm (B, N * P, RHYTHM) -> (B, N * P, local_width), all but the codes before."""
        return self.above(h).unflatten(-1, (self.patch, -1)).flatten(1, 2) + self.rhythm(rhythm)

    def scores(self, spread: torch.Tensor, behind: torch.Tensor) -> torch.Tensor:
        """spread (..., local_width), behind (..., seen * embedding) the vectors of the codes before -> (..., bins)."""
        x = spread + self.behind(behind)
        for feed in self.feeds:
            x = x + feed(x)
        return self.head(self.norm(x))


class PriorNet(nn.Module):
    """Codes of one level under a rhythm, a style and, of a lower level, the codes of the level above."""

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
        self.within = Within(sizes)
        for table in (m for m in self.modules() if isinstance(m, nn.Embedding)):
            nn.init.normal_(table.weight, std=0.3)

    @property
    def start(self) -> int:
        """What stands for a code before the first."""
        return self.sizes.bins

    def condition(
        self, rhythm: torch.Tensor, style: torch.Tensor | None = None, upper: torch.Tensor | None = None,
        *, has_rhythm: torch.Tensor | None = None, has_style: torch.Tensor | None = None,
    ) -> torch.Tensor:  # fmt: skip
        """(B, N, width) of rhythm (B, N * P, RHYTHM), style (B, style) and upper (B, N * U) int64.

        has_rhythm, has_style: (B,) bool, where False the learnt vectors stand for none; None is True everywhere.
        """
        found = self.rhythm(rhythm.unflatten(1, (-1, self.sizes.patch)).flatten(2).transpose(1, 2)).transpose(1, 2)
        if has_rhythm is not None:
            found = torch.where(has_rhythm[:, None, None], found, self.no_rhythm.to(found.dtype))
        if self.sizes.style:
            look = self.no_style.expand(len(found), -1) if style is None else self.style_in(style)
            if has_style is not None:
                look = torch.where(has_style[:, None], look, self.no_style.to(look.dtype))
            found = found + look[:, None]
        if self.sizes.upper:
            above = self.upper_code(upper).unflatten(1, (-1, self.sizes.upper)).flatten(2)
            found = found + self.upper(above.transpose(1, 2)).transpose(1, 2)
        return found

    def through(
        self, patches: torch.Tensor, condition: torch.Tensor, caches: list[Cache] | None = None
    ) -> torch.Tensor:
        """What the Transformer says of the patches after patches (B, N, P) int64: (B, N, width)."""
        x = self.patches(self.code(patches).flatten(2))
        for block, cache in zip(self.blocks, caches or [None] * len(self.blocks), strict=True):
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
        """Scores (B, N * P, bins) of codes (B, N * P) int64, each from those before it.

        before (B, seen) int64: the codes before the first, or `start`. rhythm (B, N * P, RHYTHM) as given to `condition`,
        (B, N, width). shown (B,) bool: whether the rhythm may be looked at.
        """
        sizes, whole = self.sizes, torch.cat([before, codes], 1)
        last = whole[:, sizes.seen - sizes.patch : -sizes.patch].unflatten(1, (-1, sizes.patch))
        h = self.through(last, condition)
        behind = self.code(whole[:, :-1]).unfold(1, sizes.seen, 1).transpose(2, 3).flatten(2)
        return self.within.scores(self.within.spread(h, rhythm * shown[:, None, None]), behind)
