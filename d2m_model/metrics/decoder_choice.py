"""Compares decoders of a level's codes: how well they keep the onsets of training clips, and their FAD."""

from collections.abc import Mapping

import numpy as np

from d2m_model.metrics.distances import frechet
from d2m_model.metrics.embedding import Embedder, embed
from d2m_model.metrics.p4_onsets import onset_times, own_minus_other
from d2m_model.metrics.reconstruction import decode_audio, encode_audio
from d2m_model.nets.jukebox_vqvae import JukeboxVQVAE
from dataset_tools.lib.core.timebase import SAMPLE_RATE

SILENCE = 1e-4
"""Clips with a lower peak count as silent and are skipped."""


def decoder_scores(
    models: Mapping[str, JukeboxVQVAE],
    level: int,
    audio: Mapping[str, np.ndarray],
    songs: Mapping[str, str],
    embedder: Embedder,
) -> dict[str, dict[str, float]]:
    """{name: {"P4": own - other by onsets, "FAD": distance to the originals}} of each model's reconstructions of audio {clip: (S,)}.

    songs : clip -> song. All models share the encoder and the codebook of the first; the audio is encoded at `level` (0, 1 or 2).
    A score is nan where there are too few data: P4 if all clips have one song, FAD if there are fewer patches than dimensions
    of the embedding. Silent clips are skipped.
    """
    audio = {name: wave for name, wave in audio.items() if np.abs(wave).max() > SILENCE}
    seconds = {name: len(wave) / SAMPLE_RATE for name, wave in audio.items()}
    wanted, there = {name: onset_times(wave) for name, wave in audio.items()}, _patches(audio, embedder)
    codes, scores = encode_audio(next(iter(models.values())), level, audio), {}
    for name, model in models.items():
        made = decode_audio(model, level, codes, audio)
        pairs = np.array(
            list(own_minus_other({c: onset_times(s) for c, s in made.items()}, wanted, seconds, songs).values())
        ).reshape(-1, 2)
        pairs, found = pairs[np.isfinite(pairs).all(axis=1)], _patches(made, embedder)
        enough = min(len(there), len(found)) > max(2, there.shape[1])
        scores[name] = {
            "P4": float((pairs[:, 0] - pairs[:, 1]).mean()) if len(pairs) else float("nan"),
            "FAD": frechet(found, there) if enough else float("nan"),
        }
    return scores


def no_worse(new: dict[str, float], old: dict[str, float]) -> bool:
    """Whether `new` is at least as good as `old` in P4 and in FAD. A score that is nan in either is ignored."""
    return not (new["P4"] < old["P4"] or new["FAD"] > old["FAD"])


def _patches(audio: Mapping[str, np.ndarray], embedder: Embedder) -> np.ndarray:
    found = [e.patches for wave in audio.values() if (e := embed(wave, embedder))]
    return np.concatenate(found) if found else np.zeros((0, 1))
