"""Convolutions with fewer multiplications, for a CPU: minimal filtering (Winograd, 1980; Lavin and Gray, 2016).

N samples of input give S = N - k + 1 outputs of a kernel of k taps as A [(G w) ⊙ (B x)]: one multiplication per row of B
instead of k per output, and equal but for rounding. Over channels ⊙ is a matrix product, so B and G are paid once per
channel. Short kernels: Toom and Cook's points 0, ±1, ±2, ±1/2, ∞, N = 8 (k = 3: 1.33 multiplications an output). Long
ones: the Fourier transform with N = 64, three real multiplications per frequency (k = 41: 3.96).
"""

from functools import lru_cache

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

POINTS = (0.0, 1.0, -1.0, 2.0, -2.0, 0.5, -0.5)  # and infinity
SHORT, LONG = (3, 4), range(32, 49)
FOURIER = 64  # samples
WORTH_SHORT, WORTH_LONG = 512 * 256, 128 * 64
"""Inputs times outputs from which on the transforms cost less than they save."""


class FastConv1d(nn.Conv1d):
    """nn.Conv1d of one group; where it is trained, or folded, in float32 on a CPU, and large, by minimal filtering."""

    def __init__(self, *sizes: int, **options: int):
        super().__init__(*sizes, **options)
        kernel, channels = self.kernel_size[0], self.in_channels * self.out_channels
        large = (kernel in SHORT and channels >= WORTH_SHORT) or (kernel in LONG and channels >= WORTH_LONG)
        self.worthwhile = large and self.stride == (1,)
        self.taps: torch.Tensor | None = None

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        weight = self.weight  # computed anew at each access where it is normalised
        (padding,), (dilation,) = self.padding, self.dilation
        trained = torch.is_grad_enabled() and weight.requires_grad
        plain = x.device.type == "cpu" and x.dtype == torch.float32 and not torch.is_autocast_enabled("cpu")
        if not (self.worthwhile and plain and (trained or self.taps is not None)):
            return F.conv1d(x, weight, self.bias, self.stride, padding, dilation)
        taps = transformed(weight) if self.taps is None else self.taps
        return filtered(F.pad(x, (padding, padding)), taps, self.bias, weight.shape[2], dilation)

    def fold(self) -> None:
        """Transform the weight, which will not change any more, once and for all."""
        if self.worthwhile:
            self.taps = transformed(self.weight.detach().cpu())


def transformed(weight: torch.Tensor) -> torch.Tensor:
    """(O, C, k) -> (R, O, C): what a kernel's taps multiply with."""
    outputs, channels, kernel = weight.shape
    return (matrices(kernel)[2] @ weight.permute(2, 0, 1).reshape(kernel, -1)).view(-1, outputs, channels)


def filtered(x: torch.Tensor, taps: torch.Tensor, bias: torch.Tensor, kernel: int, dilation: int = 1) -> torch.Tensor:
    """F.conv1d of x (B, C, L) with the weight (O, C, k) whose `transformed` taps are; k of `SHORT` or `LONG`."""
    (batch, channels, length), outputs = x.shape, taps.shape[1]
    back, into, _ = matrices(kernel)
    step, rows, taken = len(back), len(into), into.shape[1]
    length -= (kernel - 1) * dilation
    tiles = -(-length // (step * dilation))
    phases = F.pad(x, (0, ((tiles - 1) * step + taken) * dilation - x.shape[2])).unflatten(2, (-1, dilation))
    pieces = phases.unfold(2, taken, step).permute(4, 1, 0, 2, 3)  # (N, C, B, tiles, dilation)
    seen = (into @ pieces.reshape(taken, -1)).view(rows, channels, -1)
    y = back @ torch.bmm(taps, seen).view(rows, -1)
    y = y.view(step, outputs, batch, tiles, dilation).permute(2, 1, 3, 0, 4).reshape(batch, outputs, -1)
    return y[..., :length] + bias[:, None]


@lru_cache
def matrices(kernel: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """(A (S, R), B (R, N), G (R, k)) for a kernel of k taps."""
    found = _toom_cook(kernel) if kernel in SHORT else _fourier(kernel)
    with torch.inference_mode(False):  # kept for trainings too, whoever asked first
        return tuple(torch.from_numpy(np.ascontiguousarray(m, np.float32)) for m in found)


def _toom_cook(kernel: int) -> tuple[np.ndarray, ...]:
    """Polynomials multiplied at points; B follows from A, G and what a convolution is."""
    taken = len(POINTS) + 1
    step = taken - kernel + 1
    back = np.vander([*POINTS, 0], step, increasing=True).T
    of_weight = np.vander([*POINTS, 0], kernel, increasing=True)
    back[:, -1], of_weight[-1] = np.eye(step)[-1], np.eye(kernel)[-1]  # at infinity the highest power is left
    products = np.einsum("sr,rj->sjr", back, of_weight).reshape(step * kernel, taken)
    wanted = np.array([np.eye(taken)[s + j] for s in range(step) for j in range(kernel)])  # y[s] = Σ w[j] x[s + j]
    return back, np.linalg.lstsq(products, wanted, rcond=None)[0], of_weight


def _fourier(kernel: int) -> tuple[np.ndarray, ...]:
    """Spectra multiplied: (a + ib)(c + id) from ac, bd and (a + b)(c + d)."""
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
