"""Section `studio` of params.yaml."""

from dataclasses import dataclass

from dataset_tools.lib.core.params import require

NEEDED = ("rhythm", "synthesizer/high", "prior/high")
"""Results of other stages that the studio needs."""


@dataclass(frozen=True, kw_only=True)
class Params:
    """Section `studio` of params.yaml."""

    upload_mib: int = 4096
    """Largest video, song or project file that the page may send, in MiB."""
    seconds: int = 1800
    """Longest video in seconds."""
    preview_height: int = 540
    """Height in px to which the picture shown in the page is scaled down."""
    split: str = "test"
    """Split whose clips can be opened."""

    def __post_init__(self):
        require(1 <= self.upload_mib <= 1 << 20, f"upload_mib must be 1 to {1 << 20}, found {self.upload_mib}")
        require(1 <= self.seconds <= 6 * 3600, f"seconds must be 1 to {6 * 3600}, found {self.seconds}")
        require(
            120 <= self.preview_height <= 2160, f"preview_height must be 120 to 2160 px, found {self.preview_height}"
        )
        require(self.split in ("train", "val", "test"), f"split must be train, val or test, found '{self.split}'")

    @property
    def upload_bytes(self) -> int:
        """The limit of uploads in bytes."""
        return self.upload_mib << 20
