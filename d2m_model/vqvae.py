"""Train JukeBox's three-level VQ-VAE on the sound of the train split: sound to codes and back.

    python -m d2m_model.vqvae --corpus demo

The levels share nothing, so each is trained by itself. Beside JukeBox's waveform, multispectral and commitment losses
there is a mel loss, and the quantisation starts after a warm-up: both make a small network keep its onsets after a
minute of training. `warm_up: 0` and `mel: 0` give JukeBox's own recipe.
"""

import math
import tempfile
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F

from d2m_model.losses.spectral import mel_l1, multispectral
from d2m_model.nets.jukebox_vqvae import LEVELS, JukeboxVQVAE, VqVaeConfig
from d2m_model.training.autoencoding import measure, open_test, sound_batch, write_metrics
from d2m_model.training.checkpoint import training_state
from d2m_model.training.curves import Curves, Steps
from d2m_model.training.seeding import generator, seed_everything, stream_seed
from d2m_model.training.shard_data import WindowData
from d2m_model.training.vqvae_files import load_training, save_vqvae
from dataset_tools.base.cli import layout_of, run, say, stage_parser
from dataset_tools.base.errors import UserError
from dataset_tools.base.params import load_params, require
from dataset_tools.base.workers import run_all


@dataclass(frozen=True, kw_only=True)
class Params:
    """Section `vqvae` of params.yaml; the defaults are JukeBox's network and, where it says so, training."""

    width: int = 32
    depth: int = 4
    multipliers: tuple[int, ...] = (2, 1, 1)
    """Of width and depth, for levels 0, 1, 2."""
    bins: int = 2048
    """Codebook entries per level."""
    steps: tuple[int, ...] = (20_000, 100_000, 100_000)
    """Training steps of levels 0, 1, 2. D2M-GAN does not use level 0."""
    batch: int = 32
    seconds: float = 0.75
    """Length of a training window; a multiple of 1/30 s."""
    learning_rate: float = 3e-4
    warm_up: float = 0.0
    """Share of the steps without quantisation; then the codebook starts on vectors of the train split."""
    wave: float = 1.0
    """Weight of the squared error of the waveform, relative to the train split's power."""
    multispectral: float = 1.0
    mel: float = 0.0
    commit: float = 0.02
    revival: float = 1.0
    """A codebook entry that on average takes fewer vectors of a batch than this is placed anew."""
    gain: float = 0.3
    """Windows are played at a random volume between this and 1."""
    test_windows: int = 32
    """Windows of 2 s of the test split, spread evenly, that the metrics are measured on."""
    log_every: int = 50
    seed: int = 0
    workers: int = 1
    """Levels trained at once, each in a process of its own."""
    threads: int = 1
    """CPU threads of each; results are equal to the byte for equal numbers of threads, whatever `workers` is."""

    def __post_init__(self):
        VqVaeConfig(width=self.width, depth=self.depth, multipliers=self.multipliers, bins=self.bins)
        require(len(self.steps) == len(LEVELS), f"steps must be three numbers, for levels 0, 1 and 2, found {self.steps}")
        for name in ("batch", "test_windows", "log_every", "workers", "threads"):
            require(getattr(self, name) >= 1, f"{name} must be at least 1, found {getattr(self, name)}")
        require(min(self.steps) >= 1, f"steps must be at least 1 each, found {self.steps}")
        require(0.1 <= self.seconds <= 60, f"seconds must be 0.1 to 60, found {self.seconds}")
        require(self.learning_rate > 0, f"learning_rate must be above 0, found {self.learning_rate}")
        require(0 <= self.warm_up < 1, f"warm_up must be at least 0 and below 1, found {self.warm_up}")
        require(0 < self.gain <= 1, f"gain must be above 0 and at most 1, found {self.gain}")
        require(min(self.wave, self.multispectral, self.mel, self.commit, self.revival) >= 0, "weights must be at least 0")

    def config(self) -> VqVaeConfig:
        return VqVaeConfig(width=self.width, depth=self.depth, multipliers=self.multipliers, bins=self.bins)


def train_level(model: JukeboxVQVAE, level: int, data: WindowData, params: Params, curves: Curves) -> dict:
    """Train encoder, codebook and decoder of one level in place; gives what continuing would need.

    Raises UserError when the loss stops being a number.
    """
    device = next(model.parameters()).device
    codebook, steps = model.codebook(level), params.steps[level]
    codebook.revival = params.revival
    weights = [*model.encoders[level].parameters(), *model.decoders[level].parameters()]
    optimizer = torch.optim.Adam(weights, lr=params.learning_rate)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: learning_rate_share(step, steps))
    quantised_from = round(params.warm_up * steps)
    power = _power(data)
    for step in (bar := Steps(steps, params.batch, f"vqvae level {level}")):
        audio = sound_batch(data, params.seed, step, params.batch, params.gain).to(device)
        z = model.latents(audio, level)
        terms = {"commit": z.new_zeros(())}
        usage = {}
        if step >= quantised_from:
            if step == quantised_from:
                codebook.start(_many_latents(model, level, data, params, step), generator(params.seed, "start", level))
            quantised = model.quantise(z, level)
            usage = codebook.learn(z.detach(), quantised.codes, generator(params.seed, "revive", level, step))
            usage["perplexity"] = usage.pop("entropy").exp()
            terms["commit"] = quantised.commit
        rebuilt = model.decode_latents(quantised.vectors if usage else z, level)
        terms |= {"wave": F.mse_loss(rebuilt, audio) / power, "multispectral": multispectral(rebuilt, audio, power)}
        if params.mel:
            terms["mel"] = mel_l1(rebuilt, audio)
        loss = sum(getattr(params, name) * term for name, term in terms.items())
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        schedule.step()
        if step % params.log_every == 0 or step == steps - 1:
            values = {k: float(v.detach()) for k, v in {"loss": loss, **terms, **usage}.items()}
            if not math.isfinite(values["loss"]):
                raise UserError(f"vqvae: the loss of level {level} is no number at step {step}; lower vqvae.learning_rate")
            curves.add(step, values, level=level)
            bar.show(loss=values["loss"])
    return training_state(steps, {"adam": optimizer}) | {"codebook": codebook.learning_state()}


