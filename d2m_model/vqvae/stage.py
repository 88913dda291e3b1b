"""The stage `vqvae`: trains a network on the shards' audio that encodes audio into codes and decodes codes into audio."""

import multiprocessing
import shutil
import signal
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from d2m_model.nets.jukebox_vqvae import JUKEBOX_LEVELS, JukeboxVQVAE
from d2m_model.training.autoencoding import measure, open_test, write_metrics
from d2m_model.training.checkpoint import training_state
from d2m_model.training.curves import Curves
from d2m_model.training.distributed import rank, require_even, world
from d2m_model.training.loop import EXIT_STOPPED, Run, train_loop
from d2m_model.training.seeding import seed_everything, stream_seed
from d2m_model.training.shard_data import WindowData
from d2m_model.training.vqvae_files import load_training, save_vqvae
from d2m_model.vqvae.params import Params
from d2m_model.vqvae.task import LevelTask
from dataset_tools.lib.core.cli import say
from dataset_tools.lib.core.errors import UserError
from dataset_tools.lib.core.work_cache import file_sha256
from dataset_tools.lib.parallel.workers import run_all

STOP = "stop"  # name of the file that keeps further levels from starting


@dataclass(frozen=True, kw_only=True)
class Job:
    """One level to train."""

    shards: Path
    params: Params
    level: int
    run: Run
    part: Path
    """Where the worker leaves its level's weights and curves."""


def train_job(job: Job) -> str:
    """Train one level from its own seed and write it to `job.part`. Returns '', or the message of a UserError: the exception itself
    could not be passed back from another process."""
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
            return ""  # saved; the parent process knows that it stopped this worker
        raise
    if rank() == 0:
        training = training_state(steps, task.optimizers) | {"codebook": task.codebook.learning_state()}
        save_vqvae(job.part, model, training | {"curves": curves.rows})
    return ""


def train(shards: Path, params: Params, out: Path, run: Run | None = None) -> dict:
    """Train all levels on `shards` and write model.pt, curves.csv and metrics.json to `out`. Returns the metrics; with several
    processes only the first writes and returns them.

    Raises UserError when the shards have no train or test windows, or when the training diverges.
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
            Job(
                shards=shards,
                params=params,
                level=level,
                run=run.part(f"level {level}"),
                part=parts / f"trained {level}.pt",
            )
            for level in reversed(
                JUKEBOX_LEVELS
            )  # the longest training first, so that two workers end at about the same time
        ]
        (parts / STOP).unlink(missing_ok=True)
        lost = (
            (lambda job, reason: f"vqvae: level {job.level}: {reason}") if params.workers > 1 and world() == 1 else None
        )
        with _stopping_workers(run, parts / STOP):
            outcomes = run_all(
                train_job, jobs, params.workers if lost else 1, "vqvae levels", failed=lost, unit="level"
            )
        if message := next((m for m in outcomes if m), ""):
            raise UserError(message)
        if rank() > 0:
            return {}
        for job in reversed(jobs):
            trained, training[str(job.level)] = load_training(job.part)
            model.take_level(trained, job.level)
            curves.beside(Curves(training[str(job.level)].pop("curves")), f"level_{job.level}")
    seed_everything(params.seed, params.threads)
    metrics = {"levels": {str(level): measure(model, level, test, params.test_windows) for level in JUKEBOX_LEVELS}}
    metrics |= {"train_windows": len(data), "train_clips": len(data.clips), "seed": params.seed}
    save_vqvae(out / "model.pt", model, training, seed=params.seed, steps=list(params.steps), fine_tuned=[])
    curves.write(out / "curves.csv")
    write_metrics(out / "metrics.json", metrics)
    run.finish()
    return metrics


def take_published_vqvae(shards: Path, file: Path, params: Params, out: Path) -> dict:
    """Write the outputs of `train` with the network of a JukeBox file instead of a trained one; the curves have no rows. Returns the
    metrics, measured on the test windows.

    Raises UserError for a file of another network or of other sizes than in `params`, and for shards without test windows.
    """
    from d2m_model.checkpoints import load_jukebox

    seed_everything(params.seed, params.threads)
    test = open_test(shards)
    try:
        model = load_jukebox(file, params.config())
    except UserError as err:
        raise UserError(f"vqvae.weights: {err}; the sizes are those of section vqvae of params.yaml") from None
    source = {"weights": Path(params.weights).name, "weights_sha256": file_sha256(file)}
    metrics = {
        "levels": {str(level): measure(model, level, test, params.test_windows) for level in JUKEBOX_LEVELS}
    } | source
    save_vqvae(out / "model.pt", model, {}, steps=[0, 0, 0], fine_tuned=[], **source)
    Curves().write(out / "curves.csv")
    write_metrics(out / "metrics.json", metrics)
    return metrics


@contextmanager
def _stopping_workers(run: Run, stop: Path) -> Iterator[None]:
    """Pass SIGTERM and Ctrl-C on to the workers, which save and end, and then print the command that continues. The file `stop`
    keeps further levels from starting."""
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
    except SystemExit as end:  # from the loop itself, without workers
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
