"""Section `split` of params.yaml."""

from dataclasses import dataclass

from dataset_tools.lib.core.params import require

CHOICES = {
    "strategy": ("official", "random", "kfold"),
    "hold_out": ("song", "compilation"),
    "balance": ("clips", "seconds"),
    "same_recording": ("refuse", "merge", "ignore"),
}
UNUSED_PARAMS = {
    "official": ("balance", "seed", "test_fraction", "folds", "fold"),
    "random": ("folds", "fold"),
    "kfold": ("test_fraction",),
}
"""Strategy -> the parameters that it does not read."""


@dataclass(frozen=True, kw_only=True)
class Params:
    """Section `split` of params.yaml."""

    strategy: str = "official"
    """'official', 'random' or 'kfold'."""
    hold_out: str = "song"
    """Unit that stays in one part: 'song', or 'compilation' (whole compilations and whole songs)."""
    balance: str = "clips"
    """Unit of test_fraction and of the size of folds: 'clips' or 'seconds'."""
    seed: int = 0
    test_fraction: float = 0.2
    """Fraction of the test part, for 'random'; whole songs approximate it."""
    folds: int = 5
    fold: int = 0
    """Fold that is the test part, for 'kfold'. The same seed gives the same folds."""
    same_recording: str = "refuse"
    """If two song ids are the same recording: 'refuse' to have it in two parts, 'merge' the ids, or 'ignore' it."""
    workers: int = 2
    """Number of processes that compute fingerprints."""

    def __post_init__(self):
        for name, known in CHOICES.items():
            value = getattr(self, name)
            require(value in known, f"{name} must be {' or '.join(known)}, found '{value}'")
        require(self.workers >= 1, f"workers must be at least 1, found {self.workers}")
        require(0 < self.test_fraction < 1, f"test_fraction must be between 0 and 1, found {self.test_fraction}")
        require(self.folds >= 2, f"folds must be at least 2, found {self.folds}")
        require(0 <= self.fold < self.folds, f"fold must be 0 to {self.folds - 1}, found {self.fold}")
