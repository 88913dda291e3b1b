"""Code generators G_vq (paper section 3.2, Tables 8 and 9): from motion and visual features to continuous codes f_vq.

Shapes: 64 is the length of a codebook entry; L is the number of codes in a window (for 2 s: 344 high, 1378 low).
"""

import torch
from torch import nn
from torch.nn import functional as F

from d2m_model.nets.cpu.layers import Conv1d
from d2m_model.nets.residual_stack import SLOPE, SameConv1d, TemporalBlock, paper_stack, released_stack, scaled_channels

SIGMA = 100.0  # scale of the final tanh; the paper calls it crucial for stability

# (kernel, stride, channels) of each convolution in the paper. A residual stack follows each, except those in NO_STACK.
TABLE_8 = ((6, 2, 32), (41, 2, 64), (41, 1, 128), (41, 1, 256), (41, 1, 512), (40, 1, 64))
TABLE_9 = (
    (6, 2, 32), (4, 1, 64), (40, 2, 128), (40, 1, 256), (40, 1, 512), (40, 1, 1024), (40, 1, 1024), (40, 1, 64),
)  # fmt: skip
TABLES = {"high": TABLE_8, "low": TABLE_9}
NO_STACK = {"high": (5,), "low": (6, 7)}  # layers that no residual stack follows
# The released program pads every convolution with 1 zero. Its low generator also pads with these reflections: 2048 values
# become the 1045 that its last Linear expects (and TikTok's 3072 become 1301).
RELEASED_LOW_PADS = (3, 32, 64, 64, 64, 64, 64, 64)
RELEASED_BARE = {"high": (0,), "low": (0, 7)}  # convolutions without a LeakyReLU before them
RELEASED_LENGTHS = {"high": 2058, "low": 2048}  # outputs of the first Linear, for windows of 2 s
GENRES, GENRE_WIDTH = 10, 256  # genre embedding of the generators for AIST++


class PaperCodeGenerator(nn.Module):
    """Tables 8 and 9 as printed, with batch normalisation and reflection padding that keeps the length.

    A Linear maps the condition to 4·L values; the two strided convolutions bring them to L.
    """

    def __init__(
        self, level: str, condition: int, codes: int, width: float = 1.0, sigma: float = SIGMA, embedding: int = 64
    ):
        super().__init__()
        self.sigma = sigma
        self.lin = nn.Linear(condition, 4 * codes)
        layers: list[nn.Module] = []
        inputs, table = 1, TABLES[level]
        for i, (kernel, stride, channels) in enumerate(table):
            last = i == len(table) - 1
            outputs = embedding if last else scaled_channels(channels, width)
            layers.append(SameConv1d(inputs, outputs, kernel, stride))
            if not last:
                layers += [nn.BatchNorm1d(outputs), nn.LeakyReLU(SLOPE)]
            if i not in NO_STACK[level]:
                layers += paper_stack(outputs)
            inputs = outputs
        self.model = nn.Sequential(*layers)

    def forward(self, condition: torch.Tensor) -> torch.Tensor:
        """(B, D) -> (B, 64, L), within ±sigma."""
        return self.sigma * torch.tanh(self.model(self.lin(condition).unsqueeze(1)))


