"""Networks of Foley Music (Gan et al., ECCV 2020): a graph encoder of the dance, and a Music Transformer that attends to its
features and predicts events."""

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import nn

from d2m_model.baselines.foley_music.events import LIMIT, PAD, SHIFT, SHIFTS, VOCABULARY
from d2m_model.baselines.foley_music.pose import POSE_FPS, partitions

STRIDE = 4
"""Frames per feature of a dance."""
STAGES = ((64, 4, 1), (128, 3, 2), (256, 3, 2))
"""(channels, blocks, stride of the first block) of the encoder's stages."""
FEATURE, HIDDEN, HEADS, LAYERS = 512, 1024, 8, 6


@dataclass(frozen=True, kw_only=True)
class FoleySizes:
    """Sizes of both networks, as factors of the published sizes."""

    joints: int
    width: float = 1.0
    """Factor of channels, features and heads, each at least 4."""
    depth: float = 1.0
    """Factor of the number of layers and of blocks per stage, each at least 1."""
    dropout: float = 0.1
    """Dropout of the decoder's input and of its residual branches."""
    aided: bool = False
    """Not published: the encoder also reads velocities, and each event gets its time and the dance's feature at that time. The
    published decoder has to add up the time shifts and to find the place in the dance itself."""

    @property
    def heads(self) -> int:
        """Attention heads per layer, at least 4."""
        return max(4, round(HEADS * self.width))

    @property
    def features(self) -> int:
        """D: a multiple of twice the number of heads, because positions are pairs of sine and cosine."""
        return 2 * self.heads * max(1, round(FEATURE * self.width / (2 * self.heads)))

    def channels(self, published: int) -> int:
        """Channels of a layer with `published` channels in the paper, at least 4."""
        return max(4, round(published * self.width))

    def times(self, published: int) -> int:
        """Number of layers where the paper has `published`, at least 1."""
        return max(1, round(published * self.depth))


def positional_encoding(times: torch.Tensor, features: int) -> torch.Tensor:
    """Positional encoding (..., D) of times (...) in frames: sines and cosines (Vaswani et al., 2017, section 3.5)."""
    rates = torch.exp(torch.arange(0, features, 2, device=times.device) * (-math.log(10_000) / features))
    angles = times[..., None] * rates
    return torch.stack([angles.sin(), angles.cos()], dim=-1).flatten(-2)


