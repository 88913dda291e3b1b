"""CMT's network (Di et al. 2021, section 3.3): a causal Transformer over compound tokens, with linear attention.

Linear attention (Katharopoulos et al. 2020) replaces the softmax by a product of features elu(x) + 1. So attention to previous
tokens is a running sum: training processes all tokens at once, and generation keeps a state of constant size. Three vectors
precede the tokens: genre, key and instruments.
"""

from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import nn

from d2m_model.baselines.cmt.tokens import (
    BAR,
    BEAT,
    DENSITY,
    DURATION,
    END,
    INSTRUMENT,
    INSTRUMENTS,
    KEYS,
    NOTE,
    PITCH,
    RHYTHM,
    SIZES,
    STRENGTH,
    TYPE,
)

EMBEDDINGS = (64, 32, 64, 512, 128, 32, 64)
"""Width of each attribute's embedding, in the order of a token's columns."""
TIMES = (102, 5025)
"""Number of values of a token's two positions: 1 + percent of the piece, and 1 + ticks from its start; 0 is no position."""
PREFIX = 3
"""Vectors before the first token."""
CHUNK = 64
"""Tokens per chunk in `linear_attention`; only the speed depends on it."""
EPS = 1e-6

State = list[tuple[torch.Tensor, torch.Tensor]]
"""For each layer the sums over all tokens so far: of key times value (B, H, E, E) and of keys (B, H, E)."""


class Heads(NamedTuple):
    """Logits of the next token's attributes except its type, each (..., values)."""

    beat: torch.Tensor
    density: torch.Tensor
    pitch: torch.Tensor
    duration: torch.Tensor
    instrument: torch.Tensor
    strength: torch.Tensor


ORDER = (BEAT, DENSITY, PITCH, DURATION, INSTRUMENT, STRENGTH)
"""Columns of `Heads`."""


def features(x: torch.Tensor) -> torch.Tensor:
    """elu(x) + 1, above 0."""
    return F.elu(x) + 1


