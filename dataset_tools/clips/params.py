"""Section `clips` of params.yaml."""

from dataclasses import dataclass

from dataset_tools.lib.core.params import require


@dataclass(frozen=True, kw_only=True)
class Params:
    """Section `clips` of params.yaml."""

    max_height: int = 720
    """Larger frames are scaled down to this height, in px."""
    crop: bool = True
    """Remove still side panels and letterbox bars."""
    max_cuts: int | None = None
    """A clip with more scene cuts fails; empty: any number. rows.csv has their number in any case."""
    max_damaged: int = 0
    """A clip with more damaged frames fails. rows.csv has their number in any case."""
    max_sound_lost: float = 0.1
    """A clip fails if more seconds of its audio are silent because packets are missing or can't be decoded. rows.csv has the seconds in
    any case."""
    stretch_audio: float = 0.0
    """If the durations of the whole audio and the whole video differ by up to this fraction, such as 0.03, the audio is assumed to
    have another clock and is resampled. 0: never. rows.csv has the difference in any case."""
    memory: int = 600
    """MB of decoded frames for each of the two clips in a process; a clip that needs more is decoded twice."""
    workers: int = 2
    """Number of processes; each encodes a clip while it decodes the next."""
    timeout: float = 900.0
    """Time limit for one clip, in seconds; a clip that takes longer becomes a failed row."""
    min_ok: float = 0.9
    """Fraction of the clips that must be ok."""
    pack: int = 0
    """Put the files of about so many clips into one (docs/scale.md); 0: each clip has its own files."""

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
        require(self.pack >= 0, f"pack must be at least 0, found {self.pack}")
