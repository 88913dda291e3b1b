"""Convolutions with fewer multiplications, for training on a CPU: minimal filtering (Winograd, 1980; Lavin and Gray, 2016).

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
    """nn.Conv1d without stride and groups; where it is trained in float32 on a CPU, by minimal filtering."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        weight = self.weight  # computed anew at each access where it is normalised
        kernel, (padding,), (dilation,) = weight.shape[2], self.padding, self.dilation
        trained = torch.is_grad_enabled() and weight.requires_grad and not torch.is_autocast_enabled(x.device.type)
        channels = self.in_channels * self.out_channels
        worthwhile = (kernel in SHORT and channels >= WORTH_SHORT) or (kernel in LONG and channels >= WORTH_LONG)
        if not (trained and worthwhile and self.stride == (1,) and x.device.type == "cpu" and x.dtype == torch.float32):
            return F.conv1d(x, weight, self.bias, self.stride, padding, dilation)
        return filtered(F.pad(x, (padding, padding)), weight, self.bias, dilation)


def filtered(x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor, dilation: int = 1) -> torch.Tensor:
    """F.conv1d(x, weight, bias, dilation=dilation) of x (B, C, L) and weight (O, C, k) with k of `SHORT` or `LONG`."""
    (batch, channels, length), (outputs, _, kernel) = x.shape, weight.shape
    back, into, of_weight = matrices(kernel)
    step, rows, taken = len(back), len(into), into.shape[1]
    length -= (kernel - 1) * dilation
    tiles = -(-length // (step * dilation))
    phases = F.pad(x, (0, ((tiles - 1) * step + taken) * dilation - x.shape[2])).unflatten(2, (-1, dilation))
    pieces = phases.unfold(2, taken, step).permute(4, 1, 0, 2, 3)  # (N, C, B, tiles, dilation)
    seen = (into @ pieces.reshape(taken, -1)).view(rows, channels, -1)
    taps = (of_weight @ weight.permute(2, 0, 1).reshape(kernel, -1)).view(rows, outputs, channels)
    y = back @ torch.bmm(taps, seen).view(rows, -1)
    y = y.view(step, outputs, batch, tiles, dilation).permute(2, 1, 3, 0, 4).reshape(batch, outputs, -1)
    return y[..., :length] + bias[:, None]


@lru_cache
def matrices(kernel: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """(A (S, R), B (R, N), G (R, k)) for a kernel of k taps."""
    found = _toom_cook(kernel) if kernel in SHORT else _fourier(kernel)
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
