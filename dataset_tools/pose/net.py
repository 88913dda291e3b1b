"""A small fully convolutional network for OpenPifPaf that a CPU can train in minutes and run in milliseconds.

Dense 3x3 residual blocks down to stride 16 give context, and a merge back to stride 8 gives precision. Dense convolutions are
faster than ShuffleNet's depthwise ones here, because they make full use of a CPU's vector units. Resampling with
align_corners=True maps OpenPifPaf's grids of 16n+1 pixels exactly onto each other.
"""

from pathlib import Path

import torch
from openpifpaf import BASE_FACTORIES, BASE_TYPES, headmeta
from openpifpaf.network import Factory
from openpifpaf.network.basenetworks import BaseNetwork
from openpifpaf.network.nets import Shell
from openpifpaf.plugins.coco import constants as coco
from torch import Tensor, nn
from torch.nn import functional as F

from dataset_tools.lib.core.errors import Unreadable, UserError
from dataset_tools.lib.core.limits import printable
from dataset_tools.lib.core.tensor_file import read_tensors
from dataset_tools.pose import pifpaf_compat  # noqa: F401 - quiet import of openpifpaf

BASE_NAME = "densefpn"
FORMAT = "pose_net 1"
HARD_JOINTS = {"elbow": 1.7, "wrist": 2.5}  # loss weights of joints that are thin, fast and often in front of the body


def conv(
    inputs: int, outputs: int, kernel: int = 3, stride: int = 1, dilation: int = 1, relu: bool = True
) -> nn.Module:
    """Convolution that keeps grids of 16n+1 pixels, batch norm and, with `relu`, ReLU."""
    padding = (kernel - 1) // 2 * dilation
    layers = [nn.Conv2d(inputs, outputs, kernel, stride, padding, dilation, bias=False), nn.BatchNorm2d(outputs)]
    return nn.Sequential(*layers, *([nn.ReLU(inplace=True)] if relu else []))


class Residual(nn.Module):
    """Residual block of two 3x3 convolutions, (B, C, H, W) -> (B, C, H, W)."""

    def __init__(self, channels: int, dilation: int = 1):
        super().__init__()
        self.body = nn.Sequential(
            conv(channels, channels, dilation=dilation), conv(channels, channels, dilation=dilation, relu=False)
        )

    def forward(self, x: Tensor) -> Tensor:
        """(B, channels, H, W) -> (B, channels, H, W)."""
        return F.relu(x + self.body(x), inplace=True)


class DenseFPN(BaseNetwork):
    """Images (B, 3, 16n+1, 16m+1) -> features (B, 128, 2n+1, 2m+1), stride 8; 0.95 M parameters with its heads."""

    def __init__(self, name: str = BASE_NAME):
        super().__init__(name, stride=8, out_features=128)
        self.stem = nn.Sequential(conv(3, 16, stride=2), conv(16, 32, stride=2))
        self.stride8 = nn.Sequential(conv(32, 64, stride=2), Residual(64))
        self.stride16 = nn.Sequential(conv(64, 96, stride=2), *(Residual(96, dilation) for dilation in (1, 1, 2, 1)))
        self.fine = conv(64, 128, kernel=1, relu=False)
        self.coarse = conv(96, 128, kernel=1, relu=False)
        self.merge = nn.Sequential(nn.ReLU(inplace=True), conv(128, 64, kernel=1), conv(64, 128))

    def forward(self, x: Tensor) -> Tensor:
        """Features (B, 128, 2n+1, 2m+1) of images x (B, 3, 16n+1, 16m+1)."""
        fine = self.stride8(self.stem(x))
        coarse = self.coarse(self.stride16(fine))
        coarse = F.interpolate(coarse, size=fine.shape[2:], mode="bilinear", align_corners=True)
        return self.merge(self.fine(fine) + coarse)


BASE_TYPES.add(DenseFPN)
BASE_FACTORIES[BASE_NAME] = DenseFPN


def head_metas() -> list[headmeta.Base]:
    """New descriptions of the two COCO heads (17 joints, 19 connections), with higher weights for elbows and wrists."""
    weight = [next((w for part, w in HARD_JOINTS.items() if part in name), 1.0) for name in coco.COCO_KEYPOINTS]
    shared = {
        "dataset": "cocokp",
        "keypoints": coco.COCO_KEYPOINTS,
        "sigmas": coco.COCO_PERSON_SIGMAS,
        "pose": coco.COCO_UPRIGHT_POSE,
    }
    cif = headmeta.Cif(
        "cif",
        draw_skeleton=coco.COCO_PERSON_SKELETON,
        score_weights=coco.COCO_PERSON_SCORE_WEIGHTS,
        training_weights=weight,
        **shared,
    )
    caf = headmeta.Caf("caf", skeleton=coco.COCO_PERSON_SKELETON, **shared)
    caf.training_weights = [max(weight[a - 1], weight[b - 1]) for a, b in coco.COCO_PERSON_SKELETON]
    return [cif, caf]


def new_network() -> Shell:
    """DenseFPN with its heads, initialised by torch's random generator. Its `head_metas` have their strides."""
    Factory.base_name, Factory.checkpoint = BASE_NAME, None
    network, _ = Factory().factory(head_metas=head_metas())
    return network


def save_network(network: Shell, path: Path, **about: str | float | dict) -> None:
    """Write the state dict (floats as float16) and further plain values `about` it."""
    state = {k: v.half() if v.is_floating_point() else v for k, v in network.state_dict().items()}
    torch.save({"format": FORMAT, "base": BASE_NAME, **about, "state_dict": state}, path)


def load_network(path: Path) -> tuple[Shell, dict]:
    """(network of a file of `save_network` in evaluation mode, the values `about` it).

    Raises UserError for a missing file and for another format. No code of the file runs.
    """
    if not path.exists():
        raise UserError(f"{path}: pose weights not found")
    try:
        content = dict(read_tensors(path))
        if content.get("format") != FORMAT:
            raise UserError(f"{path}: format must be '{FORMAT}', found '{printable(content.get('format'))}'")
        network = new_network()
        network.load_state_dict(dict(content.pop("state_dict")))
    except Unreadable as err:
        raise UserError(f"{path}: not pose weights: {err.reason}") from None
    except UserError:
        raise
    except Exception as err:  # noqa: BLE001 - torch may raise anything on a damaged file
        raise UserError(f"{path}: not pose weights: {str(err).splitlines()[0]}") from None
    return network.eval(), content