def learning_rate_share(step: int, steps: int) -> float:
    """Share of the learning rate at a step: up over the first 20, whole, down along a cosine in the second half."""
    falling = max(0.0, 2 * step / steps - 1)
    return min(1.0, (step + 1) / 20) * (0.51 + 0.49 * math.cos(math.pi * falling))


@dataclass(frozen=True, kw_only=True)
class Job:
    """One level to train; the biggest first, so that two workers end at about the same time."""

    shards: Path
    params: Params
    level: int
    part: Path
    """Where the worker leaves its level's weights."""


def train_job(job: Job) -> list[dict] | str:
    """Train one level from its own seed and leave its weights in `job.part`; gives the rows of its curves, or as a
    text the message of a UserError, which would not survive the way back from another process in one piece."""
    device = seed_everything(stream_seed(job.params.seed, "level", job.level), job.params.threads)
    model, curves = JukeboxVQVAE(job.params.config()).to(device), Curves()
    try:
        data = WindowData(job.shards, "train", job.params.seconds)
        training = train_level(model, job.level, data, job.params, curves)
    except UserError as err:
        return str(err)
    save_vqvae(job.part, model, training)
    return curves.rows


def train(shards: Path, params: Params, out: Path) -> dict:
    """Train all levels on `shards`, write model.pt, curves.csv and metrics.json to `out`; gives the metrics.

    Raises UserError when the shards have no train or test windows, or training diverges.
    """
    data, test = WindowData(shards, "train", params.seconds), open_test(shards)
    model, curves, training = JukeboxVQVAE(params.config()).eval(), Curves(), {}
    with tempfile.TemporaryDirectory() as folder:
        jobs = [Job(shards=shards, params=params, level=level, part=Path(folder) / f"{level}.pt") for level in reversed(LEVELS)]
        outcomes = run_all(train_job, jobs, params.workers, "vqvae levels")
        for job, rows in sorted(zip(jobs, outcomes, strict=True), key=lambda done: done[0].level):
            if isinstance(rows, str):
                raise UserError(rows)
            trained, training[str(job.level)] = load_training(job.part)
            model.take_level(trained, job.level)
            curves.rows += rows
    seed_everything(params.seed, params.threads)
    metrics = {"levels": {str(level): measure(model, level, test, params.test_windows) for level in LEVELS}}
    metrics |= {"train_windows": len(data), "train_clips": len(data.clips), "seed": params.seed}
    save_vqvae(out / "model.pt", model, training, seed=params.seed, steps=list(params.steps), fine_tuned=[])
    curves.write(out / "curves.csv")
    write_metrics(out / "metrics.json", metrics)
    return metrics


@torch.no_grad()
def _many_latents(model: JukeboxVQVAE, level: int, data: WindowData, params: Params, step: int) -> torch.Tensor:
    """(1, 64, N) latents of enough batches that each codebook entry could start on one of four."""
    device, found, batch = next(model.parameters()).device, [], 0
    while sum(z.shape[1] for z in found) < 4 * params.bins and batch < 64:
        z = model.latents(sound_batch(data, params.seed, step + batch, params.batch, params.gain).to(device), level)
        found.append(z.transpose(0, 1).flatten(1))
        batch += 1
    return torch.cat(found, dim=1)[None]


def _power(data: WindowData) -> float:
    """Mean square of the train split's sound, at least 1e-6."""
    total = sum(float(data.clip_audio(i).double().square().sum()) for i in range(len(data.clips)))
    return max(1e-6, total / sum(data.clip_audio(i).numel() for i in range(len(data.clips))))


def main(argv: list[str] | None = None) -> int:
    args = stage_parser("d2m_model.vqvae", __doc__).parse_args(argv)
    layout = layout_of(args)
    params = load_params(layout.params, "vqvae", Params)
    metrics = train(layout.stage("shards"), params, layout.stage("vqvae"))
    for level, scores in metrics["levels"].items():
        say("vqvae", f"level {level}: " + ", ".join(f"{k} {v:.3g}" for k, v in scores.items()))
    return 0


if __name__ == "__main__":
    run(main)
