"""What all loaders share: read tensors from a file without running code, recognise what they are, and load them into a network."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from torch import nn

from dataset_tools.lib.core import tensor_file
from dataset_tools.lib.core.errors import UserError
from dataset_tools.lib.core.limits import printable

N = TypeVar("N", bound=nn.Module)
WRAPPINGS = ("model", "state_dict")
"""Keys under which training programs store the state dict, beside other values."""
PREFIX = "module."  # of every name in a network that was saved inside torch's DataParallel
# Training programs store numpy scalars, such as scores, beside the weights. In pickles their type has two names, by numpy's version.
NUMPY_NUMBERS = {"numpy.dtype": np.dtype} | {
    f"numpy.{core}.multiarray.scalar": np._core.multiarray.scalar  # type: ignore[attr-defined]  # numpy's stubs leave it out
    for core in ("core", "_core")
}

# (pattern of a tensor's name that only this kind of file has, kind). The first match counts.
KINDS: tuple[tuple[str, str], ...] = (
    (r"features\.0\.weight", "a VGGish network"),
    (r"pca_eigen_vectors", "VGGish's PCA, not its network"),
    (r"encoders\.0\.level_blocks\.", "a JukeBox VQ-VAE"),
    (r"Conv3d_1a_7x7\.|conv3d_1a_7x7\.", "an I3D network"),
    (r"model\.disc_0\.", "D2M-GAN's discriminators"),
    (r"lin1\.weight", "D2M-GAN's motion encoder"),
    (r"fc\.weight", "D2M-GAN's low-level generator"),
    (r"lin\.weight", "D2M-GAN's high-level generator"),
    (r"prior\.|x_emb\.|y_emb\.", "a JukeBox prior"),
)


def read_tensors(path: Path, expected: str) -> dict[str, torch.Tensor]:
    """The state dict of a file of torch.save (zip or older), on the CPU: the whole content, or under 'model' or 'state_dict'.

    If all names begin with `module.`, this prefix is removed. expected: what the caller wants, for the error messages.
    Raises UserError for a file that is missing, unreadable, needs code to be read, or holds no state dict, and for tensors that
    are not finite plain numbers.
    """
    try:
        # expanded tensors are allowed, because `fit` checks the shapes
        content = tensor_file.read_tensors(path, allow=NUMPY_NUMBERS.get, expanded=True)
    except UserError as err:
        raise UserError(f"{err}; expected {expected}") from None
    if isinstance(content, dict):
        content = next((content[key] for key in WRAPPINGS if isinstance(content.get(key), dict)), content)
        if content and all(
            isinstance(name, str) and isinstance(value, torch.Tensor) for name, value in content.items()
        ):
            parallel = all(name.startswith(PREFIX) for name in content)
            return {name.removeprefix(PREFIX) if parallel else name: value for name, value in content.items()}
    raise UserError(f"{path}: this is {describe(content)}; expected {expected}")


def describe(content: object) -> str:
    """What a file's content is, in a few words that can follow 'this is'."""
    if not isinstance(content, dict):
        return f"a {type(content).__name__}, not a state dict"
    names = [name if isinstance(name, str) else f"a {type(name).__name__}" for name in content]
    if "param_groups" in content:
        return "the state of an optimizer, not of a network"
    if content.get("format") in ("d2m-checkpoint", "d2m-i3d 1"):
        return f"a checkpoint of this project ({printable(content.get('kind', 'i3d'))}), not a published one"
    for pattern, kind in KINDS:
        if any(re.match(pattern, name) for name in names):
            return kind
    return f"a dict of unknown layout; its first keys are {printable(', '.join(names[:3])) or 'none'}"


def fit(net: N, tensors: dict[str, torch.Tensor], path: Path, expected: str, name_of: Callable[[str], str] = str) -> N:
    """Load `tensors` into `net` (which may be on the meta device) and return it, in evaluation mode, without gradients.

    name_of: maps our name of a tensor to the file's. All names and shapes must agree; any floating dtype becomes float32.
    Raises UserError that says what the file is, what is wrong with it and what was expected.
    """
    shapes = {name_of(name): tuple(value.shape) for name, value in net.state_dict().items()}
    wrong = [f"lacks {name}" for name in shapes if name not in tensors]
    wrong += [f"has {name}, which is no part of it" for name in tensors if name not in shapes]
    wrong += [
        f"has {name} of shape {tuple(tensors[name].shape)}, not {shape}"
        for name, shape in shapes.items()
        if name in tensors and tuple(tensors[name].shape) != shape
    ]
    wrong += [
        f"has {name} of {value.dtype}, not of a float type"
        for name, value in tensors.items()
        if not value.is_floating_point()
    ]
    if wrong:
        more = f" (and {len(wrong) - 1} more)" if len(wrong) > 1 else ""
        raise UserError(
            f"{path}: this is {describe(tensors)} of {len(tensors)} tensors; expected {expected}, but it {wrong[0]}{more}"
        )
    ours = {name: tensors[name_of(name)].float().contiguous() for name in net.state_dict()}
    net.load_state_dict(ours, strict=True, assign=True)
    return net.eval().requires_grad_(False)
