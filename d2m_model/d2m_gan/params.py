"""Section `d2m_gan` of params.yaml."""

from dataclasses import dataclass

from d2m_model.nets.presets import PRESETS
from d2m_model.training.command import TrainingParams
from dataset_tools.lib.core.params import require


@dataclass(frozen=True, kw_only=True)
class Params(TrainingParams):
    """Section `d2m_gan` of params.yaml."""

    preset: str = "fixed"
    """'paper', 'released' or 'fixed'; for variants that do not name one."""
    width: float = 1.0
    """Multiplies the generator's channels."""
    discriminator_width: float = 1.0
    dropout: float = 0.1
    """`fixed` only."""
    stream: str = "pose"
    """Input of the motion encoder: 'pose' (keypoints), or 'motion' (the 219 numbers of SMPL motion that AIST++ has)."""
    genres: tuple[str, ...] = ()
    """For the preset `released` only: the corpus's genres in the order of the embedding. They condition the generator on the
    dance's true genre, in training and generation, as in the published program for AIST++."""
    also: tuple[str, ...] = ()
    """Further corpora to train on. Their pose layout and I3D weights must be those of this corpus."""
    motion_weights: str = ""
    generator_weights: str = ""
    """Published networks of D2M-GAN to use instead of training, with the preset `released`; both or neither. Names in
    manifests/weights.csv or files; {level} in them becomes high or low."""
    seconds: int = 2
    """Length of a training window."""
    steps: int = 100_000
    learning_rate: float = 1e-4
    discriminator_learning_rate: float = 1e-4
    betas: tuple[float, ...] = (0.5, 0.9)
    """Of Adam, for generator and discriminators."""
    warm_up: int = 0
    """Steps over which the learning rates rise from 0."""
    final_rate: float = 1.0
    """Share of the learning rates at the last step; they fall to it along a cosine. 1 keeps them constant, as in the paper."""
    gradient_norm: float = 1.0
    ema: float = 0.999
    """Decay of the exponential moving average of the generator's weights, which is used for generation."""
    jitter: int = 15
    """Largest random shift of a window from its whole second, in frames."""
    mirror: bool = True
    """Mirror half of the dances."""
    discriminator_windows: int = 16
    """Windows of a batch that the discriminators read."""
    excerpt_windows: int = 16
    """Windows of a batch that are decoded for the wave and mel losses."""
    excerpt_seconds: float = 2.0
    """Length that is decoded of each of them."""
    threads: int = 2

    def __post_init__(self):
        super().__post_init__()
        require(self.preset in PRESETS, f"preset must be one of {', '.join(PRESETS)}, found '{self.preset}'")
        for name in ("width", "discriminator_width", "learning_rate", "discriminator_learning_rate", "excerpt_seconds"):
            require(getattr(self, name) > 0, f"{name} must be above 0, found {getattr(self, name)}")
        for name in ("seconds", "steps", "discriminator_windows", "excerpt_windows"):
            require(getattr(self, name) >= 1, f"{name} must be at least 1, found {getattr(self, name)}")
        require(
            self.excerpt_seconds >= 0.03,
            f"excerpt_seconds must be at least 0.03, for the mel loss, found {self.excerpt_seconds}",
        )
        require(
            len(self.betas) == 2 and all(0 <= b < 1 for b in self.betas),
            f"betas must be two numbers in 0..1, found {self.betas}",
        )
        require(0 <= self.ema < 1 and 0 <= self.dropout < 1, "ema and dropout must be at least 0 and below 1")
        require(self.stream in ("pose", "motion"), f"stream must be pose or motion, found '{self.stream}'")
        require(
            bool(self.motion_weights) == bool(self.generator_weights),
            "motion_weights and generator_weights go together",
        )
        require(len(set(self.genres)) == len(self.genres), f"genres must differ, found {self.genres}")
        require(0 <= self.final_rate <= 1, f"final_rate must be 0 to 1, found {self.final_rate}")
        require(self.warm_up >= 0 and self.jitter >= 0, "warm_up and jitter must be at least 0")
