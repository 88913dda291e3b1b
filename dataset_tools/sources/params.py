"""Section `sources` of params.yaml."""

from dataclasses import dataclass

from dataset_tools.lib.core.params import require


@dataclass(frozen=True, kw_only=True)
class Params:
    """Section `sources` of params.yaml."""

    render: bool = False
    """Render the compilations from the manifest's further columns (see dataset_tools/demo) instead of finding them."""
    seed: int = 1
    """Of the rendering: another seed gives other songs, dancers and rooms at the same times."""
    annotated: str = ""
    """Folder, relative to the root, of a user's AIST++ downloads (see dataset_tools/lib/aist/corpus.py); empty for others."""
    videos: int = 0
    """Use only the first so many videos; 0 = all."""
    clips_per_video: int = 0
    """Use only the first so many clips of each video; 0 = all."""
    workers: int = 2

    def __post_init__(self):
        require(self.videos >= 0, f"videos must be at least 0 (0 = all), found {self.videos}")
        require(
            self.clips_per_video >= 0, f"clips_per_video must be at least 0 (0 = all), found {self.clips_per_video}"
        )
        require(self.workers >= 1, f"workers must be at least 1, found {self.workers}")
