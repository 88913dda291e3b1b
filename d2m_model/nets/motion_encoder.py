"""Motion encoders G_m (paper section 3.2, Table 7): from dance motion to features for the code generator.

`paper` and `released` map a window of fixed length to one vector. `fixed` maps any number of video frames to one vector per
frame, so that a drum hit can fall on the frame of a step.
"""

import torch
from torch import nn

from d2m_model.nets.cpu.layers import Conv1d
from d2m_model.nets.residual_stack import SLOPE, SameConv1d, TemporalBlock, paper_stack, released_stack, scaled_channels


class PaperMotionEncoder(nn.Module):
    """Table 7 as printed: convolutions over time with coordinates as channels, batch normalisation, one output channel."""

    def __init__(self, frames: int, coordinates: int, width: float = 1.0):
        super().__init__()
        w1, w2, w3 = (scaled_channels(c, width) for c in (256, 512, 1024))
        self.model = nn.Sequential(
            SameConv1d(coordinates, w1, 6),
            nn.BatchNorm1d(w1),
            nn.LeakyReLU(SLOPE),
            *paper_stack(w1),
            SameConv1d(w1, w2, 3),
            nn.BatchNorm1d(w2),
            *paper_stack(w2),
            SameConv1d(w2, w3, 3),
            nn.BatchNorm1d(w3),
            *paper_stack(w3),
            SameConv1d(w3, w3, 3),
            nn.BatchNorm1d(w3),
            nn.LeakyReLU(SLOPE),
            SameConv1d(w3, 1, 4),
        )
        self.features = frames

    def forward(self, pose: torch.Tensor) -> torch.Tensor:
        """(B, T, D) coordinates -> (B, T)."""
        return self.model(pose.transpose(1, 2)).squeeze(1)


class ReleasedMotionEncoder(nn.Module):
    """The released program's encoder: a Linear per frame, then convolutions with frames as channels; names as in its checkpoints."""

    def __init__(self, frames: int, coordinates: int, width: float = 1.0):
        super().__init__()
        w1, w2, w3 = (scaled_channels(c, width) for c in (256, 512, 1024))
        self.lin1 = nn.Linear(coordinates, 800)
        self.model = nn.Sequential(
            Conv1d(frames, w1, 6),
            nn.ReLU(),
            *released_stack(w1),
            nn.LeakyReLU(SLOPE),
            Conv1d(w1, w2, 4),
            *released_stack(w2),
            nn.LeakyReLU(SLOPE),
            Conv1d(w2, w3, 4),
            *released_stack(w3),
            nn.LeakyReLU(SLOPE),
            Conv1d(w3, 1, 4),
        )
        self.lin2 = nn.Linear(800 - 5 - 3 * 3, 1024)
        self.features = 1024

    def forward(self, pose: torch.Tensor) -> torch.Tensor:
        """(B, T, D) coordinates -> (B, 1024); T is the number of frames that the encoder was built for."""
        return self.lin2(self.model(self.lin1(pose))).squeeze(1)


class TemporalMotionEncoder(nn.Module):
    """Encoder of the preset `fixed`: dilated convolutions that keep the number of frames; receptive field 1.5 s to either side."""

    def __init__(self, coordinates: int, width: float = 1.0, dropout: float = 0.1):
        super().__init__()
        self.features = scaled_channels(256, width)
        self.model = nn.Sequential(
            nn.Conv1d(coordinates, self.features, 5, padding=2),
            *(TemporalBlock(self.features, d, dropout) for d in (1, 2, 4, 8, 16, 1)),
        )

    def forward(self, pose: torch.Tensor) -> torch.Tensor:
        """(B, T, D) motion features, any T -> (B, C, T)."""
        return self.model(pose.transpose(1, 2))
