"""Section `audio` of params.yaml."""

from dataclasses import dataclass

from dataset_tools.lib.core.params import require


@dataclass(frozen=True, kw_only=True)
class Params:
    """Section `audio` of params.yaml."""

    workers: int = 2
    """Number of processes."""
    timeout: float = 300.0
    """Time limit for one clip, in seconds; a clip that takes longer becomes a failed row."""
    min_ok: float = 0.9
    """Fraction of the cut clips that must be ok."""
    pack: int = 0
    """Put the files of about so many clips into one (docs/scale.md); 0: each clip has its own files."""

    def __post_init__(self):
        require(self.workers >= 1, f"workers must be at least 1, found {self.workers}")
        require(self.timeout > 0, f"timeout must be above 0 s, found {self.timeout:g}")
        require(0 <= self.min_ok <= 1, f"min_ok must be 0 to 1, found {self.min_ok}")
        require(self.pack >= 0, f"pack must be at least 0, found {self.pack}")
