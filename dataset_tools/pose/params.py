"""Section `pose` of params.yaml."""

from dataclasses import dataclass

from dataset_tools.lib.core.limits import DANCERS
from dataset_tools.lib.core.params import require
from dataset_tools.pose.layouts import SOURCES

ANNOTATED = "annotated"


@dataclass(frozen=True, kw_only=True)
class Params:
    """Section `pose` of params.yaml."""

    weights: str = "pose_demo"
    """Name in manifests/weights.csv, or a path relative to the root. 'annotated' uses the keypoints that come with the corpus
    (data/<corpus>/sources/annotations) instead of a network."""
    layout: str = "coco17"
    """'coco17' or 'body25' (whole-body weights)."""
    long_edge: int = 257
    """px to which a frame's longer side is scaled: 257 for the demo's weights, 513 or more for the published ones."""
    batch_size: int = 8
    """Frames that go through the network at once."""
    max_people: int = 5
    """P, the number of dancers that are kept per clip."""
    gap_frames: int = 6
    """Joints that are missing for at most this many frames are interpolated, with half the confidence; 0: never."""
    min_frames: int = 5
    """A person found in fewer frames of a clip is taken for an error of the network."""
    min_coverage: float = 0.3
    """Fraction of a clip's frames in which the primary dancer must be found, or the clip is dropped; 0 keeps every clip."""
    workers: int = 2
    """Number of processes, with one thread each."""
    gpus: float = 0.0
    """Share of a GPU for each process; with 0.25, four processes use one. 0: on the CPU."""
    timeout: float = 3600.0
    """Time limit for one clip, in seconds; a clip that takes longer becomes a failed row."""
    min_ok: float = 0.9
    """Fraction of the clips that must be ok."""
    pack: int = 0
    """Put the files of about so many clips into one (docs/scale.md); 0: each clip has its own files."""

    def __post_init__(self):
        require(self.layout in SOURCES, f"layout must be one of {', '.join(SOURCES)}, found '{self.layout}'")
        require(
            self.long_edge == 0 or self.long_edge >= 33,
            f"long_edge must be 0 or at least 33 px, found {self.long_edge}",
        )
        require(0 <= self.gpus <= 1, f"gpus must be 0 to 1, found {self.gpus:g}")
        require(self.timeout > 0, f"timeout must be above 0 s, found {self.timeout:g}")
        require(
            self.weights != ANNOTATED or self.layout == "coco17",
            f"weights '{ANNOTATED}' are coco17, found {self.layout}",
        )
        require(1 <= self.max_people <= DANCERS, f"max_people must be 1 to {DANCERS}, found {self.max_people}")
        for name in ("batch_size", "min_frames", "workers"):
            require(getattr(self, name) >= 1, f"{name} must be at least 1, found {getattr(self, name)}")
        require(self.gap_frames >= 0, f"gap_frames must be at least 0, found {self.gap_frames}")
        for name in ("min_coverage", "min_ok"):
            require(0 <= getattr(self, name) <= 1, f"{name} must be 0..1, found {getattr(self, name)}")
        require(self.pack >= 0, f"pack must be at least 0, found {self.pack}")
