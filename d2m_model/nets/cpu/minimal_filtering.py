"""Convolutions with fewer multiplications, for a CPU: minimal filtering (Winograd, 1980; Lavin and Gray, 2016).

N input samples give S = N - k + 1 outputs of a kernel with k taps as A [(G w) ⊙ (B x)]: one multiplication per row of B
instead of k per output, and the same result up to rounding. Over channels, ⊙ is a matrix product, so B and G are applied once
per channel. Short kernels use the points of Toom and Cook, 0, ±1, ±2, ±1/2, ∞, with N = 8 (k = 3: 1.33 multiplications per
output). Long kernels use the Fourier transform with N = 64, three real multiplications per frequency (k = 41: 3.96).

x is stored as rows (B, L, C), one per time step. So for any dilation a piece consists of whole rows, and the products are of
large matrices. The (B, C, L) outside is a view of the rows; matrix products and element-wise operations keep this layout.
"""

from functools import lru_cache
from typing import NamedTuple

import numpy as np
import torch

from d2m_model.nets.cpu.matrix_product import product, products

POINTS = (0.0, 1.0, -1.0, 2.0, -2.0, 0.5, -0.5)  # and infinity
SHORT, LONG = (3, 4, 5), range(32, 49)
FOURIER = 64  # samples


class Filtered(torch.autograd.Function):
    """The convolution of a `TilePlan`. Its gradients are the same products, transposed."""

    @staticmethod
    def forward(ctx, x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor, plan: "TilePlan") -> torch.Tensor:
        """x (B, C, L), weight (O, C, k) and bias (O,) to rows (B · outputs, O)."""
        pieces, taps = plan.pieces(x), transformed(weight)
        ctx.save_for_backward(pieces, taps)
        ctx.plan = plan
        return filtered(pieces, taps, bias, plan)

    @staticmethod
    def backward(ctx, onto: torch.Tensor):
        """Gradients of x, weight and bias from the gradient of the rows, (B · outputs, O)."""
        (pieces, taps), plan = ctx.saved_tensors, ctx.plan
        (_, outputs, channels), of_weight = taps.shape, matrices(plan.kernel)[2]
        seen = plan.spread(onto)
        of_taps = products(seen.transpose(1, 2), pieces.transpose(1, 2)).view(len(taps), -1)
        weight = product(of_weight.T, of_taps.T).view(-1, outputs, channels).permute(1, 2, 0)
        x = plan.overlapped(products(seen, taps.transpose(1, 2))) if ctx.needs_input_grad[0] else None
        return x, weight, onto.sum(0), None


def filtered(pieces: torch.Tensor, taps: torch.Tensor, bias: torch.Tensor, plan: "TilePlan") -> torch.Tensor:
    """Rows (B · outputs, O) from `TilePlan.pieces` (R, P, C) and `transformed` taps (R, O, C)."""
    return plan.joined(products(pieces, taps)).add_(bias)


def transformed(weight: torch.Tensor) -> torch.Tensor:
    """G w: a weight (O, C, k) in the transformed domain, (R, O, C)."""
    outputs, channels, kernel = weight.shape
    return product(matrices(kernel)[2], weight.reshape(-1, kernel)).view(-1, outputs, channels)


