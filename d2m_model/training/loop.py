"""The training loop of all stages and baselines: progress, curves, checkpoints, signals, several processes.

A task defines a step; the loop does everything around it. --resume continues a training that was stopped (SIGTERM, Ctrl-C) or
killed. On the CPU it reaches exactly the weights of an undisturbed training: the random numbers of a step depend on its number
only (`seeding.generator`), and the rest is in the checkpoint.
"""

import math
import shutil
import signal
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from torch import nn
from torch.optim.lr_scheduler import LambdaLR
from torch.profiler import record_function

from d2m_model.nets.cpu.memory import keep_freed_memory
from d2m_model.training import checkpoint, distributed
from d2m_model.training.command import TrainingParams
from d2m_model.training.curves import Board, Curves, Steps
from d2m_model.training.seeding import stream_seed
from dataset_tools.lib.core.cli import say
from dataset_tools.lib.core.errors import UserError
from dataset_tools.lib.core.layout import Layout
from dataset_tools.lib.core.work_cache import file_sha256, item_key
from dataset_tools.lib.shard_io.shard_index import shard_hashes

VERSION = 1  # of the checkpoints that a training continues from
PACKAGE = Path(__file__).parents[1]
EXIT_STOPPED = 75  # EX_TEMPFAIL of sysexits.h: nothing is wrong, run it again


class Measurement(NamedTuple):
    """Scores of a model during training."""

    scores: dict[str, float]
    audio: dict[str, np.ndarray]
    """Clip -> (S,) at 22 050 Hz."""


class Task(Protocol):
    """Something to train. Its whole state is in `nets` and `optimizers`."""

    @property
    def nets(self) -> Mapping[str, nn.Module]:
        """Name -> network."""

    @property
    def optimizers(self) -> Mapping[str, torch.optim.Optimizer]:
        """Name -> optimizer."""

    @property
    def rate_share(self) -> Callable[[int], float] | None:
        """Step number -> factor of the optimizers' learning rates; None keeps them constant."""

    def step(self, number: int, guard: "FiniteLossGuard") -> Mapping[str, torch.Tensor]:
        """Train on batch `number`; returns scalars for the curves. Passes its losses to `guard` before they train."""

    def measure(self) -> Measurement:
        """Scores on held-out clips; must not change anything that `step` depends on."""


@dataclass(frozen=True, kw_only=True)
class Run:
    """Where one training keeps its checkpoint and its TensorBoard files. Without paths it keeps neither."""

    stage: str
    name: str = ""
    state: Path | None = None
    board: Path | None = None
    resume: bool = False
    again: str = ""
    """The command that continues the training; '' for none."""
    section: str = ""
    """Section of params.yaml, if it is not called like the stage."""

    def part(self, name: str) -> "Run":
        """The run of one of several trainings that make up this one. It prints no command; the whole run does."""
        state = self.state and self.state.with_suffix("") / f"{name}.pt"
        return replace(self, name=name, state=state, board=self.board and self.board / name, again="")

    def finish(self) -> None:
        """Delete the checkpoint, once the results are written."""
        if self.state and distributed.rank() == 0:
            shutil.rmtree(self.state.parent, ignore_errors=True)


def training_run(
    layout: Layout, stage: str, name: str, params: TrainingParams, inputs: Sequence[Path], options: str, resume: bool
) -> Run:
    """The run of a stage. The name of its checkpoint is a hash of the inputs' content, the parameters and the training code. So a
    training only continues with what it began with, and its result does not depend on where it was stopped.

    name: subfolder of the stage's folder for the results, '' for that folder itself. options: those of its command line.
    """
    folders, files = [f for f in inputs if f.is_dir()], [f for f in inputs if f.is_file()]
    parts = ("nets", "losses", "training", *{"prior": ["rhythm"]}.get(stage, []), stage)
    code = [f for part in parts for f in sorted((PACKAGE / part).rglob("*.py"))]
    key = item_key(
        VERSION,
        params,
        name,
        distributed.world_size(),
        [*(h for f in folders for h in shard_hashes(f)), *map(file_sha256, files + code)],
    )
    folder = layout.cache(stage) / layout.corpus / (name or stage)
    root = "" if layout.root == Path(".") else f" --root {layout.root}"
    root += f" --shards {layout.shards}" if layout.shards else ""
    again = f"python -m d2m_model.{stage} --corpus {layout.corpus}{root} {options}".rstrip() + " --resume"
    return Run(
        stage=stage,
        name=name,
        state=folder / f"{key}.pt",
        board=layout.tensorboard(stage) / name,
        resume=resume,
        again=again,
    )


