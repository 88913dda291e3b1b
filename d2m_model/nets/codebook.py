"""Vector-quantisation codebook learned by exponential moving averages with random restarts (JukeBox, section 3.2)."""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import nn


class Quantised(NamedTuple):
    """The result of quantising latents."""

    codes: torch.Tensor
    """(B, L) int64: index of the nearest entry."""
    vectors: torch.Tensor
    """(B, width, L): the nearest entries; the gradient passes straight through to the input."""
    commit: torch.Tensor
    """Scalar: mean squared distance from the input to its entries; the gradient reaches the input only."""


class Codebook(nn.Module):
    """`k` (bins, width): the entries. It is the only tensor in the state dict, as in JukeBox.

    Learning keeps moving averages of how many vectors are nearest to each entry (`k_elem`) and of their sum (`k_sum`). An entry
    with fewer than `dead_code_threshold` vectors is moved to a random vector of the batch. No gradient reaches `k`.
    """

    k: torch.Tensor
    k_sum: torch.Tensor
    k_elem: torch.Tensor

    def __init__(self, bins: int, width: int, *, decay: float = 0.99, dead_code_threshold: float = 1.0):
        super().__init__()
        self.decay, self.dead_code_threshold = decay, dead_code_threshold
        self.register_buffer("k", torch.zeros(bins, width))
        self.register_buffer("k_sum", torch.zeros(bins, width), persistent=False)
        self.register_buffer("k_elem", torch.zeros(bins), persistent=False)

    @property
    def bins(self) -> int:
        """Number of entries."""
        return len(self.k)

    def nearest(self, x: torch.Tensor) -> torch.Tensor:
        """Indices (N,) of the entries nearest to the vectors x (N, width), by Euclidean distance; of equal ones the first."""
        # |x - k|^2 without |x|^2, which is the same for every entry.
        return (self.k.square().sum(1) - 2 * x @ self.k.T).argmin(1)

    def embed(self, codes: torch.Tensor) -> torch.Tensor:
        """Entries (B, width, L) of codes (B, L)."""
        return F.embedding(codes, self.k).transpose(1, 2)

    def forward(self, z: torch.Tensor) -> Quantised:
        """Quantise z (B, width, L); the entries stay as they are."""
        x = z.transpose(1, 2).reshape(-1, z.shape[1])
        with torch.no_grad():
            codes = self.nearest(x).view(z.shape[0], z.shape[2])
        entries = self.embed(codes)
        commit = F.mse_loss(z, entries)
        return Quantised(codes, z + (entries - z).detach(), commit)

    @torch.no_grad()
    def initialise(self, z: torch.Tensor, rng: torch.Generator) -> None:
        """Move every entry to a random vector of z (B, width, L)."""
        self.k.copy_(self._draw(z.transpose(1, 2).reshape(-1, z.shape[1]), rng))
        self.k_sum.copy_(self.k)
        self.k_elem.fill_(1.0)

    @torch.no_grad()
    def update_entries(self, z: torch.Tensor, codes: torch.Tensor, rng: torch.Generator) -> dict[str, torch.Tensor]:
        """One moving-average step on the vectors z (B, width, L) and their codes (B, L).

        rng: CPU generator for the restarts. Returns `used` (entries with at least one vector in this batch), `entropy`
        (nats, of the codes in this batch) and `revived` (restarted entries).
        """
        x, flat = z.transpose(1, 2).reshape(-1, z.shape[1]), codes.reshape(-1)
        counts = torch.bincount(flat, minlength=self.bins).to(x)
        sums = torch.zeros_like(self.k).index_add_(0, flat, x)
        self.k_sum.lerp_(sums, 1 - self.decay)
        self.k_elem.lerp_(counts, 1 - self.decay)
        alive = (self.k_elem >= self.dead_code_threshold)[:, None]
        means = self.k_sum / self.k_elem.clamp(min=1e-12)[:, None]
        self.k.copy_(torch.where(alive, means, self._draw(x, rng)))
        share = counts / counts.sum()
        return {
            "used": (counts > 0).sum(),
            "entropy": torch.special.entr(share).sum(),
            "revived": (~alive).sum(),
        }

    def learning_state(self) -> dict[str, torch.Tensor]:
        """The moving averages, which are not in the state dict."""
        return {"k_sum": self.k_sum, "k_elem": self.k_elem}

    def load_learning_state(self, state: dict[str, torch.Tensor]) -> None:
        """Set the moving averages to a result of `learning_state`."""
        self.k_sum.copy_(state["k_sum"])
        self.k_elem.copy_(state["k_elem"])

    def restore_averages(self, tokens: int) -> None:
        """Set the moving averages of a codebook that was loaded without them, as if each batch had `tokens` vectors, evenly spread."""
        self.k_elem.fill_(tokens / self.bins)
        self.k_sum.copy_(self.k * (tokens / self.bins))

    def _draw(self, x: torch.Tensor, rng: torch.Generator) -> torch.Tensor:
        """(bins, width): random distinct rows of x (N, width); where N is less than bins, rows repeat with a little noise."""
        if len(x) < self.bins:
            x = x.repeat(-(-self.bins // len(x)), 1)
            x = x + torch.randn(x.shape, generator=rng).to(x) * 0.01 / x.shape[1] ** 0.5
        return x[torch.randperm(len(x), generator=rng)[: self.bins].to(x.device)]