class TilePlan(NamedTuple):
    """How a convolution of x (B, C, L) is cut into P pieces, each with S outputs that are `dilation` apart."""

    batch: int
    channels: int
    length: int
    kernel: int
    dilation: int = 1
    mirrored: int = 0
    """Samples of reflection padding on either side."""

    @property
    def outputs(self) -> int:
        """Length of the convolution's output."""
        return self.length + 2 * self.mirrored - (self.kernel - 1) * self.dilation

    @property
    def tiles(self) -> int:
        """Pieces along the length, for each of the `dilation` offsets."""
        return -(-self.outputs // (len(matrices(self.kernel)[0]) * self.dilation))

    def pieces(self, x: torch.Tensor) -> torch.Tensor:
        """B x: (R, P, C), where P runs over batch, tiles and offsets."""
        into = matrices(self.kernel)[1]
        found = x.transpose(1, 2).flatten(0, 1).index_select(0, places(self)[0])
        return (into @ found.view(into.shape[1], -1)).view(len(into), -1, self.channels)

    def joined(self, made: torch.Tensor) -> torch.Tensor:
        """A m: m (R, P, O) to rows (B · outputs, O)."""
        y = (matrices(self.kernel)[0] @ made.view(len(made), -1)).view(-1, made.shape[2])
        return y.index_select(0, places(self)[1])

    def spread(self, onto: torch.Tensor) -> torch.Tensor:
        """The transpose of `joined`."""
        back, (_, _, origins, beyond) = matrices(self.kernel)[0], places(self)
        y = onto.index_select(0, origins).index_fill_(0, beyond, 0)
        return (back.T @ y.view(len(back), -1)).view(back.shape[1], -1, onto.shape[1])

    def overlapped(self, onto: torch.Tensor) -> torch.Tensor:
        """The transpose of `pieces`."""
        (back, into, _), mirrored, end = matrices(self.kernel), self.mirrored, self.mirrored + self.length
        step, taken = len(back), into.shape[1]
        found = (
            (into.T @ onto.view(len(into), -1))
            .view(taken, self.batch, self.tiles, self.dilation, self.channels)
            .permute(1, 2, 0, 3, 4)
        )
        further = -(-taken // step) - 1  # following tiles that a piece overlaps
        x = found.new_empty(self.batch, self.tiles + further, step, self.dilation, self.channels)
        x[:, : self.tiles], x[:, self.tiles :] = found[:, :, :step], 0
        for ahead in range(1, further + 1):
            part = found[:, :, ahead * step : (ahead + 1) * step]
            x[:, ahead : ahead + self.tiles, : part.shape[2]] += part
        x = x.view(self.batch, -1, self.channels)
        if mirrored:
            x[:, mirrored + 1 : 2 * mirrored + 1] += x[:, :mirrored].flip(1)
            x[:, end - 1 - mirrored : end - 1] += x[:, end : end + mirrored].flip(1)
        return x[:, mirrored:end].transpose(1, 2)


@lru_cache(maxsize=256)
def places(plan: TilePlan) -> tuple[torch.Tensor, ...]:
    """Four index tensors: the row of x for each sample of each piece; the piece's output for each output; the output for each
    piece's output; and the pieces' outputs beyond the end, which are no outputs."""
    back, into, _ = matrices(plan.kernel)
    with torch.inference_mode(False):
        batch, tile, between = torch.meshgrid(
            *(torch.arange(n) for n in (plan.batch, plan.tiles, plan.dilation)), indexing="ij"
        )
        first = tile * len(back) * plan.dilation + between
        time = first + torch.arange(into.shape[1]).view(-1, 1, 1, 1) * plan.dilation
        of_x = plan.length - 1 - (plan.length - 1 - (time - plan.mirrored).abs()).abs()
        taken = (batch * plan.length + of_x.clamp(min=0)).flatten()
        time, whose = time[: len(back)], batch.expand(len(back), -1, -1, -1)
        beyond = (time >= plan.outputs).flatten()
        origins = (whose * plan.outputs + time.clamp(max=plan.outputs - 1)).flatten()
        inside = (~beyond).nonzero()[:, 0]
        return taken, inside[origins[inside].argsort()], origins, beyond.nonzero()[:, 0]


@lru_cache
def matrices(kernel: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """A (S, R), B (R, N) and G (R, k) for a kernel of k taps."""
    found = _toom_cook(kernel) if kernel in SHORT else _fourier(kernel)
    with torch.inference_mode(False):  # the cached tensors serve training, too
        back, into, of_weight = (torch.from_numpy(np.ascontiguousarray(m, np.float32)) for m in found)
        return back, into, of_weight


def _toom_cook(kernel: int) -> tuple[np.ndarray, ...]:
    """Multiply polynomials by their values at `POINTS`; B follows from A, G and the definition of a convolution."""
    taken = len(POINTS) + 1
    step = taken - kernel + 1
    back = np.vander([*POINTS, 0], step, increasing=True).T
    of_weight = np.vander([*POINTS, 0], kernel, increasing=True)
    back[:, -1], of_weight[-1] = np.eye(step)[-1], np.eye(kernel)[-1]  # at infinity only the highest power counts
    products = np.einsum("sr,rj->sjr", back, of_weight).reshape(step * kernel, taken)
    wanted = np.array([np.eye(taken)[s + j] for s in range(step) for j in range(kernel)])  # y[s] = Σ w[j] x[s + j]
    return back, np.linalg.lstsq(products, wanted, rcond=None)[0], of_weight


def _fourier(kernel: int) -> tuple[np.ndarray, ...]:
    """Multiply spectra, (a + ib)(c + id) from ac, bd and (a + b)(c + d)."""
    time, back, into, of_weight = np.arange(FOURIER), [], [], []
    for frequency in range(FOURIER // 2 + 1):
        real, imaginary = (f(2 * np.pi * frequency * time / FOURIER) for f in (np.cos, np.sin))
        if frequency in (0, FOURIER // 2):
            parts = [(real / FOURIER, real, real)]
        else:
            scale = 2 / FOURIER
            parts = [
                (scale * (real + imaginary), real, real),
                (scale * (imaginary - real), -imaginary, imaginary),
                (-scale * imaginary, real - imaginary, real + imaginary),
            ]
        for column, row, tap in parts:
            back.append(column[: FOURIER - kernel + 1])
            into.append(row)
            of_weight.append(tap[:kernel])
    return np.array(back).T, np.array(into), np.array(of_weight)