class ReleasedCodeGenerator(nn.Module):
    """The released program's generators, with the parameter names of its checkpoints.

    A Linear maps the condition to 2058 (high) or 2048 (low) values. The released program knows windows of 2 s only; for
    longer ones the first Linear of `high` gives four more values per further code, and the last Linear of `low` gives more codes.
    The TikTok low generator was released without the first Linear and cannot run; here it has one.
    genres: number of genres in the genre embedding (AIST++: 10); 0 for no embedding.
    """

    def __init__(
        self,
        level: str,
        condition: int,
        codes: int,
        width: float = 1.0,
        sigma: float = SIGMA,
        embedding: int = 64,
        genres: int = 0,
    ):
        super().__init__()
        self.sigma, self.level = sigma, level
        if genres:
            self.genre_embed = nn.Embedding(genres, GENRE_WIDTH)
            condition += GENRE_WIDTH
        length = RELEASED_LENGTHS[level] + (4 * (codes - 344) if level == "high" else 0)
        self.lin = nn.Linear(condition, length)
        layers: list[nn.Module] = []
        inputs, table = 1, TABLES[level]
        for i, (kernel, stride, channels) in enumerate(table):
            last = i == len(table) - 1
            outputs = embedding if last else scaled_channels(channels, width)
            if i not in RELEASED_BARE[level]:
                layers.append(nn.LeakyReLU(SLOPE))
            mirrored = RELEASED_LOW_PADS[i] if level == "low" else 0
            if mirrored:
                layers.append(nn.ReflectionPad1d(mirrored))
            layers.append(Conv1d(inputs, outputs, kernel, stride, padding=1))
            if i not in NO_STACK[level]:
                layers += released_stack(outputs)
            length = (length + 2 * mirrored + 2 - kernel) // stride + 1
            inputs = outputs
        layers.append(nn.Tanh())
        self.model = nn.Sequential(*layers)
        if level == "low":
            self.fc = nn.Linear(length, codes)

    def forward(self, condition: torch.Tensor, genre: torch.Tensor | None = None) -> torch.Tensor:
        """condition (B, D) and, with a genre embedding, genre (B,) from 0 -> (B, 64, L); `high` is within ±sigma."""
        if genre is not None:
            condition = torch.cat([condition, self.genre_embed(genre)], dim=1)
        codes = self.model(self.lin(condition).unsqueeze(1))
        return self.sigma * (self.fc(codes) if self.level == "low" else codes)


class TemporalCodeGenerator(nn.Module):
    """Generator of the preset `fixed`: one hidden vector per frame plus the visual feature, resampled to the code rate and refined.

    It is fully convolutional, so any length works: T frames give L = T·735 // hop codes.
    """

    def __init__(
        self, level: str, motion: int, visual: int, width: float = 1.0, dropout: float = 0.1, embedding: int = 64
    ):
        super().__init__()
        hidden, late = scaled_channels(256, width), scaled_channels(256 if level == "high" else 128, width)
        self.steps = (1, 1) if level == "high" else (4, 1)  # first refined at L / step, then at L
        self.enter = nn.Conv1d(motion, hidden, 1) if motion else None
        self.visual = nn.Sequential(nn.LayerNorm(visual), nn.Linear(visual, hidden)) if visual else None
        self.hidden = hidden
        self.early = nn.Sequential(*(TemporalBlock(hidden, d, dropout) for d in (1, 3, 9)))
        self.narrow = nn.Conv1d(hidden, late, 1)
        self.late = nn.Sequential(*(TemporalBlock(late, d, dropout) for d in (1, 3, 9, 1)))
        self.leave = nn.Sequential(nn.GroupNorm(4, late), nn.SiLU(), nn.Conv1d(late, embedding, 3, padding=1))

    def forward(self, motion: torch.Tensor | None, visual: torch.Tensor | None, codes: int) -> torch.Tensor:
        """motion (B, C, T) or None, visual (B, 2048) or None, L -> (B, 64, L)."""
        length = -(-codes // self.steps[0])
        given = motion if motion is not None else visual
        assert given is not None, "neither motion nor visual features"
        x = self.narrow.weight.new_zeros(given.shape[0], self.hidden, length)
        if self.enter is not None and motion is not None:
            x = x + F.interpolate(self.enter(motion), size=length, mode="linear", align_corners=False)
        if self.visual is not None and visual is not None:
            x = x + self.visual(visual).unsqueeze(-1)
        x = self.narrow(self.early(x))
        return self.leave(self.late(F.interpolate(x, size=codes, mode="linear", align_corners=False)))
