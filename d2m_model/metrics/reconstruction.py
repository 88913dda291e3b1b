"""Reconstructions of an autoencoder and their quality: spectral convergence, SI-SDR and kept onsets."""

from collections.abc import Mapping

import numpy as np
import torch

from d2m_model.losses.spectral import stft_magnitude
from d2m_model.metrics.p4_onsets import f_measure, onset_times
from d2m_model.nets.jukebox_vqvae import JukeboxVQVAE


@torch.no_grad()
def encode_audio(model: JukeboxVQVAE, level: int, audio: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Audio {clip: (S,)} to {clip: codes (S // hop,)} of `level` (0, 1 or 2)."""
    return {clip: model.encode(torch.from_numpy(wave)[None], level)[0].numpy() for clip, wave in audio.items()}


@torch.no_grad()
def decode_audio(
    model: JukeboxVQVAE, level: int, codes: Mapping[str, np.ndarray], audio: Mapping[str, np.ndarray]
) -> dict[str, np.ndarray]:
    """Codes {clip: (S // hop,)} to {clip: audio (S,)}, each as long as the original in `audio`; an incomplete hop at the end is
    silent."""
    result = {}
    for clip, wave in audio.items():
        found = model.decode(torch.from_numpy(codes[clip])[None], level)[0].numpy()
        result[clip] = np.pad(found, (0, max(0, len(wave) - len(found))))[: len(wave)]
    return result


def reconstruct(model: JukeboxVQVAE, level: int, audio: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Audio {clip: (S,)}, encoded and decoded at `level` (0, 1 or 2): the best that a system of this level can sound."""
    return decode_audio(model, level, encode_audio(model, level, audio), audio)


def spectral_convergence(predicted: torch.Tensor, target: torch.Tensor) -> float:
    """|| |STFT| - |STFT'| || / || |STFT| || of audio (S,), with n_fft 1024 and hop 256. 0 means equal, 1 is as far as silence."""
    wanted, found = (stft_magnitude(wave[None], 1024, 256, 1024) for wave in (target, predicted))
    return float(torch.linalg.vector_norm(found - wanted) / torch.linalg.vector_norm(wanted).clamp(min=1e-9))


def si_sdr(predicted: torch.Tensor, target: torch.Tensor) -> float:
    """Scale-invariant signal-to-distortion ratio of audio (S,) in dB (Le Roux et al. 2019), within -100..100."""
    predicted, target = predicted.double() - predicted.double().mean(), target.double() - target.double().mean()
    image = (predicted @ target) / (target @ target).clamp(min=1e-12) * target
    ratio = image.square().sum() / (predicted - image).square().sum().clamp(min=1e-12)
    return float((10 * torch.log10(ratio.clamp(min=1e-12))).clamp(-100, 100))


def reconstruction_scores(pairs: list[tuple[torch.Tensor, torch.Tensor]]) -> dict[str, float]:
    """Mean scores over pairs (reconstruction, original) of audio (S,) at 22 050 Hz, S over 512.

    `onset_f` is the F-measure of the onsets (±70 ms), over pairs whose original has onsets; nan if none has.
    """
    convergence = [spectral_convergence(p, t) for p, t in pairs]
    distortion = [si_sdr(p, t) for p, t in pairs]
    onsets = [f_measure(onset_times(t.numpy()), onset_times(p.numpy())) for p, t in pairs]
    defined = [f for f in onsets if not np.isnan(f)]
    return {
        "spectral_convergence": float(np.mean(convergence)),
        "si_sdr_db": float(np.mean(distortion)),
        "onset_f": float(np.mean(defined)) if defined else float("nan"),
    }
