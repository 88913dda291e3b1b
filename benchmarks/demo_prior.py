"""Shared by several benchmarks: the demo's codec and priors, and a check whether a piece keeps its beats."""

import numpy as np

from d2m_model.checkpoints import load_jukebox
from d2m_model.demo.train_vqvae import CODEC
from d2m_model.metrics.p4_onsets import onset_times
from d2m_model.nets.jukebox_vqvae import JukeboxVQVAE
from d2m_model.prior.model_file import load_prior
from d2m_model.prior.player import Player
from dataset_tools.lib.core.layout import PROJECT

WEIGHTS = PROJECT / "dataset_tools" / "demo" / "weights"


def codec() -> JukeboxVQVAE:
    """The codec `vqvae_demo`."""
    return load_jukebox(WEIGHTS / "vqvae_demo.pt", CODEC)


def player(level: str) -> Player:
    """The prior `prior_demo_high` and, for level low, also `prior_demo_low`, with `vqvae_demo`."""
    high, low = (load_prior(WEIGHTS / f"prior_demo_{name}.pt") for name in ("high", "low"))
    return Player(high=high, low=low if level == "low" else None, decoder=codec())


def hits(audio: np.ndarray, beats: np.ndarray) -> list[float]:
    """For each quarter of the audio (S,) the share of the beats (n,), in seconds, with an onset within 70 ms."""
    onsets = onset_times(audio)
    hit = np.array([np.abs(onsets - t).min(initial=9) < 0.07 for t in beats])
    return [float(part.mean()) for part in np.array_split(hit, 4)]