def linear_attention(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
    """Causal linear attention (B, H, L, E) of features q, k and values v of the same shape, in O(L).

    Position t is sum_{s<=t} (q_t . k_s) v_s / sum_{s<=t} q_t . k_s. Within a chunk it is computed by a matrix, over previous
    chunks by cumulated sums.
    """
    length = q.shape[2]
    q, k, v = (F.pad(x, (0, 0, 0, -length % CHUNK)).unflatten(2, (-1, CHUNK)) for x in (q, k, v))
    memory = _before(k.transpose(-1, -2) @ v)
    weight = _before(k.sum(3)[..., None])
    inside = (q @ k.transpose(-1, -2)).tril()
    above = inside @ v + q @ memory
    below = inside.sum(-1) + (q @ weight)[..., 0]
    return (above / (below + EPS)[..., None]).flatten(2, 3)[:, :, :length]


def _before(chunks: torch.Tensor) -> torch.Tensor:
    """For each chunk of (B, H, N, E, M) the sum over the chunks before it."""
    return F.pad(chunks[:, :, :-1].cumsum(2), (0, 0, 0, 0, 1, 0))


class CmtBlock(nn.Module):
    """A pre-normalised Transformer block with linear attention."""

    def __init__(self, width: int, heads: int, feed_forward: int, dropout: float):
        super().__init__()
        self.heads = heads
        self.before, self.between = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.feed = nn.Sequential(
            nn.Linear(width, feed_forward), nn.GELU(), nn.Dropout(dropout), nn.Linear(feed_forward, width)
        )
        self.drop = nn.Dropout(dropout)

    def _qkv(self, x: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Features of queries and keys, and values, each (B, H, L, E), for x (B, L, width)."""
        q, k, v = self.qkv(self.before(x)).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        return features(q), features(k), v

    def _rest(self, x: torch.Tensor, attended: torch.Tensor) -> torch.Tensor:
        x = x + self.drop(self.out(attended.transpose(1, 2).flatten(2)))
        return x + self.drop(self.feed(self.between(x)))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, L, width) -> (B, L, width), all tokens at once."""
        return self._rest(x, linear_attention(*self._qkv(x)))

    def step(
        self, x: torch.Tensor, state: tuple[torch.Tensor, torch.Tensor]
    ) -> tuple[torch.Tensor, tuple[torch.Tensor, torch.Tensor]]:
        """One further token x (B, 1, width) -> (B, 1, width), and the state after it."""
        q, k, v = self._qkv(x)
        memory = state[0] + k.transpose(-1, -2) @ v
        weight = state[1] + k[:, :, 0]
        attended = (q @ memory) / ((q @ weight[..., None]) + EPS)
        return self._rest(x, attended), (memory, weight)


class CmtNet(nn.Module):
    """Maps compound tokens to logits of the next token. The defaults are the published sizes.

    genres: number of genres, besides 'unknown' (0).
    """

    def __init__(
        self,
        genres: int,
        *,
        width: int = 512,
        depth: int = 12,
        heads: int = 8,
        feed_forward: int = 2048,
        dropout: float = 0.1,
    ):
        super().__init__()
        self.sizes: dict[str, Any] = {
            "genres": genres,
            "width": width,
            "depth": depth,
            "heads": heads,
            "feed_forward": feed_forward,
            "dropout": dropout,
        }
        self.attributes = nn.ModuleList(nn.Embedding(n, wide) for n, wide in zip(SIZES, EMBEDDINGS, strict=True))
        self.join = nn.Linear(sum(EMBEDDINGS), width)
        self.places = nn.ModuleList(nn.Embedding(n, width) for n in TIMES)
        self.genre, self.key = nn.Embedding(genres + 1, width), nn.Embedding(KEYS + 1, width)
        self.instruments = nn.Linear(len(INSTRUMENTS), width)
        self.drop = nn.Dropout(dropout)
        self.blocks = nn.ModuleList(CmtBlock(width, heads, feed_forward, dropout) for _ in range(depth))
        self.norm = nn.LayerNorm(width)
        self.kind = nn.Linear(width, SIZES[TYPE])
        self.told_type = nn.Linear(width + EMBEDDINGS[TYPE], width)
        self.heads = nn.ModuleList(nn.Linear(width, SIZES[column]) for column in ORDER)
        for place in self.places:
            assert isinstance(place, nn.Embedding)
            nn.init.normal_(place.weight, std=0.02)

    def prefix(self, song: torch.Tensor) -> torch.Tensor:
        """The vectors (B, 3, width) before the tokens, for songs (B, 7) int64: genre, key, and 0 or 1 for each of five instruments."""
        played = self.instruments(song[:, 2:].to(self.join.weight.dtype))
        return torch.stack([self.genre(song[:, 0]), self.key(song[:, 1]), played], 1)

    def embed(self, tokens: torch.Tensor, places: torch.Tensor) -> torch.Tensor:
        """Embeddings (B, L, width) of tokens (B, L, 7) int64 at positions `places` (B, L, 2) int64, see TIMES."""
        joined = torch.cat([table(tokens[..., i]) for i, table in enumerate(self.attributes)], -1)
        return self.join(joined) + sum(table(places[..., i]) for i, table in enumerate(self.places))

    def forward(self, song: torch.Tensor, tokens: torch.Tensor, places: torch.Tensor) -> torch.Tensor:
        """Hidden vectors (B, L + 1, width); vector t predicts token t from the song and tokens 0..t - 1."""
        x = self.drop(torch.cat([self.prefix(song), self.embed(tokens, places)], 1))
        for block in self.blocks:
            x = block(x)
        return self.norm(x)[:, PREFIX - 1 :]

    def begin(self, song: torch.Tensor) -> tuple[torch.Tensor, State]:
        """The hidden vector (B, width) that predicts the first token of songs (B, 7), and the state after the prefix."""
        like = self.join.weight
        size = self.sizes["width"] // self.sizes["heads"]
        empty = (len(song), self.sizes["heads"], size)
        state = [(like.new_zeros(*empty, size), like.new_zeros(empty)) for _ in self.blocks]
        for vector in self.prefix(song).split(1, dim=1):
            known, state = self._step(vector, state)
        return known, state

    def step(self, token: torch.Tensor, place: torch.Tensor, state: State) -> tuple[torch.Tensor, State]:
        """The hidden vector (B, width) that predicts the token after `token` (B, 7) at `place` (B, 2), and the new state; in O(1)."""
        return self._step(self.embed(token[:, None], place[:, None]), state)

    def _step(self, x: torch.Tensor, state: State) -> tuple[torch.Tensor, State]:
        after = []
        for block, before in zip(self.blocks, state, strict=True):
            assert isinstance(block, CmtBlock)
            x, now = block.step(x, before)
            after.append(now)
        return self.norm(x)[:, 0], after

    def scores(self, known: torch.Tensor, kind: torch.Tensor) -> Heads:
        """Logits of the other attributes of tokens, from their hidden vectors `known` (..., width) and their TYPE `kind` (...)."""
        hidden = F.gelu(self.told_type(torch.cat([known, self.attributes[TYPE](kind)], -1)))
        return Heads(*(head(hidden) for head in self.heads))


def losses(net: CmtNet, song: torch.Tensor, tokens: torch.Tensor, places: torch.Tensor) -> dict[str, torch.Tensor]:
    """Mean cross-entropy in nats of each attribute over the tokens that have it. After a piece, the type END is predicted.

    song (B, 7), tokens (B, L, 7), places (B, L, 2), all int64; rows of zeros after the last token are padding.
    """
    known = net(song, tokens, places)
    tokens = F.pad(tokens, (0, 0, 0, 1))
    kind = tokens[..., TYPE]
    lengths = (kind != END).sum(1, keepdim=True)
    real = torch.arange(kind.shape[1], device=kind.device) <= lengths
    rhythm, bar, note = kind == RHYTHM, tokens[..., BEAT] == BAR, kind == NOTE
    result = {"type": F.cross_entropy(net.kind(known[real]), kind[real])}
    heads = net.scores(known, kind)
    having = {
        "beat": rhythm,
        "density": bar,
        "pitch": note,
        "duration": note,
        "instrument": note,
        "strength": rhythm & ~bar,
    }
    for (name, scores), column in zip(heads._asdict().items(), ORDER, strict=True):
        mask = having[name]
        result[name] = F.cross_entropy(scores[mask], tokens[..., column][mask]) if mask.any() else scores.sum() * 0
    return result
