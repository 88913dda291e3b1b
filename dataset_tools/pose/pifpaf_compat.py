"""OpenPifPaf 0.13.11 on current PyTorch: import it from here, and open its published checkpoints here.

Why this file exists. That release was made for torch 1.13:

* its metadata pins that torch, so pyproject.toml overrides the pin and builds its C++ decoder against ours;
* it calls `matplotlib.cm.get_cmap`, gone since 3.9, hence `matplotlib<3.9` in pyproject.toml;
* its checkpoints (`*.pkl`) are whole pickled networks, which torch >= 2.6 refuses to load, rightly, since a pickle can
  run any code. `load_checkpoint` reads them without that risk: torch's restricted unpickler, with nothing allowed but
  layer classes, OpenPifPaf's descriptions of its heads, and plain arrays.

Importing takes several seconds, so only what poses imports this.
"""

import ctypes
import dataclasses
import importlib
import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import openpifpaf
import torch
from openpifpaf.network import model_migration

from dataset_tools.lib.core.errors import Unreadable, UserError
from dataset_tools.lib.core.tensor_file import read_tensors
from dataset_tools.pose.traced import Traced

ALLOWED_MODULES = (
    "torch.nn.modules.",
    "torchvision.models.",
    "torchvision.ops.",
    "openpifpaf.network.",
    "openpifpaf.headmeta",
)
ARRAY_GLOBALS = {
    f"numpy.{core}.multiarray.{name}": getattr(np._core.multiarray, name)  # type: ignore[attr-defined]  # numpy's stubs leave it out
    for core in ("core", "_core")
    for name in ("_reconstruct", "scalar")
} | {"numpy.ndarray": np.ndarray, "numpy.dtype": np.dtype}

logging.getLogger("openpifpaf").setLevel(logging.WARNING)


def load_checkpoint(path: Path) -> openpifpaf.network.nets.Shell:
    """The network of a checkpoint in OpenPifPaf's own format, in eval mode on the CPU. No code from the file runs.

    Raises UserError where the file is missing, is no such checkpoint, or names anything but layers, head descriptions
    and arrays.
    """
    path = Path(path)
    if not path.exists():
        raise UserError(f"{path}: pose weights not found")
    try:
        content = read_tensors(path, allow=lambda name: _resolve(name, path))
    except Unreadable as err:
        raise UserError(f"{path}: not an OpenPifPaf checkpoint: {err.reason}") from None
    network = content.get("model") if isinstance(content, dict) else None
    if not isinstance(network, openpifpaf.network.nets.Shell):
        raise UserError(f"{path}: not an OpenPifPaf checkpoint: no network under 'model'")
    try:
        model_migration.model_migration(network)
        return network.eval()
    except Exception as err:  # noqa: BLE001 - layers come out of the file as anyone may have left them
        raise UserError(
            f"{path}: not an OpenPifPaf checkpoint: its network lacks parts ({type(err).__name__})"
        ) from None


def _resolve(name: str, path: Path):
    """The class that a pickle calls `name`, or UserError if it is not one that a network is made of."""
    if name in ARRAY_GLOBALS:
        return ARRAY_GLOBALS[name]
    module, _, attribute = name.rpartition(".")
    if module.startswith(ALLOWED_MODULES):
        try:
            found = getattr(importlib.import_module(module), attribute)
        except (ImportError, AttributeError):
            raise UserError(f"{path}: made with classes that openpifpaf 0.13.11 does not have: {name}") from None
        if isinstance(found, type) and (issubclass(found, torch.nn.Module) or _describes_head(found)):
            return found
    raise UserError(f"{path}: refused, it would run code: it names {name}, which no pose network needs")


def _describes_head(found: type) -> bool:
    return dataclasses.is_dataclass(found) and issubclass(found, openpifpaf.headmeta.Base)


def set_thresholds(
    seed: float = 0.2, cif: float = 0.3, caf: float = 0.3, keypoint: float = 0.15, instance: float = 0.15,
    force_complete: bool = False,
) -> None:  # fmt: skip
    """Set the CifCaf decoder's thresholds, which hold for the whole process; the defaults are OpenPifPaf's.

    Confidence 0..1: a seed joint that starts a person, field cells that count as joints (cif) and as connections (caf),
    a joint, a whole person. force_complete: guess the joints that were not found.
    """
    utils = openpifpaf.decoder.utils
    utils.CifSeeds.set_threshold(seed)
    utils.CifHr.set_threshold(cif)
    utils.CafScored.set_default_score_th(caf)
    decoder = torch.classes.openpifpaf_decoder.CifCaf
    decoder.set_keypoint_threshold(0.0 if force_complete else keypoint)
    decoder.set_force_complete(force_complete)
    utils.nms.Keypoints.set_keypoint_threshold(0.0 if force_complete else keypoint)
    utils.nms.Keypoints.set_instance_threshold(instance)


class PifPafDecoder:
    """decoder(decoder.fields(images (B, 3, H, W))) -> per image a list of annotations, whose `data` is (K, 3) x, y,
    confidence.

    Every image gets a C++ decoder of its own (0.3 ms): one that is kept adds each image on top of a growing count
    instead of clearing its buffer, so float32 rounding makes a result depend on how many images came before it.
    """

    def __init__(self, network: openpifpaf.network.nets.Shell):
        """Raises UserError unless the network's heads are one CIF and one CAF."""
        found = openpifpaf.decoder.CifCaf.factory(network.head_metas)
        if len(found) != 1:
            names = ", ".join(type(meta).__name__ for meta in network.head_metas)
            raise UserError(f"pose weights must have the heads Cif, Caf; found {names}")
        self.network, self.cifcaf = network, found[0]
        self._traced = Traced(network)

    def fields(self, images: torch.Tensor) -> list:
        """Run the network: per image its heads' fields, on the CPU. From any thread, one at a time gets in."""
        return self.cifcaf.fields_batch(self._traced, images)

    def __call__(self, fields_of_images: list) -> list[list]:
        """People of each image's fields."""
        cif, caf = self.cifcaf.cif_metas[0], self.cifcaf.caf_metas[0]
        skeleton = torch.LongTensor(caf.skeleton) - 1
        people = []
        with _silent_stdout():
            for fields in fields_of_images:
                self.cifcaf.cpp_decoder = torch.classes.openpifpaf_decoder.CifCaf(len(cif.keypoints), skeleton)
                people.append(self.cifcaf(fields))
        return people


@contextmanager
def _silent_stdout() -> Iterator[None]:
    """Send to nowhere what C++ prints meanwhile: it announces each new buffer, with a path of its build."""
    sys.stdout.flush()
    kept, nowhere = os.dup(1), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    try:
        yield
    finally:
        ctypes.CDLL(None).fflush(None)  # what C++ holds back must go before stdout comes back
        os.dup2(kept, 1)
        os.close(kept)
        os.close(nowhere)