class FiniteLossGuard:
    """Stops a training whose loss is not finite, before its gradient changes a weight."""

    def __init__(self, stage: str, section: str = ""):
        """section: of params.yaml, if it is not called like the stage."""
        self.stage, self.section = stage, section or stage
        self.last: dict[str, float] = {}
        self.at: int | None = None

    def __call__(self, number: int, terms: Mapping[str, torch.Tensor]) -> None:
        """Raises UserError where one of the scalar `terms` of step `number` is not finite in any process."""
        values = {name: float(v.detach()) for name, v in terms.items()}
        bad = next((name for name, v in values.items() if not math.isfinite(v)), None)
        device = next(iter(terms.values())).device
        if distributed.any_process(bad is not None, device):
            what = f"loss '{bad}' is {values[bad]}" if bad else "a loss of another process is not finite"
            known = ", ".join(f"{name} {value:.4g}" for name, value in self.last.items()) or "none"
            raise UserError(
                f"{self.stage}: {what} at step {number}; last finite values (step {self.at}): {known}; lower the "
                f"learning rate or gradient_norm in section {self.section} of params.yaml"
            )
        self.last, self.at = (self.last if number == self.at else {}) | values, number


def optimizer_step(optimizer: torch.optim.Optimizer, gradient_norm: float) -> None:
    """One optimizer step with the gradients of all groups, averaged over the processes and clipped together to the norm
    `gradient_norm` (0: not clipped)."""
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    distributed.average_gradients(parameters)
    if gradient_norm:
        nn.utils.clip_grad_norm_(parameters, gradient_norm)
    with record_function("optimizers"):
        optimizer.step()


def backward_and_step(loss: torch.Tensor, optimizer: torch.optim.Optimizer, gradient_norm: float) -> None:
    """Backpropagate a loss and do one step of its optimizer."""
    optimizer.zero_grad(set_to_none=True)
    with record_function("backward"):
        loss.backward()
    optimizer_step(optimizer, gradient_norm)


def ends_row(number: int, steps: int, every: int) -> bool:
    """Whether a row of the curves ends with step `number` of `steps`."""
    return (number + 1) % every == 0 or number + 1 == steps


def train_loop(task: Task, steps: int, params: TrainingParams, run: Run) -> Curves:
    """Train `task` for `steps` steps; returns its curves.

    Raises UserError when a loss is not finite, and SystemExit(75), after saving, when the process gets a signal to stop.
    """
    keep_freed_memory()
    curves, recent, start = Curves(), [], 0
    guard = FiniteLossGuard(run.stage, run.section)
    if distributed.world_size() > 1:
        torch.manual_seed(stream_seed(params.seed, "process", distributed.rank()))
    if run.resume and run.state and run.state.is_file():
        start, recent = _restore(task, curves, run)
    schedules = (
        [LambdaLR(optimizer, task.rate_share, last_epoch=start - 1) for optimizer in task.optimizers.values()]
        if task.rate_share
        else []
    )
    label = f"{run.stage} {run.name}".strip()
    writes = distributed.rank() == 0
    with _stop_signal(run) as stop, Board(run.board if writes else None, start) as board:
        bar = Steps(steps, label, start, hidden=not writes)
        for number in bar:
            recent.append({k: v.detach() for k, v in task.step(number, guard).items()})
            done = number + 1
            for schedule in schedules if done < steps else ():
                schedule.step()
            if ends_row(number, steps, params.log_every):
                means = _means(recent)
                curves.add(done, means)
                board.scalars(done, means)
                bar.show(**{name: means[name] for name in ("loss", "total") if name in means})
                recent = []
            if writes and params.measure_every and (done % params.measure_every == 0 or done == steps):
                scores, audio = task.measure()
                curves.add(done, scores)
                board.scalars(done, scores)
                board.audio(done, audio)
            stopping = distributed.any_process(
                stop.is_set(), next(iter(next(iter(task.nets.values())).parameters())).device
            )
            if run.state and done < steps and (stopping or done % params.checkpoint_every == 0):
                _save(task, done, recent, curves, run)
            if stopping and done < steps:
                _stop(run, done, steps)
    return curves


