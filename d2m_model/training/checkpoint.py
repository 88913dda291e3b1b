"""Checkpoints: tensors and plain values with a kind and a version, written completely or not at all, read without running code."""

import io
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import nn

from dataset_tools.lib.core.atomic import atomic_write
from dataset_tools.lib.core.errors import Unreadable, UserError
from dataset_tools.lib.core.limits import printable
from dataset_tools.lib.core.tensor_file import meta_state_dict, read_tensors

FORMAT = "d2m-checkpoint"
Net = TypeVar("Net", bound=nn.Module)


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """The content of a checkpoint file, without its kind and version."""

    state: dict[str, Any]
    """State dicts and other nested tensors, numbers, strings, lists and dicts."""
    meta: dict[str, Any]
    """Plain values needed to rebuild the network: sizes, parameters, seed, step."""


def save(path: Path, kind: str, version: int, state: dict[str, Any], meta: dict[str, Any]) -> None:
    """Write a checkpoint, complete or absent. Tensors are moved to the CPU; equal contents give equal bytes.

    kind: name of the stage that writes it. version: increase it when `state` or `meta` change their meaning.
    """
    content = {"format": FORMAT, "kind": kind, "version": version, "meta": _on_cpu(meta), "state": _on_cpu(state)}
    # Through memory, because torch.save would write the name of the temporary file into the archive.
    buffer = io.BytesIO()
    torch.save(content, buffer)
    with atomic_write(path) as aside:
        aside.write_bytes(buffer.getbuffer())


def load(path: Path, kind: str, version: int, *, finite: bool = True) -> Checkpoint:
    """Read a checkpoint of this kind and version to the CPU. Never executes code from the file.

    finite: False allows NaN in the tensors. Raises UserError for a missing file, for one that is no checkpoint of this project
    (such as a damaged file or a pickle with code), and for another kind or version.
    """
    path = Path(path)
    if not path.exists():
        raise UserError(f"{path}: file not found; run the stages before this one first (dvc repro)")
    try:
        content = read_tensors(path, finite=finite)
    except Unreadable as err:
        raise UserError(f"{path}: not a readable checkpoint of plain tensors ({err.reason})") from None
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise UserError(f"{path}: not a checkpoint of this project; expected one written by the stage '{kind}'")
    if content.get("kind") != kind:
        raise UserError(f"{path}: a checkpoint of kind '{printable(content.get('kind'))}', expected '{kind}'")
    if content.get("version") != version:
        raise UserError(
            f"{path}: '{kind}' checkpoint of version {printable(content.get('version'))}, this program reads version {version}; "
            f"run the stage '{kind}' again"
        )
    state, meta = content.get("state"), content.get("meta")
    if not isinstance(state, dict) or not isinstance(meta, dict):
        raise UserError(f"{path}: a '{kind}' checkpoint without its state or its meta; run the stage '{kind}' again")
    return Checkpoint(state=state, meta=meta)


@contextmanager
def user_errors(path: Path) -> Iterator[None]:
    """Turn any error while a network is built from a checkpoint's values into a UserError of one line."""
    try:
        yield
    except UserError:
        raise
    except Exception as err:  # noqa: BLE001 - sizes from a foreign file can break a network in any way
        reason = str(err).strip().splitlines()[-1:] or [""]
        raise UserError(
            f"{path}: its weights do not fit its sizes ({type(err).__name__}: {printable(reason[0].strip())})"
        ) from None


def build_network(make: Callable[[], Net], weights: Mapping[str, torch.Tensor]) -> Net:
    """The network that `make` builds, with these weights. Its shapes are compared before any memory is allocated, so that
    wrong sizes cost neither memory nor time. Raises ValueError where they do not fit, and what `make` raises: see `user_errors`."""
    weights = dict(weights)
    known = meta_state_dict(make, weights)
    wrong = [f"'{name}' is missing" for name in known if name not in weights]
    wrong += [f"'{printable(name)}' is no part of it" for name in weights if name not in known]
    for name in known.keys() & weights.keys():
        mine, given = known[name], weights[name]
        if mine.shape != given.shape or mine.is_floating_point() != given.is_floating_point():
            wrong.append(f"'{name}' is {given.dtype} {tuple(given.shape)}, not {mine.dtype} {tuple(mine.shape)}")
    if wrong:
        raise ValueError(min(wrong) + (f" (and {len(wrong) - 1} more)" if len(wrong) > 1 else ""))
    net = make()
    net.load_state_dict(weights)
    return net


def string_tuple(values: object) -> tuple[str, ...]:
    """A list of strings, such as the genres in a checkpoint's meta, as a tuple. Raises ValueError for anything else."""
    if not isinstance(values, (list, tuple)) or not all(isinstance(value, str) for value in values):
        raise ValueError(f"expected a list of strings, found {printable(values)}")
    return tuple(values)


def training_state(step: int, optimizers: Mapping[str, torch.optim.Optimizer]) -> dict[str, Any]:
    """What is needed besides the weights to continue from `step`: the step, the optimizers and torch's random state."""
    states = {name: optimizer.state_dict() for name, optimizer in optimizers.items()}
    for group in (group for state in states.values() for group in state["param_groups"]):
        group.pop("initial_lr", None)  # added by LambdaLR; not part of the file format
    return {
        "step": step,
        "optimizers": states,
        "rng": torch.get_rng_state(),
    }


def _on_cpu(value: Any) -> Any:
    if isinstance(value, torch.Tensor):
        # Copied, because a view would be saved with its whole storage.
        return value.detach().cpu().clone(memory_format=torch.contiguous_format)
    if isinstance(value, dict):
        return {_on_cpu(key): _on_cpu(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(_on_cpu(item) for item in value)
    # Pickle writes a string object once and then refers to it. So equal strings must be one object, or bytes would differ.
    return sys.intern(value) if type(value) is str else value
