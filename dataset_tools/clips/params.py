"""Section `clips` of params.yaml."""

from dataclasses import dataclass

from dataset_tools.lib.core.params import require


@dataclass(frozen=True, kw_only=True)
class Params:
    """Section `clips` of params.yaml."""

    max_height: int = 720
    """Higher pictures are scaled down to this, in px."""
    crop: bool = True
    """Crop still side panels and letterbox bars away."""
    max_cuts: int | None = None
    """A clip with more scene cuts inside fails; empty: they are only counted."""
    max_damaged: int = 0
    """A clip with more damaged pictures fails; they are counted in rows.csv either way."""
    max_sound_lost: float = 0.1
    """A clip of whose sound more seconds are silent, for they can't be decoded or never came, fails; they are in rows.csv either way."""
    stretch_audio: float = 0.0
    """Fraction, such as 0.03, by which the whole sound may differ in length from the picture and be taken for the same
    recording by another clock: it is resampled to the picture's. 0: never. rows.csv has the difference either way."""
    memory: int = 600
    """MB of decoded frames of each of the two clips that a process may hold; a clip that needs more is decoded twice."""
    workers: int = 2
    """Processes; each encodes a clip while it decodes the next."""
    timeout: float = 900.0
    """Seconds that one clip may take; one that hangs a decoder becomes a failed row."""
    min_ok: float = 0.9
    """Fraction of the clips that must be ok."""

    def __post_init__(self):
        require(self.max_height >= 16, f"max_height must be at least 16 px, found {self.max_height}")
        require(
            self.max_cuts is None or self.max_cuts >= 0, f"max_cuts must be empty or at least 0, found {self.max_cuts}"
        )
        require(self.max_damaged >= 0, f"max_damaged must be at least 0, found {self.max_damaged}")
        require(self.max_sound_lost >= 0, f"max_sound_lost must be at least 0 s, found {self.max_sound_lost:g}")
        require(0 <= self.stretch_audio <= 0.1, f"stretch_audio must be 0 to 0.1, found {self.stretch_audio:g}")
        require(self.memory >= 0, f"memory must be at least 0 MB, found {self.memory}")
        require(self.workers >= 1, f"workers must be at least 1, found {self.workers}")
        require(self.timeout > 0, f"timeout must be above 0 s, found {self.timeout:g}")
        require(0 <= self.min_ok <= 1, f"min_ok must be 0 to 1, found {self.min_ok}")
