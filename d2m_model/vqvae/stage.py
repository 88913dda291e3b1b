"""JukeBox's three-level VQ-VAE, sound to codes and back: trained on the sound of the train split, or as published.

    python -m d2m_model.vqvae --corpus demo

`vqvae.weights` of params.yaml names published weights (`jukebox_vqvae`), which are taken over and measured, not trained.

The levels share nothing, so each is trained by itself. Beside JukeBox's waveform, multispectral and commitment losses
there is a mel loss, and the quantisation starts after a warm-up: both make a small network keep its onsets after a
minute of training. `warm_up: 0` and `mel: 0` give JukeBox's own recipe.
"""

import math
import multiprocessing
import shutil
import signal
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import nn

from d2m_model.losses.spectral import mel_l1, multispectral
from d2m_model.nets.jukebox_vqvae import LEVELS, JukeboxVQVAE, VqVaeConfig
from d2m_model.training.acceleration import accelerate
from d2m_model.training.autoencoding import measure, measurement, open_test, power_of, sound_batch, write_metrics
from d2m_model.training.checkpoint import training_state
from d2m_model.training.curves import Curves
from d2m_model.training.distributed import gathered, processes, rank, require_even, world
from d2m_model.training.loop import (
    EXIT_STOPPED,
    Measurement,
    Run,
    TrainingParams,
    Watch,
    descend,
    run_of,
    train_loop,
    training_parser,
)
from d2m_model.training.seeding import generator, seed_everything, stream_seed
from d2m_model.training.shard_data import WindowData
from d2m_model.training.vqvae_files import load_training, save_vqvae
from dataset_tools.base import cli
from dataset_tools.base.cli import layout_of, say
from dataset_tools.base.errors import UserError
from dataset_tools.base.params import load_params, require
from dataset_tools.base.weights import licence_of, locate
from dataset_tools.base.work_cache import file_sha256
from dataset_tools.base.workers import run_all


@dataclass(frozen=True, kw_only=True)
class Params(TrainingParams):
    """Section `vqvae` of params.yaml; the defaults are JukeBox's network and, where it says so, training."""

    weights: str = ""
    """Empty: train. Else a JukeBox VQ-VAE of the sizes below that takes the training's place: a name in
    manifests/weights.csv or a file. OpenAI trained theirs on 44.1 kHz; D2M-GAN gives it 22.05 kHz, and so do we."""
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
    workers: int = 1
    """Levels trained at once, each in a process of its own; results do not depend on it."""

    def __post_init__(self):
        super().__post_init__()
        VqVaeConfig(width=self.width, depth=self.depth, multipliers=self.multipliers, bins=self.bins)
        require(len(self.steps) == len(LEVELS), f"steps must be three numbers, for levels 0, 1 and 2, found {self.steps}")
        for name in ("test_windows", "workers"):
            require(getattr(self, name) >= 1, f"{name} must be at least 1, found {getattr(self, name)}")
        require(min(self.steps) >= 1, f"steps must be at least 1 each, found {self.steps}")
        require(0.1 <= self.seconds <= 60, f"seconds must be 0.1 to 60, found {self.seconds}")
        require(self.learning_rate > 0, f"learning_rate must be above 0, found {self.learning_rate}")
        require(0 <= self.warm_up < 1, f"warm_up must be at least 0 and below 1, found {self.warm_up}")
        require(0 < self.gain <= 1, f"gain must be above 0 and at most 1, found {self.gain}")
        require(min(self.wave, self.multispectral, self.mel, self.commit, self.revival) >= 0, "weights must be at least 0")

    def config(self) -> VqVaeConfig:
        """Sizes of the network."""
        return VqVaeConfig(width=self.width, depth=self.depth, multipliers=self.multipliers, bins=self.bins)