def _means(recent: list[dict[str, torch.Tensor]]) -> dict[str, float]:
    names = dict.fromkeys(name for row in recent for name in row)
    means = {n: float(np.mean([float(row[n]) for row in recent if n in row])) for n in names}
    if distributed.world_size() == 1:
        return means
    device = next(
        iter(recent[-1].values())
    ).device  # of the last row: rows from a checkpoint are on the CPU, which nccl can't sum
    shared = distributed.sum_over_processes(torch.tensor(list(means.values()), device=device))
    return dict(zip(means, (shared / distributed.world_size()).tolist(), strict=True))


def _save(task: Task, done: int, recent: list, curves: Curves, run: Run) -> None:
    random = [torch.get_rng_state()] + ([torch.cuda.get_rng_state()] if torch.cuda.is_available() else [])
    if distributed.world_size() > 1:
        found: list[Any] = [None] * distributed.world_size()
        torch.distributed.all_gather_object(found, random)
    else:
        found = [random]
    if distributed.rank() == 0:
        state = {
            "nets": {name: net.state_dict() for name, net in task.nets.items()},
            "optimizers": {name: optimizer.state_dict() for name, optimizer in task.optimizers.items()},
            "random": found,
            "recent": [{k: float(v) for k, v in row.items()} for row in recent],
            "curves": curves.rows,
        }
        assert run.state is not None
        checkpoint.save(run.state, f"{run.stage}-training", VERSION, state, {"step": done})


def _restore(task: Task, curves: Curves, run: Run) -> tuple[int, list]:
    assert run.state is not None
    content = checkpoint.load(run.state, f"{run.stage}-training", VERSION, finite=False)
    with checkpoint.user_errors(run.state):
        state, done = content.state, content.meta["step"]
        for name, net in task.nets.items():
            net.load_state_dict(state["nets"][name])
        for name, optimizer in task.optimizers.items():
            optimizer.load_state_dict(state["optimizers"][name])
        random = state["random"][distributed.rank()]
        torch.set_rng_state(random[0])
        if torch.cuda.is_available() and len(random) > 1:
            torch.cuda.set_rng_state(random[1])
        curves.rows = state["curves"]
    if distributed.rank() == 0:
        say(run.stage, f"{run.name} continues from step {done}".replace(":  ", ": "))
    return done, [{k: torch.tensor(v) for k, v in row.items()} for row in state["recent"]]


def _stop(run: Run, done: int, steps: int) -> None:
    if run.again and distributed.rank() == 0:
        say(run.stage, f"{run.name} stopped after step {done} of {steps}, saved; to continue: {run.again}".lstrip())
    raise SystemExit(EXIT_STOPPED)


@contextmanager
def _stop_signal(run: Run) -> Iterator[threading.Event]:
    """An event that SIGTERM or Ctrl-C sets; a second Ctrl-C ends the process as usual."""
    stop, before = threading.Event(), {}

    def handle(number, _frame):
        stop.set()
        if number == signal.SIGINT:
            signal.signal(number, before[number])

    if run.state and threading.current_thread() is threading.main_thread():
        before = {number: signal.signal(number, handle) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
