"""OpenPifPaf 0.13.11 with current PyTorch: import it and load its published checkpoints through this module.

That release was made for torch 1.13:

* Its metadata pins torch 1.13, so pyproject.toml overrides the pin and builds its C++ decoder against ours.
* It calls `matplotlib.cm.get_cmap`, which was removed in 3.9, so pyproject.toml has `matplotlib<3.9`.
* Its checkpoints (`*.pkl`) are pickled networks. torch >= 2.6 refuses to load them, because a pickle can run any code.
  `load_checkpoint` reads them safely, with torch's restricted unpickler, which allows only layer classes, OpenPifPaf's
  descriptions of its heads, and plain arrays.

The import takes several seconds, so only code that estimates poses imports this module.
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
from dataset_tools.pose.traced import TracedNetwork

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
    """The network of a checkpoint in OpenPifPaf's own format, in evaluation mode on the CPU. No code of the file runs.

    Raises UserError for a missing file, another format, and a file that refers to anything but layers, head descriptions and
    arrays.
    """
    path = Path(path)
    if not path.exists():
        raise UserError(f"{path}: pose weights not found")
    try:
        content = read_tensors(path, allow=lambda name: _resolve_class(name, path))
    except Unreadable as err:
        raise UserError(f"{path}: not an OpenPifPaf checkpoint: {err.reason}") from None
    network = content.get("model") if isinstance(content, dict) else None
    if not isinstance(network, openpifpaf.network.nets.Shell):
        raise UserError(f"{path}: not an OpenPifPaf checkpoint: no network under 'model'")
    try:
        model_migration.model_migration(network)
        return network.eval()
    except Exception as err:  # noqa: BLE001 - the layers in the file may be in any state
        raise UserError(
            f"{path}: not an OpenPifPaf checkpoint: its network lacks parts ({type(err).__name__})"
        ) from None


def _resolve_class(name: str, path: Path):
    """The class called `name` in a pickle. Raises UserError for anything that a network does not consist of."""
    if name in ARRAY_GLOBALS:
        return ARRAY_GLOBALS[name]
    module, _, attribute = name.rpartition(".")
    if module.startswith(ALLOWED_MODULES):
        try:
            found = getattr(importlib.import_module(module), attribute)
        except (ImportError, AttributeError):
            raise UserError(f"{path}: made with classes that openpifpaf 0.13.11 does not have: {name}") from None
        if isinstance(found, type) and (issubclass(found, torch.nn.Module) or _is_head_description(found)):
            return found
    raise UserError(f"{path}: refused, it would run code: it names {name}, which no pose network needs")


def _is_head_description(found: type) -> bool:
    return dataclasses.is_dataclass(found) and issubclass(found, openpifpaf.headmeta.Base)


def set_thresholds(
    seed: float = 0.2, cif: float = 0.3, caf: float = 0.3, keypoint: float = 0.15, instance: float = 0.15,
    force_complete: bool = False,
) -> None:  # fmt: skip
    """Set the thresholds of the CifCaf decoder for the whole process. The defaults are OpenPifPaf's.

    Confidences, 0..1: seed, for a joint that starts a person; cif and caf, for field cells that count as joints and connections;
    keypoint, for a joint; instance, for a person.
    force_complete: guess missing joints.
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
    """decoder(decoder.fields(images)), images (B, 3, H, W) -> for each image a list of annotations, whose `data` is (K, 3): x, y,
    confidence.

    A new C++ decoder is created for every image (0.3 ms). A reused one does not clear its buffer but adds each image to it, so that
    by float32 rounding a result would depend on the number of images before it.
    """

    def __init__(self, network: openpifpaf.network.nets.Shell, device: str = "cpu"):
        """device: where the network is. Raises UserError unless the network has one CIF and one CAF head."""
        found = openpifpaf.decoder.CifCaf.factory(network.head_metas)
        if len(found) != 1:
            names = ", ".join(type(meta).__name__ for meta in network.head_metas)
            raise UserError(f"pose weights must have the heads Cif, Caf; found {names}")
        self.network, self.cifcaf, self._device = network, found[0], device
        self._traced = TracedNetwork(network)

    def fields(self, images: torch.Tensor) -> list:
        """Run the network. Returns the fields of its heads for each image, on the CPU. Thread-safe."""
        return self.cifcaf.fields_batch(self._traced, images, device=self._device)

    def __call__(self, fields_of_images: list) -> list[list]:
        """Decode the fields of each image to people."""
        cif, caf = self.cifcaf.cif_metas[0], self.cifcaf.caf_metas[0]
        skeleton = torch.LongTensor(caf.skeleton) - 1
        people = []
        with _silence_stdout():
            for fields in fields_of_images:
                self.cifcaf.cpp_decoder = torch.classes.openpifpaf_decoder.CifCaf(len(cif.keypoints), skeleton)
                people.append(self.cifcaf(fields))
        return people


@contextmanager
def _silence_stdout() -> Iterator[None]:
    """Discard the output of C++ code to stdout: it announces each new buffer, with a path from its build."""
    sys.stdout.flush()
    kept, nowhere = os.dup(1), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    try:
        yield
    finally:
        ctypes.CDLL(None).fflush(None)  # flush C++'s buffers before stdout is restored
        os.dup2(kept, 1)
        os.close(kept)
        os.close(nowhere)
