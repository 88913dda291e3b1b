"""Section `i3d` of params.yaml."""

from dataclasses import dataclass

from dataset_tools.lib.core.params import require
from dataset_tools.lib.video.flow import METHODS, RAFT_LEAST


@dataclass(frozen=True, kw_only=True)
class Params:
    """Section `i3d` of params.yaml."""

    weights: str | tuple[str, ...] = "i3d_demo"
    """One two-stream file, or [rgb, flow]: names in manifests/weights.csv or paths relative to the root."""
    frame_size: int = 64
    """Short side, in px, to which frames are resized; 256 for the published weights."""
    crop: int = 0
    """Side, in px, of the centre square that the network gets, 224 for the published weights; 0: the whole frame."""
    flow: str = "dis"
    """Optical flow: 'tvl1', with which the published weights were trained; 'dis', faster; or 'raft', as in video_features."""
    flow_weights: str = "raft_sintel"
    """Weights of RAFT, for the flow 'raft': a name in manifests/weights.csv or a path relative to the root."""
    batch: int = 4
    """Windows that go through a network at once."""
    workers: int = 2
    """Number of processes, with one thread each."""
    gpus: float = 0.0
    """Share of a GPU for each process; with 0.25, four processes use one. 0: on the CPU."""
    timeout: float = 3600.0
    """Time limit for one clip, in seconds; a clip that takes longer becomes a failed row."""
    min_ok: float = 0.95
    """Fraction of the clips that must be ok."""
    pack: int = 0
    """Put the files of about so many clips into one (docs/scale.md); 0: each clip has its own files."""

    def __post_init__(self):
        names = (self.weights,) if isinstance(self.weights, str) else self.weights
        require(len(names) in (1, 2), f"weights must be one file or [rgb, flow], found {len(names)} names")
        require(32 <= self.frame_size <= 1024, f"frame_size must be 32..1024 px, found {self.frame_size}")
        require(
            self.crop == 0 or 32 <= self.crop <= self.frame_size,
            f"crop must be 0 or 32..frame_size ({self.frame_size}) px, found {self.crop}",
        )
        require(self.flow in METHODS, f"flow must be one of {', '.join(METHODS)}, found '{self.flow}'")
        require(
            self.flow != "raft" or self.frame_size >= RAFT_LEAST,
            f"flow raft needs a frame_size of at least {RAFT_LEAST} px, found {self.frame_size}",
        )
        require(self.batch >= 1, f"batch must be at least 1, found {self.batch}")
        require(self.workers >= 1, f"workers must be at least 1, found {self.workers}")
        require(0 <= self.gpus <= 1, f"gpus must be 0 to 1, found {self.gpus:g}")
        require(self.timeout > 0, f"timeout must be above 0 s, found {self.timeout:g}")
        require(0 <= self.min_ok <= 1, f"min_ok must be 0..1, found {self.min_ok}")
        require(self.pack >= 0, f"pack must be at least 0, found {self.pack}")

    @property
    def files(self) -> tuple[str, str]:
        """(RGB weights, flow weights)."""
        names = (self.weights,) if isinstance(self.weights, str) else self.weights
        return names[0], names[-1]