class LevelTask:
    """Encoder, codebook and decoder of one level of `model`."""

    def __init__(self, model: JukeboxVQVAE, level: int, data: WindowData, test: WindowData, params: Params):
        self.model, self.level, self.data, self.test, self.params = model, level, data, test, params
        self.device, self.codebook, self.power = next(model.parameters()).device, model.codebook(level), power_of(data)
        self.codebook.revival = params.revival
        self.steps = params.steps[level]
        self.quantised_from = round(params.warm_up * self.steps)
        coders = {"encoder": model.encoders[level], "decoder": model.decoders[level]}
        weights = [p for net in coders.values() for p in net.parameters()]
        self.adams = {"adam": torch.optim.Adam(weights, lr=params.learning_rate)}
        self.nets = coders | {"codebook": self.codebook, "averages": _averages(self.codebook)}
        for net in coders.values():
            accelerate(net, self.device, params.sound_precision, params.compile)

    def step(self, number: int, watch: Watch) -> dict[str, torch.Tensor]:
        """One step on the losses, then one of the codebook's averages; gives the loss, its terms and the codes' use."""
        model, level, params = self.model, self.level, self.params
        audio = sound_batch(self.data, params.seed, number, params.batch, params.gain).to(self.device)
        z = model.latents(audio, level)
        terms, usage = {"commit": z.new_zeros(())}, {}
        if number >= self.quantised_from:
            if number == self.quantised_from:
                self.codebook.start(self._many_latents(number), generator(params.seed, "start", level))
            quantised = model.quantise(z, level)
            # All processes learn from the vectors of all, so that their codebooks stay equal.
            found = gathered(z.detach()), gathered(quantised.codes)
            usage = self.codebook.learn(*found, generator(params.seed, "revive", level, number))
            usage["perplexity"] = usage.pop("entropy").exp()
            terms["commit"] = quantised.commit
        rebuilt = model.decode_latents(quantised.vectors if usage else z, level)
        terms |= {"wave": F.mse_loss(rebuilt, audio) / self.power, "multispectral": multispectral(rebuilt, audio, self.power)}
        if params.mel:
            terms["mel"] = mel_l1(rebuilt, audio)
        watch(number, terms)
        loss = sum(getattr(params, name) * term for name, term in terms.items())
        descend(loss, self.adams["adam"], params.gradient_norm)
        return {"loss": loss, **terms, **usage}

    def rate_share(self, number: int) -> float:
        """Share of the learning rate at a step: up over the first 20, whole, down along a cosine in the second half."""
        falling = max(0.0, 2 * number / self.steps - 1)
        return min(1.0, (number + 1) / 20) * (0.51 + 0.49 * math.cos(math.pi * falling))

    def measure(self) -> Measurement:
        """Reconstruction of held-out windows; nothing before the codebook has started."""
        started = bool(self.codebook.k.any())
        return measurement(self.model, self.level, self.test, self.params.measure_clips) if started else Measurement({}, {})

    @torch.no_grad()
    def _many_latents(self, step: int) -> torch.Tensor:
        """(1, 64, N) latents of enough batches that each codebook entry could start on one of four."""
        found, batch, params = [], 0, self.params
        while sum(z.shape[1] for z in found) < 4 * params.bins and batch < 64:
            audio = sound_batch(self.data, params.seed, step + batch, params.batch, params.gain).to(self.device)
            found.append(gathered(self.model.latents(audio, self.level)).transpose(0, 1).flatten(1))
            batch += 1
        return torch.cat(found, dim=1)[None]


def _averages(codebook: nn.Module) -> nn.Module:
    """The codebook's moving averages, which its state dict leaves out, as a module whose state dict has them."""
    module = nn.Module()
    for name, tensor in codebook.learning_state().items():
        module.register_buffer(name, tensor)
    return module


STOP = "stop"  # name of the file that keeps levels from beginning


@dataclass(frozen=True, kw_only=True)
class Job:
    """One level to train; the biggest first, so that two workers end at about the same time."""

    shards: Path
    params: Params
    level: int
    run: Run
    part: Path
    """Where the worker leaves its level's weights and curves."""


def train_job(job: Job) -> str:
    """Train one level from its own seed and leave it in `job.part`; gives '', or the message of a UserError, which
    would not survive the way back from another process in one piece."""
    if (job.run.resume and job.part.is_file()) or job.part.with_name(STOP).exists():
        return ""
    device = seed_everything(stream_seed(job.params.seed, "level", job.level), job.params.threads)
    model, steps = JukeboxVQVAE(job.params.config()).to(device), job.params.steps[job.level]
    try:
        data = WindowData(job.shards, "train", job.params.seconds)
        task = LevelTask(model, job.level, data, open_test(job.shards), job.params)
        curves = train_loop(task, steps, job.params, job.run)
    except UserError as err:
        return str(err)
    except SystemExit:
        if multiprocessing.parent_process():
            return ""  # saved; who told this worker knows
        raise
    if rank() == 0:
        training = training_state(steps, task.adams) | {"codebook": task.codebook.learning_state()}
        save_vqvae(job.part, model, training | {"curves": curves.rows})
    return ""


