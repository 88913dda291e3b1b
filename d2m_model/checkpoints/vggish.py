"""VGGish (Hershey et al., 2017), the embedding of the Fréchet audio distance, from the PyTorch conversion torchvggish."""

from itertools import pairwise
from pathlib import Path

import torch
from torch import nn

from d2m_model.checkpoints.foreign_file import fit, read_tensors

CHANNELS = ((64,), (128,), (256, 256), (512, 512))
"""Output channels of the convolutions before each of the four poolings."""
EXPECTED = "torchvggish's VGGish: a state dict of 18 tensors, features.* and embeddings.*"


class VGGish(nn.Module):
    """Log-mel patches of 0.96 s to embeddings. Attributes have the names of the checkpoint."""

    def __init__(self):
        super().__init__()
        layers, before = [], 1
        for group in CHANNELS:
            for channels in group:
                layers += [nn.Conv2d(before, channels, 3, padding=1), nn.ReLU()]
                before = channels
            layers.append(nn.MaxPool2d(2))
        self.features = nn.Sequential(*layers)
        sizes = (before * 6 * 4, 4096, 4096, 128)
        self.embeddings = nn.Sequential(*(layer for a, b in pairwise(sizes) for layer in (nn.Linear(a, b), nn.ReLU())))

    def forward(self, patches: torch.Tensor) -> torch.Tensor:
        """(N, 1, 96, 64) float32 -> (N, 128), at least 0, because the last ReLU belongs to the embedding.

        patches: 96 frames of 10 ms by 64 HTK mel bands over 125..7500 Hz, log(x + 0.01), of 16 kHz audio.
        """
        # The original network has channels last, and its first Linear reads a patch in this order.
        return self.embeddings(self.features(patches).permute(0, 2, 3, 1).flatten(1))


def load_vggish(path: str | Path) -> VGGish:
    """The network of a torchvggish file, on the CPU, in evaluation mode, without gradients. Runs no code from the file.

    It maps (N, 1, 96, 64) to (N, 128), without a PCA. Raises UserError for a missing or unreadable file and for another network;
    it says what the file is and what was expected.
    """
    path = Path(path)
    with torch.device("meta"):
        net = VGGish()
    return fit(net, read_tensors(path, EXPECTED), path, EXPECTED)