class GraphBlock(nn.Module):
    """A graph convolution over joints, then a convolution over time with kernel 9, with a shortcut (Yan et al., AAAI 2018)."""

    graph: torch.Tensor

    def __init__(self, graph: torch.Tensor, before: int, after: int, stride: int, *, shortcut: bool):
        super().__init__()
        self.register_buffer("graph", graph, persistent=False)
        self.importance = nn.Parameter(torch.ones_like(graph))
        self.spatial = nn.Conv2d(before, after * len(graph), 1)
        self.norm = nn.BatchNorm2d(after)
        self.temporal = nn.Sequential(nn.Conv2d(after, after, (9, 1), (stride, 1), (4, 0)), nn.BatchNorm2d(after))
        self.shortcut: nn.Module | None = nn.Identity() if shortcut else None
        if shortcut and (before != after or stride != 1):
            self.shortcut = nn.Sequential(nn.Conv2d(before, after, 1, (stride, 1)), nn.BatchNorm2d(after))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, C, T, J) -> (B, C', ceil(T / stride), J)."""
        parts = self.spatial(x).unflatten(1, (len(self.graph), -1))
        mixed = torch.einsum("bkctv,kvw->bctw", parts, self.graph * self.importance)
        out = self.temporal(F.relu(self.norm(mixed)))
        return F.relu(out if self.shortcut is None else out + self.shortcut(x))


class GraphEncoder(nn.Module):
    """ST-GCN: one feature per four frames of a dance; feature s is centred on frame 4 s."""

    def __init__(self, sizes: FoleySizes):
        super().__init__()
        self.aided = sizes.aided
        graph, blocks, before = partitions(sizes.joints), [], 5 if sizes.aided else 3
        self.norm = nn.BatchNorm1d(before * sizes.joints)
        for channels, count, stride in STAGES:
            after = sizes.channels(channels)
            for block in range(sizes.times(count)):
                blocks.append(GraphBlock(graph, before, after, 1 if block else stride, shortcut=bool(blocks)))
                before = after
        self.blocks = nn.Sequential(*blocks)
        self.out = nn.Linear(before, sizes.features)

    def forward(self, pose: torch.Tensor) -> torch.Tensor:
        """Windows (B, T, J, 3) from `pose.window` -> (B, ceil(T / 4), D)."""
        if self.aided:
            place = pose[..., :2]
            before, after = torch.cat([place[:, :1], place[:, :-1]], 1), torch.cat([place[:, 1:], place[:, -1:]], 1)
            pose = torch.cat([pose, after - before], dim=3)
        joints = pose.shape[2:]
        x = self.norm(pose.flatten(2).transpose(1, 2)).unflatten(1, joints).permute(0, 2, 3, 1)
        return self.out(self.blocks(x).mean(dim=3).transpose(1, 2))


def relative_to_absolute(scores: torch.Tensor) -> torch.Tensor:
    """Relative to absolute positions (Huang et al., 2019, figure 1): scores (..., N, M), whose column M - 1 - n is for n events back,
    to (..., N, M) with one column per event. Row i is event M - N + i; values for later events are meaningless."""
    count, known = scores.shape[-2:]
    return F.pad(scores, (1, 0)).flatten(-2)[..., count:].unflatten(-1, (count, known))


class EventAttention(nn.Module):
    """Multi-head attention from events. Internal tensors are (B, heads, N, D / heads)."""

    def __init__(self, sizes: FoleySizes):
        super().__init__()
        features = sizes.features
        self.heads, self.scale = sizes.heads, (sizes.heads / features) ** 0.5
        self.query, self.out = nn.Linear(features, features), nn.Linear(features, features)
        self.known = nn.Linear(features, 2 * features)

    def queries(self, x: torch.Tensor) -> torch.Tensor:
        """Scaled queries of x (B, N, D)."""
        return self._split(self.query(x) * self.scale)

    def keys(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Keys and values of x (B, M, D)."""
        keys, values = (self._split(part) for part in self.known(x).chunk(2, dim=2))
        return keys, values

    def look(self, scores: torch.Tensor, hidden: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
        """Output (B, N, D) for scores (B, heads, N, M), masked where `hidden`, and values (B, heads, M, D / heads)."""
        weights = scores.masked_fill(hidden, -math.inf).softmax(dim=3)
        return self.out((weights @ values).transpose(1, 2).flatten(2))

    def _split(self, x: torch.Tensor) -> torch.Tensor:
        return x.unflatten(2, (self.heads, -1)).transpose(1, 2)


class RelativeAttention(EventAttention):
    """Causal self-attention of events with relative positions (Huang et al., 2019)."""

    def __init__(self, sizes: FoleySizes):
        super().__init__(sizes)
        self.distance = nn.Parameter(torch.randn(sizes.heads, LIMIT, sizes.features // sizes.heads) * 0.02)
        """(heads, LIMIT, D / heads): [h, LIMIT - 1 - n] is the embedding of n events back for head h."""

    def forward(self, x: torch.Tensor, past: dict[str, torch.Tensor]) -> torch.Tensor:
        """(B, N, D) -> (B, N, D). `past` holds the keys and values of previous events; those of x are added."""
        query, (keys, values) = self.queries(x), self.keys(x)
        if past:
            keys, values = torch.cat([past["keys"], keys], dim=2), torch.cat([past["values"], values], dim=2)
        past.update(keys=keys, values=values)
        count, known = query.shape[2], keys.shape[2]
        scores = query @ keys.transpose(2, 3) + relative_to_absolute(query @ self.distance[:, -known:].transpose(1, 2))
        future = torch.ones(count, known, dtype=torch.bool, device=x.device).triu(known - count + 1)
        return self.look(scores, future, values)


class DanceAttention(EventAttention):
    """Cross-attention from events to the dance."""

    def forward(self, x: torch.Tensor, dance: "DanceKeys", layer: int) -> torch.Tensor:
        """(B, N, D) -> (B, N, D)."""
        keys, values = dance.layers[layer]
        return self.look(self.queries(x) @ keys.transpose(2, 3), dance.over, values)


class DecoderLayer(nn.Module):
    """A pre-normalised decoder layer: self-attention, cross-attention to the dance, feed-forward."""

    def __init__(self, sizes: FoleySizes):
        super().__init__()
        features, hidden = sizes.features, sizes.channels(HIDDEN)
        self.events, self.dance = RelativeAttention(sizes), DanceAttention(sizes)
        self.forward_net = nn.Sequential(nn.Linear(features, hidden), nn.ReLU(), nn.Linear(hidden, features))
        self.norms = nn.ModuleList(nn.LayerNorm(features) for _ in range(3))
        self.dropout = nn.Dropout(sizes.dropout)

    def forward(self, x: torch.Tensor, dance: "DanceKeys", layer: int, past: dict[str, torch.Tensor]) -> torch.Tensor:
        """(B, N, D) -> (B, N, D). `past` holds the keys and values of previous events."""
        x = x + self.dropout(self.events(self.norms[0](x), past))
        x = x + self.dropout(self.dance(self.norms[1](x), dance, layer))
        return x + self.dropout(self.forward_net(self.norms[2](x)))


@dataclass
class DanceKeys:
    """An encoded dance, ready for the decoder's cross-attention."""

    layers: list[tuple[torch.Tensor, torch.Tensor]]
    """Keys and values of each layer, (B, heads, S, D / heads)."""
    features: torch.Tensor
    """(B, S, D)."""
    over: torch.Tensor
    """(B, 1, 1, S) bool: true after the end of the dance."""

    def repeated(self, times: int) -> "DanceKeys":
        """A single dance, expanded to `times` rows of events."""
        layers = [(k.expand(times, -1, -1, -1), v.expand(times, -1, -1, -1)) for k, v in self.layers]
        return DanceKeys(layers, self.features.expand(times, -1, -1), self.over)

    def at(self, seconds: torch.Tensor) -> torch.Tensor:
        """Features (B, N, D) at times (B, N), interpolated."""
        last = self.features.shape[1] - 1
        place = (seconds * (POSE_FPS / STRIDE)).clamp(max=last)[..., None]
        return (1 - (place - torch.arange(last + 1, device=place.device)).abs()).clamp(min=0) @ self.features


class Past:
    """Decoder state after some events: keys and values of every layer, and the clock."""

    def __init__(self, layers: int):
        self.layers: list[dict[str, torch.Tensor]] = [{} for _ in range(layers)]
        self.clock: torch.Tensor | None = None
        """(B, 1): time in seconds after the events."""

    def pick(self, rows: torch.Tensor) -> None:
        """Keep only these rows of the batch, in this order."""
        for layer in self.layers:
            layer.update({name: kept[rows] for name, kept in layer.items()})
        self.clock = None if self.clock is None else self.clock[rows]


class FoleyNet(nn.Module):
    """The graph encoder and the Music Transformer."""

    seconds: torch.Tensor

    def __init__(self, sizes: FoleySizes):
        super().__init__()
        self.sizes = sizes
        self.encoder = GraphEncoder(sizes)
        self.embedding = nn.Embedding(VOCABULARY, sizes.features, padding_idx=PAD)
        nn.init.normal_(self.embedding.weight, std=sizes.features**-0.5)
        self.layers = nn.ModuleList(DecoderLayer(sizes) for _ in range(sizes.times(LAYERS)))
        self.dropout = nn.Dropout(sizes.dropout)
        self.now = nn.Linear(sizes.features, sizes.features) if sizes.aided else None
        self.norm, self.out = nn.LayerNorm(sizes.features), nn.Linear(sizes.features, VOCABULARY)
        seconds = torch.zeros(VOCABULARY)
        seconds[SHIFT : SHIFT + len(SHIFTS)] = torch.tensor(SHIFTS, dtype=torch.float32)
        self.register_buffer("seconds", seconds, persistent=False)

    def dance_keys(self, pose: torch.Tensor, frames: torch.Tensor) -> DanceKeys:
        """Encode dances (B, T, J, 3), of which the first `frames` (B,) are valid."""
        features = self.encoder(pose)
        at = STRIDE * torch.arange(features.shape[1], device=pose.device)
        features = self.dropout(features + positional_encoding(at, features.shape[2]))
        keys = [layer.dance.keys(features) for layer in self.layers if isinstance(layer, DecoderLayer)]
        return DanceKeys(keys, features, (at >= frames[:, None])[:, None, None])

    def forward(self, tokens: torch.Tensor, dance: DanceKeys, past: Past | None = None) -> torch.Tensor:
        """Logits (B, N, 243) of the token after each of tokens (B, N), given all tokens up to it and the whole dance.

        past: state after previous tokens, which `tokens` continue.
        """
        past = past or Past(len(self.layers))
        x = self.embedding(tokens) * self.sizes.features**0.5
        clock = self.seconds[tokens].cumsum(dim=1) + (0 if past.clock is None else past.clock)
        past.clock = clock[:, -1:]
        if self.now is not None:
            x = x + positional_encoding(clock * POSE_FPS, self.sizes.features) + self.now(dance.at(clock))
        x = self.dropout(x)
        for index, layer in enumerate(self.layers):
            x = layer(x, dance, index, past.layers[index])
        return self.out(self.norm(x))