def train(shards: Path, params: Params, out: Path, run: Run | None = None) -> dict:
    """Train all levels on `shards`, write model.pt, curves.csv and metrics.json to `out`; gives the metrics. Of several
    processes the first writes and gives them.

    Raises UserError when the shards have no train or test windows, or training diverges.
    """
    run = run or Run(stage="vqvae")
    require_even("vqvae", batch=params.batch)
    data, test = WindowData(shards, "train", params.seconds), open_test(shards)
    model, curves, training = JukeboxVQVAE(params.config()).eval(), Curves(), {}
    with tempfile.TemporaryDirectory() as folder:
        parts = run.state.with_suffix("") if run.state else Path(folder)
        if not run.resume and rank() == 0:
            shutil.rmtree(parts, ignore_errors=True)
        jobs = [
            Job(shards=shards, params=params, level=level, run=run.part(f"level {level}"), part=parts / f"trained {level}.pt")
            for level in reversed(LEVELS)
        ]
        (parts / STOP).unlink(missing_ok=True)
        lost = (lambda job, reason: f"vqvae: level {job.level}: {reason}") if params.workers > 1 and world() == 1 else None
        with _stopping_workers(run, parts / STOP):
            outcomes = run_all(train_job, jobs, params.workers if lost else 1, "vqvae levels", failed=lost)
        if message := next((m for m in outcomes if m), ""):
            raise UserError(message)
        if rank() > 0:
            return {}
        for job in reversed(jobs):
            trained, training[str(job.level)] = load_training(job.part)
            model.take_level(trained, job.level)
            curves.beside(Curves(training[str(job.level)].pop("curves")), f"level_{job.level}")
    seed_everything(params.seed, params.threads)
    metrics = {"levels": {str(level): measure(model, level, test, params.test_windows) for level in LEVELS}}
    metrics |= {"train_windows": len(data), "train_clips": len(data.clips), "seed": params.seed}
    save_vqvae(out / "model.pt", model, training, seed=params.seed, steps=list(params.steps), fine_tuned=[])
    curves.write(out / "curves.csv")
    write_metrics(out / "metrics.json", metrics)
    run.finish()
    return metrics


def take_published(shards: Path, file: Path, params: Params, out: Path) -> dict:
    """Write what `train` would, with the network of the JukeBox file in place of a trained one and curves without a row;
    gives the metrics, measured on the test windows.

    Raises UserError for a file of another network or of other sizes than `params`, or shards without test windows.
    """
    from d2m_model.imports import load_jukebox

    seed_everything(params.seed, params.threads)
    test = open_test(shards)
    try:
        model = load_jukebox(file, params.config())
    except UserError as err:
        raise UserError(f"vqvae.weights: {err}; the sizes are those of section vqvae of params.yaml") from None
    source = {"weights": Path(params.weights).name, "weights_sha256": file_sha256(file)}
    metrics = {"levels": {str(level): measure(model, level, test, params.test_windows) for level in LEVELS}} | source
    save_vqvae(out / "model.pt", model, {}, steps=[0, 0, 0], fine_tuned=[], **source)
    Curves().write(out / "curves.csv")
    write_metrics(out / "metrics.json", metrics)
    return metrics


@contextmanager
def _stopping_workers(run: Run, stop: Path) -> Iterator[None]:
    """Pass SIGTERM and Ctrl-C on to the workers, which save and end, and then say how to go on. Levels that have not
    begun find the file `stop`."""
    told, before = threading.Event(), {}

    def tell(_number, _frame):
        told.set()
        stop.parent.mkdir(parents=True, exist_ok=True)
        stop.touch()
        for child in multiprocessing.active_children():
            child.terminate()

    if run.state and threading.current_thread() is threading.main_thread():
        before = {number: signal.signal(number, tell) for number in (signal.SIGTERM, signal.SIGINT)}
    stopped = False
    try:
        yield
    except SystemExit as end:  # from the loop itself, where there are no workers
        stopped = end.code == EXIT_STOPPED
        if not stopped:
            raise
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    if stopped or told.is_set():
        if rank() == 0:
            say("vqvae", f"stopped and saved; to go on: {run.again}")
        raise SystemExit(EXIT_STOPPED)


def main(argv: list[str] | None = None) -> int:
    """The command line; the exit status."""
    args = training_parser("d2m_model.vqvae", __doc__).parse_args(argv)
    layout = layout_of(args)
    params = load_params(layout.params, "vqvae", Params)
    with processes():
        shards = layout.stage("shards")
        if not params.weights:
            run = run_of(layout, "vqvae", "", params, [shards], "", args.resume)
            metrics = train(shards, params, layout.stage("vqvae"), run)
        elif rank() == 0:
            metrics = take_published(shards, locate(params.weights, layout), params, layout.stage("vqvae"))
            say("vqvae", f"{metrics['weights']} taken as published, not trained; its licence: {licence_of(params.weights, layout)}")
        else:
            metrics = {}
    for level, scores in metrics.get("levels", {}).items():
        say("vqvae", f"level {level}: " + ", ".join(f"{k} {v:.3g}" for k, v in scores.items()))
    return 0


if __name__ == "__main__":
    cli.run(main)
