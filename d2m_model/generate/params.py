"""How music is generated: section `generate` of params.yaml, and what the command line changes of it."""

import argparse
import dataclasses
from dataclasses import dataclass

from d2m_model.prior.sampling import Draw
from dataset_tools.lib.core.errors import UserError
from dataset_tools.lib.core.layout import Layout
from dataset_tools.lib.core.params import load_params, require

SLOWEST, FASTEST = 20.0, 400.0
"""Beats a minute that can be asked for."""


@dataclass(frozen=True, kw_only=True)
class Params:
    """Section `generate` of params.yaml."""

    split: str = "test"
    """Whose clips the stage makes music for."""
    hop: int = 1
    """Whole seconds between the starts of D2M-GAN's windows."""
    crossfade: float = 0.25
    """Seconds in which one of D2M-GAN's windows goes over into the next."""
    denoise: float = 0.25
    """Strength of the noise gate on D2M-GAN's music, 0 (off) to 1. It takes music with the hiss: on reconstructed demo clips 0.25 moved the
    log-mel distance to the original by under 1 % either way, 1 raised it by 17 to 39 %."""
    loudness: float = -16.0
    """LUFS of a finished sound, unless `peak` allows less."""
    peak: float = 0.95
    """Highest sample of a finished sound; 1 is full scale."""
    seed: int = 0
    """Of whatever a model draws at random, 0 to 2**63 - 1."""
    strictness: float = 1.0
    """Of the prior: how strictly the rhythm and the style are kept. 0 ignores them, 1 is as learnt and takes half the time. Other
    values change how level high is drawn; level low, which is drawn under it, is always as learnt."""
    temperature: float = 1.0
    """Of the prior's draws of level high; below 1 likely codes become likelier. Level low is always drawn as learnt."""
    style: str = ""
    """Of the prior's music: empty, what the dance says; else a genre of the corpus, or a sound file to sound like."""
    pose_weights: str = "auto"
    """Which weights find the dancer of one's own video for the prior and for own music (D2M-GAN reads poses of the weights it was
    trained on). 'auto': those of section `pose`; where they are the demo's, OpenPifPaf's published ones, if they can be
    fetched. Else a name of manifests/weights.csv or a file."""
    threads: int = 1
    """CPU threads; sounds are equal to the byte for equal numbers of them. One window is little work: on a busy machine
    a second thread costs more than it gives."""

    workers: int = 1
    """Processes that make music for the clips of a corpus; sounds do not depend on their number."""

    def __post_init__(self):
        require(self.split in ("train", "val", "test"), f"split must be train, val or test, found '{self.split}'")
        require(self.hop >= 1, f"hop must be at least 1 s, found {self.hop}")
        require(0 <= self.crossfade <= self.hop / 2, f"crossfade must be 0 to hop / 2, found {self.crossfade}")
        require(0 <= self.denoise <= 1, f"denoise must be 0 to 1, found {self.denoise}")
        require(-70 <= self.loudness <= 0, f"loudness must be -70 to 0 LUFS, found {self.loudness}")
        require(0 <= self.seed < 2**63, f"seed must be 0 to 2**63 - 1, found {self.seed}")
        require(0 <= self.strictness <= 20, f"strictness must be 0 to 20, found {self.strictness}")
        require(0.01 <= self.temperature <= 10, f"temperature must be 0.01 to 10, found {self.temperature}")
        require(self.workers >= 1, f"workers must be at least 1, found {self.workers}")
        require(self.threads >= 1, f"threads must be at least 1, found {self.threads}")
        require(0 < self.peak <= 1, f"peak must be above 0 and at most 1, found {self.peak}")

    @property
    def draw(self) -> Draw:
        """How the prior draws codes of level high."""
        return Draw(guidance=self.strictness, temperature=self.temperature)


def check_tempo(bpm: float) -> None:
    """Raises UserError for a tempo out of SLOWEST to FASTEST."""
    if not SLOWEST <= bpm <= FASTEST:
        raise UserError(f"--tempo must be {SLOWEST:g} to {FASTEST:g} beats a minute, found {bpm:g}")


def chosen(args: argparse.Namespace, layout: Layout) -> Params:
    """The parameters of params.yaml, with what the command line says instead. Raises UserError for a value out of range."""
    given = {
        name: getattr(args, name)
        for name in ("seed", "loudness", "denoise", "strictness", "style")
        if getattr(args, name) is not None
    }
    try:
        params = dataclasses.replace(load_params(layout.params, "generate", Params), **given)
        dataclasses.replace(params, seed=params.seed + max(1, args.takes) - 1)  # the last take's seed is one, too
        return params
    except ValueError as err:
        raise UserError(f"generate: {err}") from None
