"""Section `synthesizer` of params.yaml."""

from dataclasses import dataclass

from d2m_model.nets.discriminator import discriminator_config
from d2m_model.nets.istft_decoder import IstftConfig
from d2m_model.training.command import TrainingParams
from dataset_tools.lib.core.params import require


@dataclass(frozen=True, kw_only=True)
class Params(TrainingParams):
    """Section `synthesizer` of params.yaml; the defaults are the paper's, where it gives them."""

    weights: str = ""
    """Empty: fine-tune. Else a JukeBox VQ-VAE of the sizes in section `vqvae` to use instead, with its own encoder and codebook:
    a name in manifests/weights.csv or a file; {level} in it becomes high or low."""
    decoder: str = "own"
    """'own': fine-tune the VQ-VAE's decoder. 'istft': train an inverse-STFT decoder (`nets/istft_decoder`) for its codes from
    scratch; it needs a `learning_rate` of about 5e-4 and a weight for `multispectral`."""
    istft_width: int = 512
    istft_depth: int = 8
    istft_overlap: int = 4
    """Sizes of the inverse-STFT decoder; the defaults are those of Vocos."""
    steps: int = 100_000
    seconds: float = 2.0
    """Length of a training window; a multiple of 1/30 s."""
    learning_rate: float = 1e-5
    """Of decoder and discriminator."""
    betas: tuple[float, ...] = (0.5, 0.9)
    """Of Adam."""
    discriminator: str = "paper"
    """Sizes of the discriminator: 'paper' or 'released'."""
    discriminator_width: float = 1.0
    scales: int = 3
    adversarial: float = 1.0
    feature_matching: float = 3.0
    wave: float = 40.0
    mel: float = 15.0
    multispectral: float = 0.0
    """Weight of JukeBox's multispectral loss, with which the VQ-VAE is trained; the paper's fine-tuning does not use it."""
    gain: float = 0.3
    """Lowest random volume of a training window; the highest is 1."""
    test_windows: int = 32
    embedding: str = "vggish"
    """Embedding for the FAD, 'vggish' or 'demo'. FAD and P4 on training clips decide whether the fine-tuned decoder is no worse than
    the VQ-VAE's own; if it is worse, the VQ-VAE's own is kept. Empty: always keep the fine-tuned one."""
    scored_clips: int = 48

    def __post_init__(self):
        super().__post_init__()
        require(
            self.embedding in ("", "vggish", "demo"),
            f"embedding must be vggish, demo or empty, found '{self.embedding}'",
        )
        require(self.scored_clips >= 1, f"scored_clips must be at least 1, found {self.scored_clips}")
        require(self.decoder in ("own", "istft"), f"decoder must be own or istft, found '{self.decoder}'")
        require(
            not (self.weights and self.decoder == "istft"),
            "weights take the training's place, and hold no inverse STFT: leave out weights or decoder",
        )
        self.istft()
        discriminator_config(self.discriminator, width=self.discriminator_width, scales=self.scales)
        for name in ("steps", "test_windows"):
            require(getattr(self, name) >= 1, f"{name} must be at least 1, found {getattr(self, name)}")
        require(0.1 <= self.seconds <= 60, f"seconds must be 0.1 to 60, found {self.seconds}")
        for name in ("learning_rate", "discriminator_width"):
            require(getattr(self, name) > 0, f"{name} must be above 0, found {getattr(self, name)}")
        require(
            len(self.betas) == 2 and all(0 <= b < 1 for b in self.betas),
            f"betas must be two numbers in 0..1, found {self.betas}",
        )
        require(0 < self.gain <= 1, f"gain must be above 0 and at most 1, found {self.gain}")
        weights = (self.adversarial, self.feature_matching, self.wave, self.mel, self.multispectral)
        require(min(weights) >= 0, "weights must be at least 0")

    def istft(self) -> IstftConfig:
        """Sizes of the inverse-STFT decoder."""
        return IstftConfig(width=self.istft_width, depth=self.istft_depth, overlap=self.istft_overlap)
