"""Spectral losses on waveforms, differentiable in torch: JukeBox's multispectral loss and the mel-spectrogram L1."""

import math
from functools import lru_cache

import numpy as np
import torch
import torch.nn.functional as F

from dataset_tools.lib.audio.librosa_loader import load_librosa
from dataset_tools.lib.core.timebase import SAMPLE_RATE

MULTI_SCALES = ((2048, 240, 1200), (1024, 120, 600), (512, 50, 240))
"""(n_fft, hop, window) in samples of JukeBox's three scales."""
MEL_FFT, MEL_HOP, MEL_BANDS, MEL_FLOOR = 1024, 256, 128, 1e-5


def stft_magnitude(wave: torch.Tensor, n_fft: int, hop: int, window: int) -> torch.Tensor:
    """STFT magnitudes (B, n_fft/2 + 1, frames) of waves (B, S): Hann window, frames centred with reflection padding.

    S must be over n_fft / 2 samples. The gradient is finite for silence, too.
    """
    hann = torch.hann_window(window, device=wave.device, dtype=wave.dtype)
    spectrum = torch.stft(wave, n_fft, hop, window, hann, center=True, pad_mode="reflect", return_complex=True)
    return _magnitude(spectrum)


def multispectral(predicted: torch.Tensor, target: torch.Tensor, power: float) -> torch.Tensor:
    """L2 norm of the magnitude difference at each scale, averaged over scales and batch (JukeBox, section 3.3).

    predicted, target: waves (B, S) of equal length. power: mean square of the data set's audio, > 0. Each norm is divided by the
    norm of noise of this power: silence is at about 1 from an average window, and quiet windows count for little. (JukeBox
    measures this norm, its "bandwidth", on the data; here it follows from Parseval's theorem.)
    """
    terms = []
    for n_fft, hop, window in MULTI_SCALES:
        wanted = stft_magnitude(target, n_fft, hop, window)
        error = torch.linalg.vector_norm(stft_magnitude(predicted, n_fft, hop, window) - wanted, dim=(1, 2))
        window_energy = 0.375 * window  # sum of a Hann window's squares
        terms.append(error.mean() / math.sqrt(wanted.shape[2] * n_fft / 2 * window_energy * power))
    return torch.stack(terms).mean()


def log_mel(wave: torch.Tensor) -> torch.Tensor:
    """log10 mel spectrogram (B, 128, ceil(S / 256)) of waves (B, S) at 22 050 Hz; magnitudes are clamped at 1e-5.

    n_fft 1024, hop 256, 128 Slaney bands over 0..11 025 Hz, reflection padding; frame i is centred on sample 256 i + 128. These
    are the settings of MelGAN and of D2M-GAN's released program. S must be over 512.
    """
    tail = -wave.shape[-1] % MEL_HOP
    side = (MEL_FFT - MEL_HOP) // 2
    padded = F.pad(wave[:, None], (side, side + tail), mode="reflect")[:, 0]
    hann = torch.hann_window(MEL_FFT, device=wave.device, dtype=wave.dtype)
    spectrum = torch.stft(padded, MEL_FFT, MEL_HOP, MEL_FFT, hann, center=False, return_complex=True)
    bank = torch.from_numpy(mel_filterbank(SAMPLE_RATE, MEL_FFT, MEL_BANDS)).to(wave)
    return torch.log10((bank @ _magnitude(spectrum)).clamp(min=MEL_FLOOR))


def mel_l1(predicted: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Mean absolute difference between the `log_mel` of two waves (B, S): the paper's mel-spectrogram loss. Returns a scalar."""
    return F.l1_loss(log_mel(predicted), log_mel(target))


@lru_cache
def mel_filterbank(sample_rate: int, n_fft: int, bands: int) -> np.ndarray:
    """Triangular mel filters (bands, n_fft/2 + 1), float32, over 0..sample_rate/2: Slaney's scale, each filter of unit area.

    They are computed in float64 and rounded once; with dtype float32 librosa rounds twice.
    """
    librosa = load_librosa()

    return librosa.filters.mel(sr=sample_rate, n_fft=n_fft, n_mels=bands, dtype=np.float64).astype(np.float32)


def _magnitude(spectrum: torch.Tensor) -> torch.Tensor:
    return torch.sqrt(spectrum.real.square() + spectrum.imag.square() + 1e-9)
