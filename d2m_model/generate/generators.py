"""Generates finished music for one dance: with D2M-GAN window by window, or with the prior from the dance's beats."""

from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np
import torch

from d2m_model.generate.finish import denoise, normalise
from d2m_model.generate.params import Params
from d2m_model.generate.windows import WindowModel, render
from d2m_model.prior.player import Player
from d2m_model.rhythm.beats_file import Beats
from d2m_model.training.seeding import seed_everything
from dataset_tools.lib.core.errors import UserError
from dataset_tools.lib.core.timebase import FPS, SAMPLE_RATE, frames_to_samples, frames_to_seconds


@dataclass(frozen=True, kw_only=True, eq=False)
class Dance:
    """Input of a generator: a dance of T frames. Fields that the generator does not read may be missing."""

    frames: int
    size: tuple[int, int]
    """Width and height in px of the picture."""
    pose: np.ndarray | None = None
    """Keypoints (T, P, J, 3) in px, or SMPL motion (T, R, 219): the stream that the generator reads."""
    visual: np.ndarray | None = None
    """(W, 2048): visual features per second."""
    beats: Beats | None = None
    genre: str | None = None
    """Genre of the dance; None if the generator knows it already or needs none."""


class Made(NamedTuple):
    """Finished music."""

    audio: np.ndarray
    """(T * 735,) float32 at 22 050 Hz."""
    codes: dict[str, torch.Tensor] | None = None
    """Level -> generated codes (L,), if the generator generates codes."""


class MusicGenerator(Protocol):
    """A trained model that generates the finished music of a dance."""

    level: str
    """'high' or 'low'."""
    stream: str
    """Its input: 'pose' or 'motion', together with the visual features, or 'beats'."""

    def check(self, params: Params) -> None:
        """Raises UserError for invalid parameters, before a dance is read."""

    def generate(self, dance: Dance, params: Params) -> Made:
        """Music for one dance. Equal dances and parameters give equal music."""


class WindowGenerator:
    """Generates with D2M-GAN, one window at a time."""

    def __init__(self, model: WindowModel, level: str):
        self.model, self.level, self.stream = model, level, model.stream

    def check(self, params: Params) -> None:
        """Raises UserError if the model's windows are too short for `hop` and `crossfade`."""
        window = frames_to_seconds(self.model.frames)
        if params.hop + params.crossfade > window:
            raise UserError(
                f"generate.hop {params.hop} s and crossfade {params.crossfade} s don't fit into the model's window of {window:g} s; lower hop"
            )

    def generate(self, dance: Dance, params: Params) -> Made:
        """The joined windows, denoised and normalised. Raises UserError as `check`."""
        assert dance.pose is not None and dance.visual is not None
        self.check(params)
        model = self.model if dance.genre is None else self.model.for_genre(dance.genre)
        seed_everything(params.seed, params.threads)
        fade = round(params.crossfade * SAMPLE_RATE)
        audio = render(model, dance.pose, dance.size, dance.visual, hop=params.hop * FPS, fade=fade)
        return Made(normalise(denoise(audio, params.denoise), params.loudness, params.peak))


class PriorGenerator:
    """Generates with a prior: codes from the dance's beats, in one piece."""

    stream = "beats"

    def __init__(self, player: Player, bar: bool = False):
        """bar: show the progress of each piece."""
        self.player, self.level, self.bar = player, player.level, bar
        self._style: tuple[str, str | np.ndarray] | None = None
        """`style` of the last checked parameters, and what `read_style` returned for it."""

    def check(self, params: Params) -> None:
        """Read the style once for all music that follows. Raises UserError for a style that is neither a genre of the corpus nor a
        usable audio file."""
        self._style = params.style, self.player.read_style(params.style)

    def generate(self, dance: Dance, params: Params) -> Made:
        """Music for a dance, at the loudness of `params`."""
        raw, codes = self.raw(dance, params)
        return Made(normalise(raw, params.loudness, params.peak), codes)

    def raw(
        self, dance: Dance, params: Params, kept: dict[str, torch.Tensor] | None = None
    ) -> tuple[np.ndarray, dict[str, torch.Tensor]]:
        """The decoded audio (T * 735,), not normalised, and its codes. kept: level -> codes that the music begins with."""
        assert dance.beats is not None
        seed_everything(params.seed, params.threads)
        samples = frames_to_samples(dance.frames)
        if self._style is None or self._style[0] != params.style:
            self.check(params)
        assert self._style is not None
        style = self.player.style(self._style[1], dance.beats, params.seed)
        codes = self.player.codes(dance.beats, samples, style, params.draw, params.seed, kept, self.bar)
        return self.player.play(codes, samples), codes
