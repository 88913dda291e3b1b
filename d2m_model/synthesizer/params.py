"""Section `synthesizer` of params.yaml."""

from dataclasses import dataclass

from d2m_model.nets.discriminator import discriminator_config
from d2m_model.nets.istft_decoder import IstftConfig
from d2m_model.training.loop import TrainingParams
from dataset_tools.lib.core.params import require


@dataclass(frozen=True, kw_only=True)
class Params(TrainingParams):
    """Section `synthesizer` of params.yaml; the defaults are the paper's where it gives any."""

    weights: str = ""
    """Empty: fine-tune. Else a JukeBox VQ-VAE of the sizes of section `vqvae` that takes the fine-tuning's place, with its
    own encoder and codebook: a name in manifests/weights.csv or a file; {level} in it becomes high or low."""
    decoder: str = "own"
    """'own': the VQ-VAE's decoder is fine-tuned. 'istft': an inverse STFT (`nets/istft_decoder`) learns to play its codes, from
    nothing: give it about 5e-4 for `learning_rate`, and a weight for `multispectral`."""
    istft_width: int = 512
    istft_depth: int = 8
    istft_overlap: int = 4
    """Sizes of the inverse STFT; those of Vocos."""
    steps: int = 100_000
    seconds: float = 2.0
    """Length of a training window; a multiple of 1/30 s."""
    learning_rate: float = 1e-5
    """Of decoder and discriminator."""
    betas: tuple[float, ...] = (0.5, 0.9)
    """Of Adam."""
    discriminator: str = "paper"
    """'paper' or 'released'."""
    discriminator_width: float = 1.0
    scales: int = 3
    adversarial: float = 1.0
    feature_matching: float = 3.0
    wave: float = 40.0
    mel: float = 15.0
    multispectral: float = 0.0
    """Weight of JukeBox's spectral loss over several scales, which the VQ-VAE learns from; the paper's fine-tuning has none."""
    gain: float = 0.3
    """Windows are played at a random volume between this and 1."""
    test_windows: int = 32
    embedding: str = "vggish"
    """Embedding of the FAD, 'vggish' or 'demo', that decides on training clips, with P4, whether the fine-tuned decoder is no
    worse than the VQ-VAE's own, which is kept where it is. Empty: the fine-tuned one is taken whatever it is."""
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
        """Sizes of the inverse STFT."""
        return IstftConfig(width=self.istft_width, depth=self.istft_depth, overlap=self.istft_overlap)
