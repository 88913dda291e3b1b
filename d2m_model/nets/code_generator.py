"""Code generators G_vq (paper section 3.2, Tables 8 and 9): motion and visual features to continuous codes f_vq.

Shapes: 64 is the size of a codebook entry, L the number of codes of the window (344 high, 1378 low for 2 s).
"""

import torch
from torch import nn
from torch.nn import functional as F

from d2m_model.nets.cpu.fast_convolution import FastConv1d
from d2m_model.nets.residual_stack import SLOPE, SameConv1d, TemporalBlock, paper_stack, released_stack, widen

SIGMA = 100.0  # the tanh is scaled by it; the paper calls this crucial for stability

# (kernel, stride, channels) of each printed convolution; a residual stack follows all but those marked.
TABLE_8 = ((6, 2, 32), (41, 2, 64), (41, 1, 128), (41, 1, 256), (41, 1, 512), (40, 1, 64))
TABLE_9 = (
    (6, 2, 32), (4, 1, 64), (40, 2, 128), (40, 1, 256), (40, 1, 512), (40, 1, 1024), (40, 1, 1024), (40, 1, 64),
)  # fmt: skip
TABLES = {"high": TABLE_8, "low": TABLE_9}
NO_STACK = {"high": (5,), "low": (6, 7)}  # layers that no residual stack follows
# Of the released program. Every convolution pads by 1 with zeros; the low generator's also by these with reflections,
# which brings 2048 values to the 1045 that its last Linear expects (and the 3072 of TikTok's to 1301).
RELEASED_LOW_PADS = (3, 32, 64, 64, 64, 64, 64, 64)
RELEASED_BARE = {"high": (0,), "low": (0, 7)}  # its convolutions that no LeakyReLU comes before
RELEASED_LENGTHS = {"high": 2058, "low": 2048}  # that the fused condition is brought to, for windows of 2 s
GENRES, GENRE_WIDTH = 10, 256  # of AIST++, whose generators are also told the dance's genre


class PaperCodeGenerator(nn.Module):
    """Tables 8 and 9 as printed, with batch normalisation and length-keeping reflection padding.

    The fused condition is a Linear layer's 4·L outputs, which the two strided convolutions bring to L.
    """

    def __init__(
        self, level: str, condition: int, codes: int, width: float = 1.0, sigma: float = SIGMA, embedding: int = 64
    ):
        super().__init__()
        self.sigma = sigma
        self.lin = nn.Linear(condition, 4 * codes)
        layers, inputs, table = [], 1, TABLES[level]
        for i, (kernel, stride, channels) in enumerate(table):
            last = i == len(table) - 1
            outputs = embedding if last else widen(channels, width)
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
    """The released program's generators, parameters named as in its checkpoints.

    A Linear brings the condition to 2058 (high) or 2048 (low) values. For windows of another length than 2 s, which the
    program does not know, high begins with four values more for each further code, and low ends in more codes.
    The TikTok low generator was released without that Linear and cannot run; here it has one.
    genres: how many the genre embedding knows (AIST++: 10), 0 for none.
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
        layers, inputs, table = [], 1, TABLES[level]
        for i, (kernel, stride, channels) in enumerate(table):
            last = i == len(table) - 1
            outputs = embedding if last else widen(channels, width)
            if i not in RELEASED_BARE[level]:
                layers.append(nn.LeakyReLU(SLOPE))
            mirrored = RELEASED_LOW_PADS[i] if level == "low" else 0
            if mirrored:
                layers.append(nn.ReflectionPad1d(mirrored))
            layers.append(FastConv1d(inputs, outputs, kernel, stride, padding=1))
            if i not in NO_STACK[level]:
                layers += released_stack(outputs)
            length = (length + 2 * mirrored + 2 - kernel) // stride + 1
            inputs = outputs
        layers.append(nn.Tanh())
        self.model = nn.Sequential(*layers)
        if level == "low":
            self.fc = nn.Linear(length, codes)

    def forward(self, condition: torch.Tensor, genre: torch.Tensor | None = None) -> torch.Tensor:
        """(B, D), and (B,) genres 0.. where there are any -> (B, 64, L); high within ±sigma."""
        if genre is not None:
            condition = torch.cat([condition, self.genre_embed(genre)], dim=1)
        codes = self.model(self.lin(condition).unsqueeze(1))
        return self.sigma * (self.fc(codes) if self.level == "low" else codes)


class TemporalCodeGenerator(nn.Module):
    """`fixed`: hidden vectors per frame, conditioned by the visual feature, brought to code rate and refined there.

    Fully convolutional, so any length works: T frames give L = T·735 // hop codes.
    """

    def __init__(
        self, level: str, motion: int, visual: int, width: float = 1.0, dropout: float = 0.1, embedding: int = 64
    ):
        super().__init__()
        hidden, late = widen(256, width), widen(256 if level == "high" else 128, width)
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
        batch = (motion if motion is not None else visual).shape[0]
        x = self.leave[-1].weight.new_zeros(batch, self.hidden, length)
        if motion is not None:
            x = x + F.interpolate(self.enter(motion), size=length, mode="linear", align_corners=False)
        if visual is not None:
            x = x + self.visual(visual).unsqueeze(-1)
        x = self.narrow(self.early(x))
        return self.leave(self.late(F.interpolate(x, size=codes, mode="linear", align_corners=False)))
