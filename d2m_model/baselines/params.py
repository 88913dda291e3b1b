"""Section `baselines` of params.yaml."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from dataset_tools.lib.core.params import require
from dataset_tools.lib.shard_io.shard_format import SPLITS

SYSTEMS = {
    "dance2music": "d2m_model.baselines.dance2music.system",
    "foley_music": "d2m_model.baselines.foley_music.system",
    "cmt": "d2m_model.baselines.cmt.system",
    "unconditional_prior": "d2m_model.baselines.random_jukebox.unconditional_prior",
    "random_codes": "d2m_model.baselines.random_jukebox.random_codes",
}
"""System -> its module, imported when it is asked for. A module has
Params: frozen dataclass, section `baselines.<system>` of params.yaml; absent, the published sizes;
train(Corpus, Params) -> model: learns from the training split and writes model.pt, metrics.json and curves.csv, if any;
about(Corpus, Params) -> str: one sentence for the note under Table 1: what it learnt from and what stands in for what;
compose(model, ClipDance) -> list[Note], or sound (T * 735,) float32 of a system that writes no score."""


@dataclass(frozen=True, kw_only=True)
class Params:
    """Section `baselines` of params.yaml; what one system alone has is in a section of its name in it."""

    sections: ClassVar[Mapping[str, str]] = SYSTEMS

    split: str = "test"
    """Whose clips get music."""
    loudness: float = -16.0
    """LUFS of a finished sound, unless `peak` allows less."""
    peak: float = 0.95
    """Highest sample of a finished sound; 1 is full scale."""
    seed: int = 0
    """Of what is drawn while music is made; a training has the seed and threads of its own section."""
    threads: int = 2
    """CPU threads of making music, in each process; results are equal to the byte for equal numbers of them."""
    workers: int = 1
    """Processes that make music; it does not depend on their number."""

    def __post_init__(self):
        require(self.split in SPLITS, f"split must be one of {', '.join(SPLITS)}, found '{self.split}'")
        require(-70 <= self.loudness <= 0, f"loudness must be -70 to 0 LUFS, found {self.loudness}")
        require(0 < self.peak <= 1, f"peak must be above 0 and at most 1, found {self.peak}")
        require(self.seed >= 0, f"seed must be at least 0, found {self.seed}")
        require(self.threads >= 1, f"threads must be at least 1, found {self.threads}")
        require(self.workers >= 1, f"workers must be at least 1, found {self.workers}")
