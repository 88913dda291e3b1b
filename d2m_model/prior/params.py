"""Section `prior` of params.yaml."""

from dataclasses import dataclass

from d2m_model.prior.net import PATCH, PriorSizes
from d2m_model.training.command import TrainingParams
from dataset_tools.lib.core.params import require
from dataset_tools.lib.core.timebase import HOPS, LEVELS, SAMPLE_RATE


@dataclass(frozen=True, kw_only=True)
class Params(TrainingParams):
    """Section `prior` of params.yaml. The defaults train in about a day on one GPU."""

    weights: str = ""
    """Empty: train from scratch. Else a pretrained prior over the same codebook to continue from, with its own sizes: a name in
    manifests/weights.csv or a file; {level} in it becomes high or low."""
    width: int = 768
    depth: int = 16
    heads: int = 12
    local_width: int = 512
    style_width: int = 64
    context_seconds: float = 12.0
    """Context of the Transformer."""
    dropout: float = 0.1
    music: str = ""
    """A folder of further training music without video; its beats are tracked. Empty: the corpus's clips only."""
    hidden: float = 0.1
    """Share of excerpts without rhythm and style, for classifier-free guidance; half as many lack only one of them."""
    steps: int = 100_000
    learning_rate: float = 3e-4
    warm_up: int = 500
    """Steps over which the learning rate rises from 0."""
    weight_decay: float = 0.05
    gradient_norm: float = 1.0

    def __post_init__(self):
        super().__post_init__()
        for name in ("width", "depth", "heads", "local_width", "style_width", "steps"):
            require(getattr(self, name) >= 1, f"{name} must be at least 1, found {getattr(self, name)}")
        require(
            self.width % (2 * self.heads) == 0,
            f"width must be a multiple of 2 x heads, found {self.width} and {self.heads}",
        )
        require(0.2 <= self.context_seconds <= 120, f"context_seconds must be 0.2 to 120, found {self.context_seconds}")
        require(self.learning_rate > 0, f"learning_rate must be above 0, found {self.learning_rate}")
        require(self.warm_up >= 0 and self.weight_decay >= 0, "warm_up and weight_decay must be at least 0")
        require(0 <= self.dropout < 1, f"dropout must be at least 0 and below 1, found {self.dropout}")
        require(0 <= self.hidden < 0.5, f"hidden must be at least 0 and below 0.5, found {self.hidden}")

    def sizes(self, level: str, bins: int) -> PriorSizes:
        """Sizes of the network for 'high' or 'low'; low is conditioned on the codes of high instead of a style."""
        hop, above = HOPS[LEVELS[level]], HOPS[LEVELS["high"]]
        return PriorSizes(
            bins=bins, patch=PATCH // hop, width=self.width, depth=self.depth, heads=self.heads,
            context=round(self.context_seconds * SAMPLE_RATE / PATCH), local_width=self.local_width, dropout=self.dropout,
            style=self.style_width if level == "high" else 0, upper=0 if level == "high" else PATCH // above,
        )  # fmt: skip
