"""Music without a dance. It stands in for Random JukeBox in Table 1, of which the paper only says "sampled from JukeBox".

A causal Transformer is trained on the codes of the corpus's own training music at level "high". It is sampled without any
condition, and the synthesizer's decoder plays the codes. `random_codes` is the simpler stand-in.
"""

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F

from d2m_model.baselines.dance import ClipDance, Corpus, SystemParams, Unmeasured
from d2m_model.baselines.random_jukebox.net import Prior
from d2m_model.baselines.random_jukebox.random_codes import LEVEL, code_count, decode_codes, load_decoder
from d2m_model.nets.jukebox_vqvae import JukeboxVQVAE
from d2m_model.training import checkpoint
from d2m_model.training.acceleration import accelerate
from d2m_model.training.loop import FiniteLossGuard, backward_and_step, train_loop
from d2m_model.training.seeding import generator, seed_everything
from d2m_model.training.shard_data import WindowData
from dataset_tools.lib.core.params import require
from dataset_tools.lib.core.progress import progress
from dataset_tools.lib.core.timebase import LEVELS

KIND, VERSION = "unconditional_prior", 1


@dataclass(frozen=True, kw_only=True)
class Params(SystemParams):
    """Section `baselines.unconditional_prior` of params.yaml. There are no published sizes; the defaults train in a few hours on
    one GPU."""

    width: int = 512
    depth: int = 8
    heads: int = 8
    context: int = 1376
    """Context of the Transformer in codes: 8 s."""
    dropout: float = 0.1
    steps: int = 20_000
    learning_rate: float = 3e-4
    """Of Adam."""
    temperature: float = 1.0
    """Softmax temperature of sampling."""

    def __post_init__(self):
        super().__post_init__()
        for name in ("width", "depth", "heads", "steps"):
            require(getattr(self, name) >= 1, f"{name} must be at least 1, found {getattr(self, name)}")
        require(self.width % self.heads == 0, f"width must be a multiple of heads, found {self.width} and {self.heads}")
        require(self.context >= 2, f"context must be at least 2, found {self.context}")
        require(0 <= self.dropout < 1, f"dropout must be at least 0 and below 1, found {self.dropout}")
        for name in ("learning_rate", "temperature"):
            require(getattr(self, name) > 0, f"{name} must be above 0, found {getattr(self, name)}")


@dataclass(frozen=True, kw_only=True, eq=False)
class Model:
    """A trained prior and the decoder of its codes."""

    prior: Prior
    decoder: JukeboxVQVAE
    temperature: float


class CodeTask(Unmeasured):
    """Trains the prior to predict the next code in random excerpts of `music`, a list of codes (L,)."""

    def __init__(self, music: list[torch.Tensor], bins: int, params: Params, device: torch.device):
        self.params, self.device = params, device
        sizes = {name: getattr(params, name) for name in ("width", "depth", "heads", "context", "dropout")}
        self.prior = Prior(bins, **sizes).to(device)
        self.music = [torch.cat([torch.tensor([bins]), codes]) for codes in music]
        self.ends = torch.tensor([len(codes) for codes in music]).cumsum(0)
        self.nets = {"prior": self.prior}
        self.optimizers = {"prior": torch.optim.Adam(self.prior.parameters(), lr=params.learning_rate)}
        accelerate(self.prior, device, params.precision, "never")

    def batch(self, number: int) -> torch.Tensor:
        """Codes (B, context + 1) of batch `number`, -1 after the end of shorter music. Half of the excerpts start at the beginning of
        the music, because sampling always does."""
        rng, length = generator(self.params.seed, "excerpts", number), self.params.context + 1
        places = torch.randint(int(self.ends[-1]), (self.params.batch,), generator=rng)
        rows = []
        for index, luck in zip(
            torch.searchsorted(self.ends, places, right=True).tolist(),
            torch.rand(len(places), 2, generator=rng),
            strict=True,
        ):
            codes = self.music[index]
            start = int(luck[1] * max(1, len(codes) - length + 1)) if luck[0] < 0.5 else 0
            rows.append(F.pad(codes[start : start + length], (0, max(0, length - len(codes))), value=-1))
        return torch.stack(rows)

    def step(self, number: int, guard: FiniteLossGuard) -> dict[str, torch.Tensor]:
        """One optimizer step; returns the cross-entropy of the next code in nats."""
        codes = self.batch(number).to(self.device)
        self.prior.train()
        scores, _ = self.prior(codes[:, :-1].clamp(min=0))
        loss = F.cross_entropy(scores.flatten(0, 1), codes[:, 1:].flatten(), ignore_index=-1)
        guard(number, {"loss": loss})
        backward_and_step(loss, self.optimizers["prior"], self.params.gradient_norm)
        return {"loss": loss}


def train(corpus: Corpus, params: Params) -> Model:
    """Train on the codes of the training clips; writes model.pt, metrics.json and curves.csv.

    Raises UserError where the synthesizer has not been trained, and for a loss that is not finite.
    """
    device = seed_everything(params.seed, params.threads)
    decoder = load_decoder(corpus)
    music = encode_training_music(corpus, decoder)
    run = corpus.run(params, [corpus.layout.stage("shards"), corpus.layout.stage("synthesizer") / LEVEL / "model.pt"])
    task = CodeTask(music, decoder.config.bins, params, device)
    curves = train_loop(task, params.steps, params, run)
    prior = task.prior.cpu().eval()
    checkpoint.save(corpus.folder / "model.pt", KIND, VERSION, {"prior": prior.state_dict()}, prior.sizes)
    metrics = {
        "clips": len(music), "codes": sum(map(len, music)), "steps": params.steps,
        "parameters": sum(p.numel() for p in prior.parameters()),
    }  # fmt: skip
    corpus.publish(run, curves, metrics)
    return Model(prior=prior, decoder=decoder, temperature=params.temperature)


def about(corpus: Corpus, params: Params) -> str:
    """For the note under Table 1."""
    return f"sampled without the dance from a prior trained on this corpus's own codes, {params.steps} steps, in place of JukeBox's priors"


@torch.inference_mode()
def encode_training_music(corpus: Corpus, vqvae: JukeboxVQVAE) -> list[torch.Tensor]:
    """Codes (L,) int64 of each training clip's music, peak-normalised as in the training of `vqvae`."""
    data = WindowData(corpus.layout.stage("shards"), "train", 1)
    return [
        vqvae.encode(data.clip_audio(k)[None], LEVELS[LEVEL])[0].clone()
        for k in progress(range(len(data.clips)), f"{KIND} codes", unit="clip")
    ]


def compose(model: Model, dance: ClipDance) -> np.ndarray:
    """Audio (T * 735,) float32 at 22 050 Hz of sampled codes; only the dance's seed and length are used."""
    rng = torch.Generator().manual_seed(dance.seed)
    return decode_codes(
        model.decoder, model.prior.sample(code_count(dance.frames), model.temperature, rng), dance.frames
    )
