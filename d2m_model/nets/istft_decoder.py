"""A decoder that works at the code rate and ends in an inverse STFT, like Vocos (Siuzdak, ICLR 2024).

JukeBox's decoder upsamples to the waveform by convolutions, and the last of them run at the full sample rate. This one
computes one STFT frame per code, which takes a fifth of the time.
"""

import dataclasses
import math
from dataclasses import dataclass

import torch
from torch import nn

MAX_LOG_MAGNITUDE = math.log(100.0)
"""Upper bound of a log-magnitude, so that the exponential stays finite (Vocos)."""
CONTEXT = 8
"""Kernel of the first convolution, in codes."""
KERNEL = 7
MAX_SIZES = {"width": 1 << 13, "depth": 1 << 7, "overlap": 1 << 6}
"""Upper bound of each size, so that a damaged file cannot ask for a huge network."""


@dataclass(frozen=True, kw_only=True)
class IstftConfig:
    """Sizes of the decoder; the defaults are those of Vocos."""

    width: int = 512
    depth: int = 8
    overlap: int = 4
    """Length of the transform in hops."""

    def __post_init__(self):
        for name, largest in MAX_SIZES.items():
            size = getattr(self, name)
            if type(size) is not int or not (2 if name == "overlap" else 1) <= size <= largest:
                raise ValueError(
                    f"{name} of the inverse STFT must be {2 if name == 'overlap' else 1} to {largest}, found {size}"
                )

    def as_dict(self) -> dict[str, int]:
        """Plain values for a checkpoint's meta; `IstftConfig(**d)` gives the config back."""
        return dataclasses.asdict(self)

    @property
    def reach(self) -> int:
        """Receptive field: how many codes away, at most, a code changes the audio."""
        return CONTEXT // 2 + KERNEL // 2 * self.depth + self.overlap


class ConvNeXt(nn.Module):
    """A ConvNeXt block (Liu et al., 2022) along time, on (B, L, width)."""

    def __init__(self, width: int, scale: float):
        super().__init__()
        self.along = nn.Conv1d(width, width, KERNEL, padding=KERNEL // 2, groups=width)
        self.norm = nn.LayerNorm(width)
        self.feed = nn.Sequential(nn.Linear(width, 3 * width), nn.GELU(), nn.Linear(3 * width, width))
        self.scale = nn.Parameter(torch.full((width,), scale))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, L, width) to (B, L, width)."""
        along = self.along(x.transpose(1, 2)).transpose(1, 2)
        return x + self.scale * self.feed(self.norm(along))


class IstftDecoder(nn.Module):
    """Latents (B, emb, L), L at least `overlap`, to a waveform (B, 1, L * hop).

    The STFT has L + 1 frames, centred on the borders between codes, so that the audio begins with the first code and ends with
    the last. polar: the network predicts magnitudes and phases, like Vocos; else real and imaginary parts.
    """

    window: torch.Tensor

    def __init__(self, emb: int, hop: int, config: IstftConfig, *, polar: bool = True):
        super().__init__()
        self.hop, self.n_fft, self.polar = hop, config.overlap * hop, polar
        self.into = nn.Conv1d(emb, config.width, CONTEXT, padding=CONTEXT // 2)
        self.first, self.last = nn.LayerNorm(config.width), nn.LayerNorm(config.width)
        self.blocks = nn.ModuleList(ConvNeXt(config.width, 1 / config.depth) for _ in range(config.depth))
        self.head = nn.Linear(config.width, self.n_fft + 2)
        self.register_buffer("window", torch.hann_window(self.n_fft), persistent=False)

    def forward(self, z: torch.Tensor) -> torch.Tensor:
        """Latents z (B, emb, L) to a waveform (B, 1, L * hop)."""
        x = self.first(self.into(z).transpose(1, 2))
        for block in self.blocks:
            x = block(x)
        a, b = self.head(self.last(x)).float().transpose(1, 2).chunk(2, 1)
        frames = torch.polar(a.clamp(max=MAX_LOG_MAGNITUDE).exp(), b) if self.polar else torch.complex(a, b)
        return torch.istft(frames, self.n_fft, self.hop, window=self.window, length=z.shape[2] * self.hop)[:, None]
