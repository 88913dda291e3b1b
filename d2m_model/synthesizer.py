"""Fine-tune the decoder of one level of the VQ-VAE as a GAN (paper, section 3.3); encoder and codebook stay as they are.

    python -m d2m_model.synthesizer --corpus demo --level high
"""

import hashlib
import math
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F

from d2m_model.losses.adversarial import feature_matching, hinge_discriminator, hinge_generator
from d2m_model.losses.spectral import mel_l1
from d2m_model.nets.discriminator import MultiScaleDiscriminator, discriminator_config
from d2m_model.nets.jukebox_vqvae import JukeboxVQVAE
from d2m_model.training.autoencoding import measure, open_test, sound_batch, write_metrics
from d2m_model.training.checkpoint import training_state
from d2m_model.training.curves import Curves, Steps
from d2m_model.training.seeding import seed_everything
from d2m_model.training.shard_data import WindowData
from d2m_model.training.vqvae_files import load_vqvae, save_vqvae
from dataset_tools.base.cli import layout_of, run, say, stage_parser
from dataset_tools.base.errors import UserError
from dataset_tools.base.params import load_params, require
from dataset_tools.base.timebase import LEVELS


@dataclass(frozen=True, kw_only=True)
class Params:
    """Section `synthesizer` of params.yaml; the defaults are the paper's where it gives any."""

    steps: int = 100_000
    batch: int = 16
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
    gain: float = 0.3
    """Windows are played at a random volume between this and 1."""
    test_windows: int = 32
    log_every: int = 50
    seed: int = 0
    threads: int = 1
    """CPU threads; results are equal to the byte for equal numbers of them."""

    def __post_init__(self):
        discriminator_config(self.discriminator, width=self.discriminator_width, scales=self.scales)
        for name in ("steps", "batch", "test_windows", "log_every", "threads"):
            require(getattr(self, name) >= 1, f"{name} must be at least 1, found {getattr(self, name)}")
        require(0.1 <= self.seconds <= 60, f"seconds must be 0.1 to 60, found {self.seconds}")
        for name in ("learning_rate", "discriminator_width"):
            require(getattr(self, name) > 0, f"{name} must be above 0, found {getattr(self, name)}")
        require(len(self.betas) == 2 and all(0 <= b < 1 for b in self.betas), f"betas must be two numbers in 0..1, found {self.betas}")
        require(0 < self.gain <= 1, f"gain must be above 0 and at most 1, found {self.gain}")
        weights = (self.adversarial, self.feature_matching, self.wave, self.mel)
        require(min(weights) >= 0, "weights must be at least 0")


def fine_tune(model: JukeboxVQVAE, level: int, data: WindowData, params: Params, curves: Curves) -> dict:
    """Train the decoder of `level` (0, 1 or 2) in place against a discriminator; gives what continuing would need.

    Nothing else of the network changes: its bytes are compared before and after (RuntimeError). Raises UserError when
    a loss stops being a number.
    """
    device = next(model.parameters()).device
    decoder = model.decoders[level].requires_grad_(True)
    judge = MultiScaleDiscriminator(discriminator_config(params.discriminator, width=params.discriminator_width, scales=params.scales)).to(device)
    adams = {
        name: torch.optim.Adam(net.parameters(), lr=params.learning_rate, betas=params.betas)
        for name, net in (("decoder", decoder), ("discriminator", judge))
    }
    frozen = fingerprint(model, level)
    for step in (bar := Steps(params.steps, params.batch, f"synthesizer level {level}")):
        audio = sound_batch(data, params.seed, step, params.batch, params.gain).to(device)
        rebuilt = model.decode_latents(model.embed(model.encode(audio, level), level), level)
        fake_scores, _ = judge(rebuilt.detach()[:, None])
        real_scores, _ = judge(audio[:, None])
        judging = hinge_discriminator(real_scores, fake_scores)
        _step(adams["discriminator"], judging)
        judge.requires_grad_(False)
        fake_scores, fake_features = judge(rebuilt[:, None])
        with torch.no_grad():
            _, real_features = judge(audio[:, None])
        terms = {
            "adversarial": hinge_generator(fake_scores),
            "feature_matching": feature_matching(real_features, fake_features),
            "wave": F.l1_loss(rebuilt, audio),
            "mel": mel_l1(rebuilt, audio),
        }
        loss = sum(getattr(params, name) * term for name, term in terms.items())
        _step(adams["decoder"], loss)
        judge.requires_grad_(True)
        if step % params.log_every == 0 or step == params.steps - 1:
            values = {name: float(v.detach()) for name, v in {"loss": loss, **terms, "discriminator": judging}.items()}
            if not all(math.isfinite(v) for v in values.values()):
                raise UserError(f"synthesizer: a loss is no number at step {step}; lower synthesizer.learning_rate")
            curves.add(step, values)
            bar.show(loss=values["loss"], discriminator=values["discriminator"])
    if fingerprint(model, level) != frozen:
        raise RuntimeError("fine-tuning changed more than the decoder: a bug")
    model.requires_grad_(False)
    return training_state(params.steps, adams) | {"discriminator": judge.state_dict()}


def fingerprint(model: JukeboxVQVAE, level: int) -> str:
    """sha256 of every tensor of the network but those of the decoder of `level`."""
    digest = hashlib.sha256()
    for name, value in model.state_dict().items():
        if not name.startswith(f"decoders.{level}."):
            digest.update(name.encode() + value.cpu().numpy().tobytes())
    return digest.hexdigest()


def train(shards: Path, vqvae: Path, level: str, params: Params, out: Path) -> dict:
    """Fine-tune the decoder of `level` ('high' or 'low') of the VQ-VAE file `vqvae` on `shards`; write model.pt,
    curves.csv and metrics.json to `out` and give the metrics, measured before and after.

    Raises UserError for a missing or unfit file, shards without train or test windows, or a loss that is no number.
    """
    device = seed_everything(params.seed, params.threads)
    index = LEVELS[level]
    model = load_vqvae(vqvae)
    data, test = WindowData(shards, "train", params.seconds), open_test(shards)
    metrics = {"level": level, "before": measure(model, index, test, params.test_windows)}
    curves = Curves()
    training = fine_tune(model.to(device), index, data, params, curves)
    model.cpu()
    metrics |= {"after": measure(model, index, test, params.test_windows)}
    metrics |= {"steps": params.steps, "train_windows": len(data), "seed": params.seed}
    save_vqvae(out / "model.pt", model, training, seed=params.seed, steps=params.steps, fine_tuned=[level])
    curves.write(out / "curves.csv")
    write_metrics(out / "metrics.json", metrics)
    return metrics


def _step(optimizer: torch.optim.Optimizer, loss: torch.Tensor) -> None:
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    optimizer.step()


def main(argv: list[str] | None = None) -> int:
    parser = stage_parser("d2m_model.synthesizer", __doc__)
    parser.add_argument("--level", choices=tuple(LEVELS), default="high", help="whose decoder to fine-tune (default: high)")
    args = parser.parse_args(argv)
    layout = layout_of(args)
    params = load_params(layout.params, "synthesizer", Params)
    out = layout.stage("synthesizer") / args.level
    metrics = train(layout.stage("shards"), layout.stage("vqvae") / "model.pt", args.level, params, out)
    for when in ("before", "after"):
        say("synthesizer", f"{args.level} {when}: " + ", ".join(f"{k} {v:.3g}" for k, v in metrics[when].items()))
    return 0


if __name__ == "__main__":
    run(main)
