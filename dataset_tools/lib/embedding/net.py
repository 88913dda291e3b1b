"""The demo's own audio embedding: a small network trained to classify the genres of synthesised songs. Of no use for real music."""

from pathlib import Path

import torch
from torch import nn

from dataset_tools.lib.core.atomic import atomic_write
from dataset_tools.lib.core.errors import Unreadable, UserError
from dataset_tools.lib.core.tensor_file import read_tensors

KIND = "d2m embedding 1"
WIDTHS = (16, 32, 48, 64)
DIMENSIONS = 16


class EmbeddingNet(nn.Module):
    """Log-mel patches (N, 1, 96, 64) -> embeddings (N, 16). The layer `genre` gives scores (N, genres) and is used in training only."""

    def __init__(self, genres: int):
        super().__init__()
        layers, before = [], 1
        for width in WIDTHS:
            layers += [nn.Conv2d(before, width, 3, 2, 1, bias=False), nn.BatchNorm2d(width), nn.ReLU()]
            before = width
        self.layers = nn.Sequential(*layers)
        self.project = nn.Sequential(nn.Linear(before * 4, DIMENSIONS), nn.BatchNorm1d(DIMENSIONS, affine=False))
        self.genre = nn.Linear(DIMENSIONS, genres)

    def forward(self, patches: torch.Tensor) -> torch.Tensor:
        """Embeddings (N, DIMENSIONS) of log-mel patches (N, 1, 96, 64)."""
        x = self.layers(patches / 3)  # log-mel values are roughly in -5..5
        return self.project(x.mean(2).flatten(1))  # mean over time; the four bands stay


def save_embedding(path: Path, net: EmbeddingNet, genres: list[str]) -> None:
    """Write the network and its genres atomically."""
    with atomic_write(path) as temporary:
        torch.save({"kind": KIND, "genres": genres, "net": net.state_dict()}, temporary)


def load_embedding(path: Path) -> EmbeddingNet:
    """The network in a file of `save_embedding`: on the CPU, in evaluation mode, without gradients. Raises UserError for other files."""
    try:
        content = read_tensors(path)
        if not isinstance(content, dict) or content.get("kind") != KIND:
            raise UserError(
                f"{path}: not the demo's embedding; train it with python -m dataset_tools.demo.train_embedding"
            )
        net = EmbeddingNet(len(content["genres"]))
        net.load_state_dict(dict(content["net"]))
    except Unreadable as err:
        raise UserError(
            f"{path}: can't be read as the demo's embedding ({err.reason}); restore it from the clone"
        ) from None
    except (AttributeError, LookupError, RuntimeError, TypeError, ValueError) as err:
        if isinstance(err, UserError):
            raise
        reason = str(err).splitlines()[0][:120] if str(err) else type(err).__name__
        raise UserError(
            f"{path}: can't be read as the demo's embedding ({reason}); restore it from the clone"
        ) from None
    return net.eval().requires_grad_(False)
