"""Noise of the codebook, a stand-in of the row Random JukeBox: codes of level "high" drawn uniformly and played by the
synthesizer's decoder."""

from dataclasses import dataclass

import numpy as np
import torch

from d2m_model.baselines.dance import ClipDance, Corpus
from d2m_model.nets.jukebox_vqvae import JukeboxVQVAE
from d2m_model.training.vqvae_files import load_vqvae
from dataset_tools.lib.core.errors import UserError
from dataset_tools.lib.core.params import names_of
from dataset_tools.lib.core.timebase import HOPS, LEVELS, frames_to_samples

LEVEL = "high"


@dataclass(frozen=True, kw_only=True)
class Params:
    """Section `baselines.random_codes` of params.yaml: there is nothing to choose."""


def train(corpus: Corpus, params: Params) -> JukeboxVQVAE:
    """There is nothing to learn: the model is the decoder. Raises UserError where the synthesizer has not been trained."""
    return load_decoder(corpus)


def about(corpus: Corpus, params: Params) -> str:
    """For the note under Table 1."""
    return "uniformly random codes of the level high, decoded; nothing is trained"


def compose(model: JukeboxVQVAE, dance: ClipDance) -> np.ndarray:
    """(T * 735,) float32 at 22 050 Hz of codes drawn by the dance's seed."""
    rng = torch.Generator().manual_seed(dance.seed)
    codes = torch.randint(model.config.bins, (codes_of(dance.frames),), generator=rng)
    return played(model, codes, dance.frames)


def load_decoder(corpus: Corpus) -> JukeboxVQVAE:
    """The corpus's VQ-VAE with the decoder fine-tuned at this level. UserError where params.yaml does not train it."""
    if LEVEL not in (levels := names_of(corpus.layout.params, "levels")):
        raise UserError(
            f"{corpus.layout.params}: system {corpus.system} needs {LEVEL} in levels, found {', '.join(levels)}; add it or leave {corpus.system} out of systems"
        )
    return load_vqvae(corpus.layout.stage("synthesizer") / LEVEL / "model.pt")


def codes_of(frames: int) -> int:
    """Codes that cover so many video frames; the last may reach beyond."""
    return -(-frames_to_samples(frames) // HOPS[LEVELS[LEVEL]])


def played(model: JukeboxVQVAE, codes: torch.Tensor, frames: int) -> np.ndarray:
    """(frames * 735,) float32 of `codes_of(frames)` codes (L,)."""
    return model.decode(codes[None], LEVELS[LEVEL])[0, : frames_to_samples(frames)].numpy()
