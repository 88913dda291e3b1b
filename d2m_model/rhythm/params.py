"""Section `rhythm` of params.yaml."""

from dataclasses import dataclass

from d2m_model.rhythm.net import STREAMS
from d2m_model.training.command import TrainingParams
from dataset_tools.lib.core.params import require

SOURCES = ("auto", "truth", "beat-this", "librosa")


@dataclass(frozen=True, kw_only=True)
class Params(TrainingParams):
    """Section `rhythm` of params.yaml; the defaults are for thousands of clips on one GPU."""

    beats: str = "auto"
    """Training targets: 'truth' (the corpus's true beats), 'beat-this' or 'librosa' (beats tracked in the clips' music), or
    'auto': truth if the corpus has it, else beat-this if it and its weights are available, else librosa."""
    beat_this: str = "beat_this"
    """Weights of beat-this: a name in manifests/weights.csv or a file."""
    stream: str = "pose"
    """Stream of the shards that is read as the dance: 'pose' (keypoints) or 'motion' (SMPL motion)."""
    width: int = 128
    """Channels; a multiple of 4."""
    blocks: int = 6
    """Dilated blocks; six have a receptive field of 4 s to either side."""
    dropout: float = 0.2
    steps: int = 10_000
    batch: int = 32
    seconds: float = 4.0
    """Length of a training window."""
    learning_rate: float = 2e-3
    """Of AdamW; it rises over the first 30 steps and falls along a cosine."""
    weight_decay: float = 0.01
    style: float = 0.2
    """Weight of the genre's cross-entropy."""
    gradient_norm: float = 1.0
    draws: int = 2000
    """Bootstrap draws for the intervals in metrics.json."""

    def __post_init__(self):
        super().__post_init__()
        require(self.beats in SOURCES, f"beats must be one of {', '.join(SOURCES)}, found '{self.beats}'")
        require(self.stream in STREAMS, f"stream must be one of {', '.join(STREAMS)}, found '{self.stream}'")
        for name in ("width", "blocks", "steps", "draws"):
            require(getattr(self, name) >= 1, f"{name} must be at least 1, found {getattr(self, name)}")
        require(self.width % 4 == 0, f"width must be a multiple of 4, found {self.width}")
        require(0 <= self.dropout < 1, f"dropout must be at least 0 and below 1, found {self.dropout}")
        require(1 <= self.seconds <= 60, f"seconds must be 1 to 60, found {self.seconds}")
        require(self.learning_rate > 0, f"learning_rate must be above 0, found {self.learning_rate}")
        require(self.weight_decay >= 0 and self.style >= 0, "weight_decay and style must be at least 0")
