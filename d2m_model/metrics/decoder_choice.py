"""Compares decoders of a level's codes: how well they keep the onsets of training clips, and their FAD."""

from collections.abc import Mapping

import numpy as np

from d2m_model.metrics.distances import frechet
from d2m_model.metrics.embedding import Embedder, embed
from d2m_model.metrics.p4_onsets import onset_times, own_minus_other
from d2m_model.metrics.reconstruction import decode_sounds, encode_sounds
from d2m_model.nets.jukebox_vqvae import JukeboxVQVAE
from dataset_tools.lib.core.timebase import SAMPLE_RATE

SILENCE = 1e-4
"""Clips with a lower peak count as silent and are skipped."""


def decoder_scores(
    models: Mapping[str, JukeboxVQVAE],
    level: int,
    sounds: Mapping[str, np.ndarray],
    songs: Mapping[str, str],
    embedder: Embedder,
) -> dict[str, dict[str, float]]:
    """{name: {"P4": own - other by onsets, "FAD": distance to the originals}} of each model's reconstructions of sounds {clip: (S,)}.

    songs : clip -> song. All models share the encoder and the codebook of the first; sounds are encoded at `level` (0, 1 or 2).
    A score is nan where there are too few data: P4 if all clips have one song, FAD if there are fewer patches than dimensions
    of the embedding. Silent clips are skipped.
    """
    sounds = {name: sound for name, sound in sounds.items() if np.abs(sound).max() > SILENCE}
    seconds = {name: len(sound) / SAMPLE_RATE for name, sound in sounds.items()}
    wanted, there = {name: onset_times(sound) for name, sound in sounds.items()}, _patches(sounds, embedder)
    codes, scores = encode_sounds(next(iter(models.values())), level, sounds), {}
    for name, model in models.items():
        made = decode_sounds(model, level, codes, sounds)
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


def _patches(sounds: Mapping[str, np.ndarray], embedder: Embedder) -> np.ndarray:
    found = [e.patches for sound in sounds.values() if (e := embed(sound, embedder))]
    return np.concatenate(found) if found else np.zeros((0, 1))
