"""Section `report` of params.yaml."""

from dataclasses import dataclass

from dataset_tools.lib.core.params import require


@dataclass(frozen=True, kw_only=True)
class Params:
    """Section `report` of params.yaml."""

    max_clips: int = 24
    """Scored clips that get a player, the best and worst first; the page embeds their videos and audio. Other clips have beat time
    lines only."""
    max_megabytes: float = 50.0
    """Largest size of the page; a larger one is refused, and max_clips must be lowered."""

    def __post_init__(self):
        require(self.max_clips >= 1, f"max_clips must be at least 1, found {self.max_clips}")
        require(self.max_megabytes >= 1, f"max_megabytes must be at least 1, found {self.max_megabytes}")
