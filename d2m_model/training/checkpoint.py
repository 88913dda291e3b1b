"""Checkpoints: tensors and plain values under a kind and a version, complete or absent, loaded without running code."""

import io
import pickle
import sys
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from dataset_tools.base.atomic import write_aside
from dataset_tools.base.errors import UserError

FORMAT = "d2m-checkpoint"


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """What a checkpoint file holds besides its kind and version."""

    state: dict[str, Any]
    """State dicts and other nests of tensors, numbers, strings, lists and dicts."""
    meta: dict[str, Any]
    """Plain values that say how to rebuild the network: sizes, parameters, seed, step."""


def save(path: Path, kind: str, version: int, state: dict[str, Any], meta: dict[str, Any]) -> None:
    """Write a checkpoint, complete or absent; tensors are moved to the CPU, equal contents give equal bytes.

    kind: word of the stage that writes it. version: raise it whenever `state` or `meta` change their meaning.
    """
    content = {"format": FORMAT, "kind": kind, "version": version, "meta": _on_cpu(meta), "state": _on_cpu(state)}
    # Through memory: saved straight to a path, the archive would carry the name of the temporary file.
    buffer = io.BytesIO()
    torch.save(content, buffer)
    with write_aside(path) as aside:
        aside.write_bytes(buffer.getbuffer())


def load(path: Path, kind: str, version: int) -> Checkpoint:
    """Read a checkpoint of this kind and version to the CPU. Never executes code from the file.

    Raises UserError: file missing, not a checkpoint of this project (a damaged file or a pickle with code included),
    another kind, another version.
    """
    path = Path(path)
    if not path.is_file():
        raise UserError(f"{path}: file not found; run the stages before this one first (dvc repro)")
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError, KeyError, AttributeError, zipfile.BadZipFile) as err:
        # torch's own text can run to a page of advice on switching the protection off: its first sentence is enough.
        first = str(err).split("\n")[0].split(". ")[0]
        raise UserError(f"{path}: not a readable checkpoint of plain tensors ({first})") from None
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise UserError(f"{path}: not a checkpoint of this project; expected one written by the stage '{kind}'")
    if content.get("kind") != kind:
        raise UserError(f"{path}: a checkpoint of kind '{content.get('kind')}', expected '{kind}'")
    if content.get("version") != version:
        raise UserError(
            f"{path}: '{kind}' checkpoint of version {content.get('version')}, this program reads version {version}; "
            f"run the stage '{kind}' again"
        )
    return Checkpoint(state=content["state"], meta=content["meta"])


def training_state(step: int, optimizers: dict[str, torch.optim.Optimizer]) -> dict[str, Any]:
    """What continuing from `step` needs besides the weights: step, optimizers and torch's random state."""
    return {
        "step": step,
        "optimizers": {name: optimizer.state_dict() for name, optimizer in optimizers.items()},
        "rng": torch.get_rng_state(),
    }


def _on_cpu(value: Any) -> Any:
    if isinstance(value, torch.Tensor):
        # A copy of its own storage: a view would be saved with everything it looks into.
        return value.detach().cpu().clone(memory_format=torch.contiguous_format)
    if isinstance(value, dict):
        return {_on_cpu(key): _on_cpu(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(_on_cpu(item) for item in value)
    # Pickle writes a text once and then points at it, so equal texts must be one object, whether made or loaded.
    return sys.intern(value) if type(value) is str else value
