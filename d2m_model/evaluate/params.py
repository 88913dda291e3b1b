"""Section `evaluate` of params.yaml."""

from dataclasses import dataclass

from d2m_model.metrics.embedding import WEIGHTS
from d2m_model.metrics.scoring import PROTOCOLS
from d2m_model.metrics.systems import Others
from dataset_tools.lib.core.names import SPLITS
from dataset_tools.lib.core.params import require


@dataclass(frozen=True, kw_only=True)
class Params(Others):
    """Section `evaluate` of params.yaml."""

    protocols: tuple[str, ...] = PROTOCOLS
    draws: int = 2000
    """Bootstrap resamples of clips and of songs."""
    seed: int = 0
    """Seed of the bootstrap and of the random controls."""
    split: str = "test"
    """Split whose clips are scored."""
    segments: bool = False
    """Score P1 and P2 over whole segments of 2 s, as the paper did (86 on AIST++), instead of whole clips."""
    embedding: str = "vggish"
    """Embedding for genre accuracy, FAD, KAD and novelty: 'vggish' (downloaded) for real music, 'demo' for rendered songs."""
    workers: int = 1
    """Processes that score systems; scores do not depend on their number."""
    coded_clips: int = 64
    """Number of training clips, evenly spaced, that are encoded and decoded for the FAD to coded music."""

    def __post_init__(self):
        super().__post_init__()
        require(
            len(self.protocols) > 0 and set(self.protocols) <= set(PROTOCOLS),
            f"protocols must be among {', '.join(PROTOCOLS)}",
        )
        require(self.draws >= 100, f"draws must be at least 100, found {self.draws}")
        require(self.workers >= 1, f"workers must be at least 1, found {self.workers}")
        require(self.coded_clips >= 1, f"coded_clips must be at least 1, found {self.coded_clips}")
        require(self.embedding in WEIGHTS, f"embedding must be {' or '.join(WEIGHTS)}, found '{self.embedding}'")
        require(self.split in SPLITS, f"split must be one of {', '.join(SPLITS)}, found '{self.split}'")
