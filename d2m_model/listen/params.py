"""Section `listen` of params.yaml."""

from dataclasses import dataclass

from dataset_tools.lib.core.params import require
from dataset_tools.lib.shard_io.shard_format import SPLITS

HEADPHONE_TRIALS = 6


@dataclass(frozen=True, kw_only=True)
class Params:
    """Section `listen` of params.yaml. The defaults are the paper's panel: 26 raters of 15 items in each task."""

    raters: int = 26
    """Places; more may be given later."""
    items: int = 15
    """Judgements of one rater in each of the two tasks, beside practice and checks."""
    split: str = "test"
    """Whose clips are judged."""
    clips: int = 20
    """Clips of the split in the study, drawn from the seed."""
    systems: tuple[str, ...] = ()
    """Systems of Table 1 to judge, models, baselines, those of others and controls, by their names there; empty: all that
    params.yaml names. Ground truth, VQ reconstructions and shuffled ground truth are always among them."""
    seconds: float = 10.0
    """Longest excerpt; a clip is heard from its beginning."""
    loudness: float = -23.0
    """LUFS that every sound is brought to; lower for all where one would clip."""
    practice: int = 2
    """Items at the start of each task that do not count, 0 to 2: the ends of the scale."""
    checks: int = 2
    """Attention checks in each task, 0 to 5."""
    checks_right: float = 1.0
    """Share of a rater's attention checks that must be right for the votes to count."""
    headphones_right: int = 5
    """Of the six trials of the headphone test, for the votes to count; 0 leaves the test out."""
    consent: str = ""
    """Text file of the first page, relative to the root; empty: d2m_model/listen/consent.txt."""
    draws: int = 2000
    """Bootstrap resamples of raters and clips."""
    seed: int = 0
    """Of the clips, of who hears what, and of the bootstrap."""

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
