"""Section `vqvae` of params.yaml."""

from dataclasses import dataclass

from d2m_model.nets.jukebox_vqvae import JUKEBOX_LEVELS, VqVaeConfig
from d2m_model.training.command import TrainingParams
from dataset_tools.lib.core.params import require


@dataclass(frozen=True, kw_only=True)
class Params(TrainingParams):
    """Section `vqvae` of params.yaml. The defaults are JukeBox's network and, where published, its training."""

    weights: str = ""
    """Empty: train. Else a JukeBox VQ-VAE of the sizes below to use instead: a name in manifests/weights.csv or a file. OpenAI
    trained theirs at 44.1 kHz; D2M-GAN and this project use it at 22.05 kHz."""
    width: int = 32
    depth: int = 4
    multipliers: tuple[int, ...] = (2, 1, 1)
    """Factors of width and depth for levels 0, 1, 2."""
    bins: int = 2048
    """Codebook entries per level."""
    steps: tuple[int, ...] = (20_000, 100_000, 100_000)
    """Training steps of levels 0, 1, 2. D2M-GAN does not use level 0."""
    batch: int = 32
    seconds: float = 0.75
    """Length of a training window; a multiple of 1/30 s."""
    learning_rate: float = 3e-4
    warm_up: float = 0.0
    """Share of the steps without quantisation, after which the codebook is initialised from latents of the train split."""
    wave: float = 1.0
    """Weight of the squared error of the waveform, relative to the train split's power."""
    multispectral: float = 1.0
    mel: float = 0.0
    commit: float = 0.02
    dead_code_threshold: float = 1.0
    """A codebook entry to which fewer vectors of a batch are assigned, on average, is moved to a random vector."""
    gain: float = 0.3
    """Lowest random volume of a training window; the highest is 1."""
    test_windows: int = 32
    """Windows of 2 s of the test split, spread evenly, on which the metrics are measured."""
    workers: int = 1
    """Levels trained at once, each in its own process; results do not depend on it."""

    def __post_init__(self):
        super().__post_init__()
        VqVaeConfig(width=self.width, depth=self.depth, multipliers=self.multipliers, bins=self.bins)
        require(
            len(self.steps) == len(JUKEBOX_LEVELS),
            f"steps must be three numbers, for levels 0, 1 and 2, found {self.steps}",
        )
        for name in ("test_windows", "workers"):
            require(getattr(self, name) >= 1, f"{name} must be at least 1, found {getattr(self, name)}")
        require(min(self.steps) >= 1, f"steps must be at least 1 each, found {self.steps}")
        require(0.1 <= self.seconds <= 60, f"seconds must be 0.1 to 60, found {self.seconds}")
        require(self.learning_rate > 0, f"learning_rate must be above 0, found {self.learning_rate}")
        require(0 <= self.warm_up < 1, f"warm_up must be at least 0 and below 1, found {self.warm_up}")
        require(0 < self.gain <= 1, f"gain must be above 0 and at most 1, found {self.gain}")
        require(
            min(self.wave, self.multispectral, self.mel, self.commit, self.dead_code_threshold) >= 0,
            "weights must be at least 0",
        )

    def config(self) -> VqVaeConfig:
        """Sizes of the network."""
        return VqVaeConfig(width=self.width, depth=self.depth, multipliers=self.multipliers, bins=self.bins)
