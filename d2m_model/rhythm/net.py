"""The network: from body features to activations of beats and down-beats, the beats' strength, and the style.

A dilated temporal convolutional network as in Davies and Böck, "Temporal convolutional networks for musical audio beat
tracking" (EUSIPCO 2019), on body features instead of audio.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import nn

from d2m_model.rhythm.body import MOTION_FEATURES, POSE_FEATURES

STREAMS = {"pose": POSE_FEATURES, "motion": MOTION_FEATURES}
"""Stream -> features per frame."""
TEMPOS = torch.linspace(60, 200, 29)
"""Beats per minute: centres of the Gaussians that encode the tempo for the style classifier."""
TEMPO_WIDTH = 4.0
"""Their standard deviation."""


class RhythmOutput(NamedTuple):
    """The network's output for B dances of T frames."""

    beats: torch.Tensor
    """(B, T, 2): logits of beat and down-beat."""
    strength: torch.Tensor
    """(B, T): logits of the strength of a beat at this frame."""
    pooled: torch.Tensor
    """(B, 2·W): mean and standard deviation of the hidden features over time, for `style`."""


class RhythmNet(nn.Module):
    """stream: 'pose' or 'motion'. genres: classes of `style`; may be empty. width: channels W. blocks: number of dilated
    blocks; block k has dilation 2^k, and six of them have a receptive field of 4 s to either side."""

    def __init__(self, stream: str, genres: Sequence[str], *, width: int = 64, blocks: int = 6, dropout: float = 0.2):
        super().__init__()
        self.stream, self.genres = stream, tuple(genres)
        self.sizes = {"stream": stream, "genres": list(genres), "width": width, "blocks": blocks, "dropout": dropout}
        self.enter = nn.Conv1d(STREAMS[stream], width, 5, padding=2)
        self.drop = nn.Dropout(dropout)
        self.blocks = nn.ModuleList(_block(width, 2**k, dropout) for k in range(blocks))
        self.leave = nn.Conv1d(width, 3, 1)
        self.choose = nn.Sequential(
            nn.Linear(2 * width + len(TEMPOS), width),
            nn.SiLU(),
            nn.Dropout(dropout),
            nn.Linear(width, max(1, len(genres))),
        )

    def forward(self, features: torch.Tensor) -> RhythmOutput:
        """Outputs for features (B, T, C), with C of `STREAMS`."""
        x = self.drop(self.enter(features.transpose(1, 2)))
        for block in self.blocks:
            x = x + block(x)
        beats, strength = self.leave(x).transpose(1, 2).split((2, 1), dim=-1)
        spread = (x.var(dim=2, correction=0) + 1e-5).sqrt()
        return RhythmOutput(beats, strength[..., 0], torch.cat([x.mean(dim=2), spread], dim=1))

    def style(self, pooled: torch.Tensor, tempo: torch.Tensor) -> torch.Tensor:
        """Logits (B, G) of the genres, from `RhythmOutput.pooled` and tempos (B,) in beats per minute (0: unknown)."""
        places = TEMPOS.to(tempo)
        seen = torch.exp(-0.5 * ((tempo[:, None] - places) / TEMPO_WIDTH) ** 2)
        return self.choose(torch.cat([pooled, seen], dim=1))


def _block(width: int, dilation: int, dropout: float) -> nn.Module:
    return nn.Sequential(
        nn.GroupNorm(4, width), nn.SiLU(), nn.Conv1d(width, width, 3, padding=dilation, dilation=dilation), nn.SiLU(),
        nn.Dropout(dropout), nn.Conv1d(width, width, 1),
    )  # fmt: skip
