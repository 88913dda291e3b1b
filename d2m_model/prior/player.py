"""A trained prior with the decoder of its codes: from a rhythm to audio."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from d2m_model.nets.jukebox_vqvae import JukeboxVQVAE
from d2m_model.prior.conditions import features_of
from d2m_model.prior.data import REFERENCE_SECONDS
from d2m_model.prior.model_file import PriorModel, load_prior
from d2m_model.prior.sampling import DRAWS, Draw, sample
from d2m_model.prior.style import Styles, encode_style, style_for
from d2m_model.rhythm.beats_file import Beats
from d2m_model.training.coding import decode_long, encode_long
from d2m_model.training.shard_data import SILENCE, peak_gain
from d2m_model.training.vqvae_files import load_vqvae
from dataset_tools.lib.core.errors import UserError
from dataset_tools.lib.core.layout import Layout
from dataset_tools.lib.core.timebase import HOPS, LEVELS, SAMPLE_RATE


@dataclass(frozen=True, kw_only=True, eq=False)
class Player:
    """The prior of level high, for level low also the prior of low, and the decoder."""

    high: PriorModel
    decoder: JukeboxVQVAE
    """Decoder of the level that is played."""
    low: PriorModel | None = None

    @property
    def level(self) -> str:
        """Level of the codes that are decoded."""
        return "low" if self.low else "high"

    @property
    def styles(self) -> Styles:
        """The styles of the corpus, which every prior of level high has."""
        assert self.high.styles is not None
        return self.high.styles

    def style(self, spec: str | np.ndarray, beats: Beats, seed: int) -> torch.Tensor:
        """A style vector (style,). spec: '' for a style that suits the dance, a genre of the corpus, or audio (S,). UserError for
        anything else."""
        if isinstance(spec, str):
            return style_for(self.styles, spec, beats, seed)
        codes = self.encode(spec * peak_gain(spec), "high")
        return encode_style(self.high.net, codes, round(REFERENCE_SECONDS * SAMPLE_RATE / HOPS[2]))

    def read_style(self, spec: str) -> str | np.ndarray:
        """What `style` takes, for '', a genre of the corpus or the path of an audio file. UserError for anything else."""
        if Path(spec).suffix and spec not in self.styles.genres:
            return read_style_audio(Path(spec))
        if spec:
            self.styles.songs_of(spec)
        return spec

    def codes(
        self,
        beats: Beats,
        samples: int,
        style: torch.Tensor,
        draw: Draw,
        seed: int,
        kept: dict[str, torch.Tensor] | None = None,
        bar: bool = False,
    ) -> dict[str, torch.Tensor]:
        """Codes int64 for `samples` of music: {'high': (L,)} and, for level low, also {'low': (4 L,)}.

        draw: settings for level high. Level low is sampled with its default settings, but without the rhythm where `draw` has a
        guidance of 0. kept: level -> codes that the result begins with. bar: show the progress. Equal seeds give equal codes.
        """
        kept = kept or {}
        rng, count = torch.Generator().manual_seed(seed), -(-samples // HOPS[2])
        found = {
            "high": sample(
                self.high.net, features_of(beats, count, HOPS[2]), style, draw, rng, kept=kept.get("high"),
                bar="music" if bar else "",
            )
        }  # fmt: skip
        if self.low:
            finer = HOPS[2] // HOPS[1]
            rhythm = features_of(beats, finer * count, HOPS[1]) * bool(draw.guidance)  # zeros mean no rhythm
            found["low"] = sample(
                self.low.net, rhythm, None, DRAWS["low"], rng, upper=found["high"], kept=kept.get("low"),
                bar="music, level low" if bar else "",
            )  # fmt: skip
        return found

    def encode(self, audio: np.ndarray, level: str) -> torch.Tensor:
        """Audio (S,) float32 to codes (L,) int64 of a level; empty for less than a hop of level high."""
        index = LEVELS[level]
        return (
            encode_long(self.decoder, torch.from_numpy(audio), index)
            if len(audio) >= HOPS[2]
            else torch.zeros(0, dtype=torch.int64)
        )

    def play(self, codes: dict[str, torch.Tensor], samples: int) -> np.ndarray:
        """Audio (samples,) float32 of `codes`."""
        return decode_long(self.decoder, codes[self.level], LEVELS[self.level])[:samples].numpy()


def read_style_audio(path: Path) -> np.ndarray:
    """Audio (S,) float32 at 22 050 Hz of a style reference. Raises UserError for a file that can't be read, is shorter than a
    second, or is silent."""
    from d2m_model.metrics.inputs import read_audio

    audio = read_audio(path)
    if len(audio) < SAMPLE_RATE or np.abs(audio).max() < SILENCE:
        raise UserError(
            f"{path}: audio for the style must last at least a second and not be silent, found {len(audio) / SAMPLE_RATE:.2f} s"
        )
    return audio


def load_player(layout: Layout, level: str) -> Player:
    """The trained priors and synthesizer of a corpus. Raises UserError where one is missing, with the command that trains it, and
    where they do not belong together."""
    decoder = load_vqvae(layout.stage("synthesizer") / level / "model.pt")
    models = {
        name: load_prior(layout.stage("prior") / name / "model.pt", decoder.codebook(LEVELS[name]).k)
        for name in {"high", level}
    }
    return Player(high=models["high"], low=models.get("low"), decoder=decoder)
