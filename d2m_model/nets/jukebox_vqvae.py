"""JukeBox's three-level VQ-VAE (Dhariwal et al. 2020), with the state-dict layout of its published checkpoint.

The levels are three independent autoencoders of the waveform, with hops of 8, 32 and 128 samples. D2M-GAN generates codes of
level 2 ("high") or level 1 ("low"), which this network decodes.
"""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import nn

from d2m_model.nets.codebook import Codebook, Quantised
from d2m_model.nets.conv_blocks import DownBlock, UpBlock
from d2m_model.nets.cpu.row_convolution import doubled_output, through
from d2m_model.nets.istft_decoder import IstftConfig, IstftDecoder
from dataset_tools.lib.core.timebase import HOPS

JUKEBOX_LEVELS = (0, 1, 2)
HALVINGS = (3, 2, 2)
"""log2 of the downsampling that each level adds to the level below."""


MAX_SIZES = {"width": 1 << 14, "depth": 1 << 8, "bins": 1 << 20, "emb_width": 1 << 14, "multipliers": 1 << 6}
"""Upper bound of each size, so that a damaged file cannot ask for a huge network."""


@dataclass(frozen=True, kw_only=True)
class VqVaeConfig:
    """Sizes of the network; the defaults are the published ones."""

    width: int = 32
    depth: int = 4
    multipliers: tuple[int, ...] = (2, 1, 1)
    """Factor of width and depth for each level."""
    bins: int = 2048
    emb_width: int = 64
    """Channels of the latents and length of a codebook entry."""

    def __post_init__(self):
        if (
            len(self.multipliers) != len(JUKEBOX_LEVELS)
            or min(self.width, self.depth, self.bins, self.emb_width, *self.multipliers) < 1
        ):
            raise ValueError("width, depth, bins, emb_width and the three multipliers must be at least 1")
        for name, largest in MAX_SIZES.items():
            if any(
                type(size) is not int or size > largest
                for size in (self.multipliers if name == "multipliers" else (getattr(self, name),))
            ):
                raise ValueError(f"{name} must be whole numbers of at most {largest}, found {getattr(self, name)}")

    def as_dict(self) -> dict:
        """Plain values for a checkpoint's meta; `VqVaeConfig(**d)` gives the config back."""
        return {key: list(v) if isinstance(v, tuple) else v for key, v in dataclasses.asdict(self).items()}


