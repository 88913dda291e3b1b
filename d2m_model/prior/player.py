"""A trained prior and the decoder that plays its codes: a rhythm to sound."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from d2m_model.nets.jukebox_vqvae import JukeboxVQVAE
from d2m_model.prior.conditions import rhythm_features
from d2m_model.prior.model_file import PriorModel, load_prior
from d2m_model.prior.sampling import Draw, sample
from d2m_model.prior.style import style_of
from d2m_model.rhythm.beats_file import Beats
from d2m_model.training.vqvae_files import load_vqvae
from dataset_tools.base.errors import UserError
from dataset_tools.base.layout import Layout
from dataset_tools.base.timebase import HOPS, LEVELS

DRAWS = {"high": Draw(guidance=2.0, temperature=0.9), "low": Draw(guidance=1.0, temperature=0.9)}


@dataclass(frozen=True, kw_only=True, eq=False)
class Player:
    """The priors of level high and, for low, of low after it, with what plays them."""

    high: PriorModel
    decoder: JukeboxVQVAE
    """Of the level that is played."""
    low: PriorModel | None = None

    @property
    def level(self) -> str:
        return "low" if self.low else "high"

    def style(self, spec: str, beats: Beats, seed: int) -> torch.Tensor:
        """(style,) of: '' what the dance says, a genre's name, or a sound file. UserError for a name that is neither."""
        rng = np.random.default_rng([seed, 7])
        if not spec:
            return self.high.styles.of_dance(beats.style, beats.tempo, rng)
        if Path(spec).suffix:
            from d2m_model.metrics.inputs import read_sound

            audio = read_sound(Path(spec))
            if len(audio) < 22050:
                raise UserError(f"{spec}: a reference sound must last at least a second")
            peak = max(1e-4, float(np.abs(audio).max()))
            codes = self.decoder.encode(torch.from_numpy(audio * np.float32(0.95 / peak))[None], LEVELS["high"])[0]
            return style_of(self.high.net, codes, round(4.0 * 22050 / HOPS[2]))
        return self.high.styles.named(spec, rng)

    def codes(self, beats: Beats, samples: int, style: torch.Tensor, draw: Draw, seed: int, kept: torch.Tensor | None = None) -> dict[str, torch.Tensor]:
        """{'high': (L,)} and, of level low, {'low': (4 L,)} int64 codes for `samples` of music.

        kept: codes of level high that it begins with. Equal seeds give equal codes.
        """
        rng = torch.Generator().manual_seed(seed)
        found = {"high": sample(self.high.net, self._rhythm(beats, samples, "high"), style, draw, rng, kept=kept)}
        if self.low:
            found["low"] = sample(self.low.net, self._rhythm(beats, samples, "low"), None, DRAWS["low"], rng, upper=found["high"])
        return found

    def play(self, codes: dict[str, torch.Tensor], samples: int) -> np.ndarray:
        """(samples,) float32 of `codes`."""
        with torch.inference_mode():
            return self.decoder.decode(codes[self.level][None], LEVELS[self.level])[0, :samples].numpy()

    def _rhythm(self, beats: Beats, samples: int, level: str) -> torch.Tensor:
        hop = HOPS[LEVELS[level]]
        count = -(-samples // HOPS[2]) * HOPS[2] // hop  # both levels end together
        return torch.from_numpy(rhythm_features(beats.beats, beats.downbeats, beats.strength, first=0, count=count, hop=hop))


def load_player(layout: Layout, level: str) -> Player:
    """The trained priors and synthesizer of a corpus. Raises UserError, with the command that trains it, where one is
    missing, and where they do not belong together."""
    decoder = load_vqvae(layout.stage("synthesizer") / level / "model.pt")
    models = {name: load_prior(layout.stage("prior") / name / "model.pt", decoder.codebook(LEVELS[name]).k) for name in {"high", level}}
    return Player(high=models["high"], low=models.get("low"), decoder=decoder)
