"""Section `shards` of params.yaml."""

from dataclasses import dataclass

from dataset_tools.lib.core.limits import SHARD_CLIPS
from dataset_tools.lib.core.params import require

EXPORTS = ("webdataset", "released", "hdf5")
"""Formats in which shards are exported; hdf5: as they are."""


@dataclass(frozen=True, kw_only=True)
class Params:
    """Section `shards` of params.yaml."""

    max_clips: int = 64
    """Number of clips per shard."""
    max_frames_apart: int = 2
    """Frames by which the lengths of a clip's streams may differ; they are cut to the shortest."""
    min_ok: float = 0.9
    """Fraction of the clips that must be in a shard."""
    workers: int = 2
    """Number of processes that write and export shards, one at a time each; the bytes do not depend on it."""

    def __post_init__(self):
        require(1 <= self.max_clips <= SHARD_CLIPS, f"max_clips must be 1 to {SHARD_CLIPS}, found {self.max_clips}")
        require(self.max_frames_apart >= 0, f"max_frames_apart must be at least 0, found {self.max_frames_apart}")
        require(0 <= self.min_ok <= 1, f"min_ok must be 0 to 1, found {self.min_ok}")
        require(self.workers >= 1, f"workers must be at least 1, found {self.workers}")
