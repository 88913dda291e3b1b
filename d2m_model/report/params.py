"""Section `report` of params.yaml."""

from dataclasses import dataclass

from dataset_tools.lib.core.params import require


@dataclass(frozen=True, kw_only=True)
class Params:
    """Section `report` of params.yaml."""

    max_clips: int = 24
    """Scored clips with a player, the best and worst first; the page embeds their pictures and sounds. The others have
    their beat time lines."""
    max_megabytes: float = 50.0
    """The page is refused when it grows past this: lower max_clips."""

    def __post_init__(self):
        require(self.max_clips >= 1, f"max_clips must be at least 1, found {self.max_clips}")
        require(self.max_megabytes >= 1, f"max_megabytes must be at least 1, found {self.max_megabytes}")
