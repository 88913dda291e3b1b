"""Section `listen` of params.yaml."""

from dataclasses import dataclass

from dataset_tools.lib.core.names import SPLITS
from dataset_tools.lib.core.params import require

HEADPHONE_TRIALS = 6


@dataclass(frozen=True, kw_only=True)
class Params:
    """Section `listen` of params.yaml. The defaults are the paper's panel: 26 raters with 15 items in each task."""

    raters: int = 26
    """Number of places; it may be raised later."""
    items: int = 15
    """Items per rater in each of the two tasks, besides practice and checks."""
    split: str = "test"
    """Split whose clips are rated."""
    clips: int = 20
    """Number of clips in the study, drawn from the seed."""
    systems: tuple[str, ...] = ()
    """Systems to rate (models, baselines, those of others and controls), named as in Table 1; empty: all that params.yaml names.
    Ground truth, VQ reconstructions and shuffled ground truth are always included."""
    seconds: float = 10.0
    """Longest excerpt; each starts at the clip's beginning."""
    loudness: float = -23.0
    """Loudness of all music in LUFS; lower for all if one excerpt would clip."""
    practice: int = 2
    """Practice items at the start of each task, 0 to 2, from both ends of the scale; they do not count."""
    checks: int = 2
    """Attention checks in each task, 0 to 5."""
    checks_right: float = 1.0
    """Share of a rater's attention checks that must be right for the votes to count."""
    headphones_right: int = 5
    """Number of the six headphone trials that must be right for the votes to count; 0 leaves the test out."""
    consent: str = ""
    """Text file of the first page, relative to the root; empty: d2m_model/listen/consent.txt."""
    draws: int = 2000
    """Bootstrap resamples of raters and clips."""
    seed: int = 0
    """Seed of the choice of clips, of the assignment to raters, and of the bootstrap."""

    def __post_init__(self):
        for name in ("raters", "items", "clips"):
            require(getattr(self, name) >= 1, f"{name} must be at least 1, found {getattr(self, name)}")
        require(self.split in SPLITS, f"split must be one of {', '.join(SPLITS)}, found '{self.split}'")
        require(self.seconds >= 2, f"seconds must be at least 2, found {self.seconds}")
        require(-50 <= self.loudness <= -10, f"loudness must be -50 to -10 LUFS, found {self.loudness}")
        require(0 <= self.practice <= 2, f"practice must be 0 to 2, found {self.practice}")
        require(0 <= self.checks <= 5, f"checks must be 0 to 5, found {self.checks}")
        require(0 <= self.checks_right <= 1, f"checks_right must be 0 to 1, found {self.checks_right}")
        require(0 <= self.headphones_right <= HEADPHONE_TRIALS, f"headphones_right must be 0 to {HEADPHONE_TRIALS}")
        require(self.draws >= 100, f"draws must be at least 100, found {self.draws}")
