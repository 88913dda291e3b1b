"""Section `baselines` of params.yaml."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from dataset_tools.lib.core.names import SPLITS
from dataset_tools.lib.core.params import require

SYSTEMS = {
    "dance2music": "d2m_model.baselines.dance2music.system",
    "foley_music": "d2m_model.baselines.foley_music.system",
    "cmt": "d2m_model.baselines.cmt.system",
    "unconditional_prior": "d2m_model.baselines.random_jukebox.unconditional_prior",
    "random_codes": "d2m_model.baselines.random_jukebox.random_codes",
}
"""System -> its module, imported when needed. A module has
Params: a frozen dataclass for section `baselines.<system>` of params.yaml; the defaults are the published sizes;
train(Corpus, Params) -> model: trains on the training split and writes model.pt, metrics.json and curves.csv, if any;
about(Corpus, Params) -> str: one sentence for the note under Table 1: what it was trained on and how it differs from the original;
compose(model, ClipDance) -> list[Note], or audio (T * 735,) float32 if the system writes no score."""


@dataclass(frozen=True, kw_only=True)
class Params:
    """Section `baselines` of params.yaml; each system has a section of its own inside."""

    sections: ClassVar[Mapping[str, str]] = SYSTEMS

    split: str = "test"
    """Split whose clips get music."""
    loudness: float = -16.0
    """Loudness of the finished audio in LUFS; lower if `peak` requires it."""
    peak: float = 0.95
    """Highest absolute sample of the finished audio; 1 is full scale."""
    seed: int = 0
    """Seed of generating music; a training uses the seed and threads of its own section."""
    threads: int = 2
    """CPU threads per process for generating music; results are equal to the byte for an equal number of threads."""
    workers: int = 1
    """Processes that generate music; results do not depend on their number."""

    def __post_init__(self):
        require(self.split in SPLITS, f"split must be one of {', '.join(SPLITS)}, found '{self.split}'")
        require(-70 <= self.loudness <= 0, f"loudness must be -70 to 0 LUFS, found {self.loudness}")
        require(0 < self.peak <= 1, f"peak must be above 0 and at most 1, found {self.peak}")
        require(self.seed >= 0, f"seed must be at least 0, found {self.seed}")
        require(self.threads >= 1, f"threads must be at least 1, found {self.threads}")
        require(self.workers >= 1, f"workers must be at least 1, found {self.workers}")