class Encoder(nn.Module):
    """Waveform (B, 1, S) to latents (B, emb_width, S // hop)."""

    def __init__(self, config: VqVaeConfig, level: int):
        super().__init__()
        factor, emb = config.multipliers[level], config.emb_width
        self.level_blocks = nn.ModuleList(
            DownBlock(emb if i else 1, emb, HALVINGS[i], config.width * factor, config.depth * factor)
            for i in range(level + 1)
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Waveform x (B, 1, S) to latents (B, emb_width, S // hop)."""
        return through(self.level_blocks, x)


class Decoder(nn.Module):
    """Latents (B, emb_width, L) to a waveform (B, 1, L * hop)."""

    def __init__(self, config: VqVaeConfig, level: int):
        super().__init__()
        factor, emb = config.multipliers[level], config.emb_width
        self.level_blocks = nn.ModuleList(
            UpBlock(emb, HALVINGS[i], config.width * factor, config.depth * factor) for i in range(level + 1)
        )
        self.out = nn.Conv1d(emb, 1, 3, padding=1)

    def forward(self, z: torch.Tensor) -> torch.Tensor:
        """Latents z (B, emb_width, L) to a waveform (B, 1, L * hop)."""
        last, *before = self.level_blocks
        assert isinstance(last, UpBlock)
        *stages, end = last.model
        assert isinstance(end, nn.Sequential)
        stack, rise = end
        assert isinstance(rise, nn.ConvTranspose1d)
        return doubled_output(through([*reversed(before), *stages, stack], z), rise, self.out)


class Bottleneck(nn.Module):
    """The three codebooks, named as in the published checkpoint."""

    def __init__(self, config: VqVaeConfig):
        super().__init__()
        self.level_blocks = nn.ModuleList(Codebook(config.bins, config.emb_width) for _ in JUKEBOX_LEVELS)


class JukeboxVQVAE(nn.Module):
    """Encoders, codebooks and decoders of levels 0, 1 and 2; audio is (B, S) within -1..1 at 22 050 Hz.

    A level encodes S samples into L = S // hop codes (hop 8, 32, 128) and decodes them into L * hop samples. istft: {level:
    sizes} of the levels with an inverse-STFT decoder instead of JukeBox's.
    """

    def __init__(self, config: VqVaeConfig | None = None, istft: Mapping[int, IstftConfig] | None = None):
        super().__init__()
        self.config = config = config or VqVaeConfig()
        self.istft: dict[int, IstftConfig] = {}
        self.encoders = nn.ModuleList(Encoder(config, level) for level in JUKEBOX_LEVELS)
        self.decoders = nn.ModuleList(Decoder(config, level) for level in JUKEBOX_LEVELS)
        self.bottleneck = Bottleneck(config)
        for level, sizes in (istft or {}).items():
            self.use_istft_decoder(level, sizes)

    def use_istft_decoder(self, level: int, sizes: IstftConfig) -> None:
        """Replace a level's decoder by an untrained inverse-STFT decoder on the same device."""
        device = self.codebook(level).k.device
        self.decoders[level] = IstftDecoder(self.config.emb_width, HOPS[level], sizes).to(device)
        self.istft[level] = sizes

    def codebook(self, level: int) -> Codebook:
        """The codebook of a level, 0 to 2."""
        found = self.bottleneck.level_blocks[level]
        assert isinstance(found, Codebook)
        return found

    def latents(self, audio: torch.Tensor, level: int) -> torch.Tensor:
        """Encoder output (B, 64, L) for audio (B, S), before quantisation."""
        return self.encoders[level](audio[:, None])

    def quantise(self, z: torch.Tensor, level: int) -> Quantised:
        """Codes (B, L), straight-through entries (B, 64, L) and commitment loss of latents z (B, 64, L)."""
        return self.codebook(level)(z)

    @torch.no_grad()
    def encode(self, audio: torch.Tensor, level: int) -> torch.Tensor:
        """Audio (B, S) to codes (B, L) int64."""
        return self.quantise(self.latents(audio, level), level).codes

    def embed(self, codes: torch.Tensor, level: int) -> torch.Tensor:
        """Codebook entries (B, 64, L) of codes (B, L)."""
        return self.codebook(level).embed(codes)

    def decode_latents(self, z: torch.Tensor, level: int) -> torch.Tensor:
        """Latents or codebook entries z (B, 64, L) to audio (B, L * hop); differentiable in z."""
        return self.decoders[level](z)[:, 0]

    @torch.no_grad()
    def decode(self, codes: torch.Tensor, level: int) -> torch.Tensor:
        """Codes (B, L) to audio (B, L * hop)."""
        return self.decode_latents(self.embed(codes, level), level)

    def copy_level(self, other: "JukeboxVQVAE", level: int) -> None:
        """Copy the encoder, codebook and decoder of one level from a network of the same sizes."""
        if level in other.istft:
            self.use_istft_decoder(level, other.istft[level])
        for mine, theirs in (
            (self.encoders, other.encoders),
            (self.decoders, other.decoders),
            (self.bottleneck.level_blocks, other.bottleneck.level_blocks),
        ):
            mine[level].load_state_dict(theirs[level].state_dict())

    def trim_to_hops(self, audio: torch.Tensor, level: int) -> torch.Tensor:
        """Audio (B, S) cut to whole hops of a level: (B, L * hop)."""
        return audio[:, : audio.shape[1] // HOPS[level] * HOPS[level]]
