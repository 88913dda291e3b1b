"""Random codes, a stand-in for the row Random JukeBox: uniformly random codes of level "high", played by the synthesizer's
decoder."""

from dataclasses import dataclass

import numpy as np
import torch

from d2m_model.baselines.dance import ClipDance, Corpus
from d2m_model.nets.jukebox_vqvae import JukeboxVQVAE
from d2m_model.training.vqvae_files import load_vqvae
from dataset_tools.lib.core.errors import UserError
from dataset_tools.lib.core.params import read_names
from dataset_tools.lib.core.timebase import HOPS, LEVELS, frames_to_samples

LEVEL = "high"


@dataclass(frozen=True, kw_only=True)
class Params:
    """Section `baselines.random_codes` of params.yaml; it has no parameters."""


def train(corpus: Corpus, params: Params) -> JukeboxVQVAE:
    """Trains nothing; the model is the decoder. Raises UserError where the synthesizer has not been trained."""
    return load_decoder(corpus)


def about(corpus: Corpus, params: Params) -> str:
    """For the note under Table 1."""
    return "uniformly random codes of the level high, decoded; nothing is trained"


def compose(model: JukeboxVQVAE, dance: ClipDance) -> np.ndarray:
    """Audio (T * 735,) float32 at 22 050 Hz of random codes, seeded by the dance."""
    rng = torch.Generator().manual_seed(dance.seed)
    codes = torch.randint(model.config.bins, (code_count(dance.frames),), generator=rng)
    return decode_codes(model, codes, dance.frames)


def load_decoder(corpus: Corpus) -> JukeboxVQVAE:
    """The corpus's VQ-VAE with the fine-tuned decoder of this level. UserError where params.yaml does not have the level."""
    if LEVEL not in (levels := read_names(corpus.layout.params, "levels")):
        raise UserError(
            f"{corpus.layout.params}: system {corpus.system} needs {LEVEL} in levels, found {', '.join(levels)}; add it or leave {corpus.system} out of systems"
        )
    return load_vqvae(corpus.layout.stage("synthesizer") / LEVEL / "model.pt")


def code_count(frames: int) -> int:
    """Number of codes that cover `frames` video frames; the last code may reach beyond them."""
    return -(-frames_to_samples(frames) // HOPS[LEVELS[LEVEL]])


def decode_codes(model: JukeboxVQVAE, codes: torch.Tensor, frames: int) -> np.ndarray:
    """Audio (frames * 735,) float32 of `code_count(frames)` codes (L,)."""
    return model.decode(codes[None], LEVELS[LEVEL])[0, : frames_to_samples(frames)].numpy()
