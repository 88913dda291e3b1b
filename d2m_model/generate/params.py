"""Section `generate` of params.yaml."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from dataset_tools.lib.core.errors import UserError
from dataset_tools.lib.core.params import require

if TYPE_CHECKING:
    from d2m_model.prior.sampling import Draw

SLOWEST, FASTEST = 20.0, 400.0
"""Range of --tempo, in beats per minute."""
HALF, DOUBLE = "half", "double"
"""Words for --tempo: every second beat, or one more between each two."""
MOTION = Path("motion")
"""Value of --snap: the moments at which the dancer almost stops."""
FARTHEST_SHIFT = 60.0
"""Largest --shift in seconds."""
AUTO = "auto"
"""`pose_weights` that depend on what is available."""


@dataclass(frozen=True, kw_only=True)
class Params:
    """Section `generate` of params.yaml."""

    split: str = "test"
    """Split whose clips get music."""
    hop: int = 1
    """Whole seconds between the starts of D2M-GAN's windows."""
    crossfade: float = 0.25
    """Length of the cross-fade between D2M-GAN's windows, in seconds."""
    denoise: float = 0.25
    """Strength of the noise gate on D2M-GAN's music, 0 (off) to 1. The gate also removes some music: on reconstructed demo clips 0.25
    changed the log-mel distance to the original by less than 1 % either way, and 1 raised it by 17 to 39 %."""
    loudness: float = -16.0
    """Loudness of the finished audio in LUFS; lower if `peak` requires it."""
    peak: float = 0.95
    """Highest absolute sample of the finished audio; 1 is full scale."""
    seed: int = 0
    """Seed of the models' random draws, 0 to 2**63 - 1."""
    strictness: float = 1.0
    """How strictly the prior follows rhythm and style (the scale of classifier-free guidance): 0 ignores them, 1 is as trained and
    takes half the time. It applies to level high; level low is always sampled as trained."""
    temperature: float = 1.0
    """Softmax temperature of the prior at level high; below 1 likely codes become likelier. Level low is always sampled as trained."""
    style: str = ""
    """Style of the prior's music: empty for one that suits the dance, a genre of the corpus, or an audio file to sound like."""
    pose_weights: str = AUTO
    """Weights that find the dancer in the user's own video, for the prior and for own music (D2M-GAN needs poses from the weights of
    its training). 'auto': those of section `pose` or, if these are the demo's, OpenPifPaf's published ones, if they can be
    downloaded. Else a name in manifests/weights.csv or a file."""
    pose_every: int = 3
    """If poses of any estimator will do, the dancer is searched for in one frame of this many, at 30 fps; between these frames joints move
    in straight lines. 1 takes three times as long as 3."""
    threads: int = 1
    """CPU threads; the music is equal to the byte for an equal number of threads. One window is little work: on a busy machine a
    second thread costs more than it gains."""

    workers: int = 1
    """Processes that generate music for the clips of a corpus; the music does not depend on their number."""

    def __post_init__(self):
        require(self.split in ("train", "val", "test"), f"split must be train, val or test, found '{self.split}'")
        require(self.hop >= 1, f"hop must be at least 1 s, found {self.hop}")
        require(0 <= self.crossfade <= self.hop / 2, f"crossfade must be 0 to hop / 2, found {self.crossfade}")
        require(0 <= self.denoise <= 1, f"denoise must be 0 to 1, found {self.denoise}")
        require(-70 <= self.loudness <= 0, f"loudness must be -70 to 0 LUFS, found {self.loudness}")
        require(0 <= self.seed < 2**63, f"seed must be 0 to 2**63 - 1, found {self.seed}")
        require(0 <= self.strictness <= 20, f"strictness must be 0 to 20, found {self.strictness}")
        require(0.01 <= self.temperature <= 10, f"temperature must be 0.01 to 10, found {self.temperature}")
        require(self.workers >= 1, f"workers must be at least 1, found {self.workers}")
        require(1 <= self.pose_every <= 6, f"pose_every must be 1 to 6 frames, found {self.pose_every}")
        require(self.threads >= 1, f"threads must be at least 1, found {self.threads}")
        require(0 < self.peak <= 1, f"peak must be above 0 and at most 1, found {self.peak}")

    @property
    def draw(self) -> "Draw":
        """The prior's sampling settings for level high."""
        from d2m_model.prior.sampling import Draw

        return Draw(guidance=self.strictness, temperature=self.temperature)


def check_tempo(bpm: float | str) -> None:
    """Raises UserError for a tempo outside of SLOWEST to FASTEST, and for a word other than HALF and DOUBLE."""
    if not (bpm in (HALF, DOUBLE) if isinstance(bpm, str) else SLOWEST <= bpm <= FASTEST):
        found = bpm if isinstance(bpm, str) else f"{bpm:g}"
        raise UserError(
            f"--tempo must be {SLOWEST:g} to {FASTEST:g} beats a minute, '{HALF}' or '{DOUBLE}', found {found}"
        )
