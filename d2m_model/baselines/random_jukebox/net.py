"""A causal Transformer over codes: a small version of JukeBox's top-level prior (Dhariwal et al. 2020, section 4)."""

from itertools import repeat

import torch
import torch.nn.functional as F
from torch import nn

Cache = list[tuple[torch.Tensor, torch.Tensor]]
"""For each layer the keys and values (B, H, n, E) of the n positions so far."""


class PriorBlock(nn.Module):
    """A pre-normalised Transformer block."""

    def __init__(self, width: int, heads: int, dropout: float):
        super().__init__()
        self.heads = heads
        self.before, self.between = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.feed = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))
        self.drop = nn.Dropout(dropout)

    def forward(
        self, x: torch.Tensor, past: tuple[torch.Tensor, torch.Tensor] | None
    ) -> tuple[torch.Tensor, tuple[torch.Tensor, torch.Tensor]]:
        """(B, L, width) -> (B, L, width), and the keys and values of all positions. With `past`, x is one further position (L = 1)."""
        q, k, v = self.qkv(self.before(x)).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        if past:
            k, v = torch.cat([past[0], k], 2), torch.cat([past[1], v], 2)
        attended = F.scaled_dot_product_attention(q, k, v, is_causal=past is None)
        x = x + self.drop(self.out(attended.transpose(1, 2).flatten(2)))
        return x + self.drop(self.feed(self.between(x))), (k, v)


class Prior(nn.Module):
    """Maps codes to logits of the next code.

    bins: entries of the codebook; the index `bins` stands before the first code. context: most positions.
    """

    def __init__(self, bins: int, *, width: int, depth: int, heads: int, context: int, dropout: float):
        super().__init__()
        self.sizes = {
            "bins": bins,
            "width": width,
            "depth": depth,
            "heads": heads,
            "context": context,
            "dropout": dropout,
        }
        self.bins, self.context = bins, context
        self.code, self.place = nn.Embedding(bins + 1, width), nn.Embedding(context, width)
        self.blocks = nn.ModuleList(PriorBlock(width, heads, dropout) for _ in range(depth))
        self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, bins)
        self.drop = nn.Dropout(dropout)
        for table in (self.code, self.place):
            nn.init.normal_(table.weight, std=0.02)

    def forward(self, codes: torch.Tensor, cache: Cache | None = None) -> tuple[torch.Tensor, Cache]:
        """Logits (B, L, bins) of the code after each of codes (B, L), and the new cache. With a cache, L is 1."""
        first = cache[0][0].shape[2] if cache else 0
        x = self.drop(self.code(codes) + self.place.weight[first : first + codes.shape[1]])
        after = []
        for block, past in zip(self.blocks, cache or repeat(None, len(self.blocks)), strict=True):
            x, now = block(x, past)
            after.append(now)
        return self.head(self.norm(x)), after

    @torch.inference_mode()
    def sample(self, count: int, temperature: float, rng: torch.Generator) -> torch.Tensor:
        """Codes (count,) int64, sampled one by one. When the context is full, sampling continues from its second half (JukeBox's
        windowed sampling). Equal states of `rng` give equal codes."""
        codes, cache = [self.bins], None
        while len(codes) <= count:
            if cache is None or cache[0][0].shape[2] == self.context:
                seen = codes if cache is None else codes[-max(1, self.context // 2) :]
                scores, cache = self(torch.tensor([seen]))
            else:
                scores, cache = self(torch.tensor([codes[-1:]]), cache)
            share = torch.softmax(scores[0, -1].double() / temperature, -1)
            codes.append(int(torch.multinomial(share, 1, generator=rng)))
        return torch.tensor(codes[1:])
