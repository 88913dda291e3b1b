"""Section `sources` of params.yaml."""

from dataclasses import dataclass

from dataset_tools.lib.core.params import require


@dataclass(frozen=True, kw_only=True)
class Params:
    """Section `sources` of params.yaml."""

    render: bool = False
    """Render the compilations from additional columns of the manifest (see dataset_tools/demo)."""
    seed: int = 1
    """Seed of the rendering: another seed gives other songs, dancers and rooms at the same times."""
    annotated: str = ""
    """Folder, relative to the root, of a user's AIST++ downloads (see dataset_tools/lib/aist/corpus.py); empty for other corpora."""
    videos: int = 0
    """Number of videos to use, from the first on; 0 = all."""
    clips_per_video: int = 0
    """Number of clips to use of each video, from the first on; 0 = all."""
    workers: int = 2
    """Number of processes that render."""

    def __post_init__(self):
        require(self.videos >= 0, f"videos must be at least 0 (0 = all), found {self.videos}")
        require(
            self.clips_per_video >= 0, f"clips_per_video must be at least 0 (0 = all), found {self.clips_per_video}"
        )
        require(self.workers >= 1, f"workers must be at least 1, found {self.workers}")
