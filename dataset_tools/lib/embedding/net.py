"""The demo's own embedding of sound: a small network that learnt genres of rendered songs. Of no use on real music."""

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
    """Log-mel patches (N, 1, 96, 64) -> embeddings (N, 16); `genre` scores (N, genres) are for training only."""

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
        """The embeddings (B, DIMENSIONS) of log-mel patches."""
        x = self.layers(patches / 3)  # a log-mel value lies about within -5..5
        return self.project(x.mean(2).flatten(1))  # time is averaged, the four bands are kept


def save_embedding(path: Path, net: EmbeddingNet, genres: list[str]) -> None:
    """Write the network and the genres it learnt, complete or absent."""
    with atomic_write(path) as temporary:
        torch.save({"kind": KIND, "genres": genres, "net": net.state_dict()}, temporary)


def load_embedding(path: Path) -> EmbeddingNet:
    """The network of such a file, on the CPU, evaluating and not to be trained. UserError for any other file."""
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
