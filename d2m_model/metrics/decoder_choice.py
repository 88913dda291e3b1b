"""Which of two decoders plays a level's codes better: by what it keeps of training clips' onsets, and by FAD."""

from collections.abc import Mapping

import numpy as np

from d2m_model.metrics.distances import frechet
from d2m_model.metrics.embedding import Embedder, embed
from d2m_model.metrics.onset_alignment import onset_times, own_minus_other
from d2m_model.metrics.reconstruction import codes_of, decoded
from d2m_model.nets.jukebox_vqvae import JukeboxVQVAE
from dataset_tools.lib.core.timebase import SAMPLE_RATE

SILENCE = 1e-4
"""Peak under which a clip counts as silent and is passed over."""


def decoder_scores(
    models: Mapping[str, JukeboxVQVAE],
    level: int,
    sounds: Mapping[str, np.ndarray],
    songs: Mapping[str, str],
    embedder: Embedder,
) -> dict[str, dict[str, float]]:
    """{name: {"P4": own - other by onsets, "FAD": to the sounds as they were}} of sounds {clip: (S,)} of `songs` {clip: song},
    coded and decoded again at `level` (0, 1 or 2) by each model; all have the encoder and the codebook of the first. Nan where there is too little to say: clips of one song, or
    fewer patches than the embedding has dimensions. Silent clips are passed over.
    """
    sounds = {name: sound for name, sound in sounds.items() if np.abs(sound).max() > SILENCE}
    seconds = {name: len(sound) / SAMPLE_RATE for name, sound in sounds.items()}
    wanted, there = {name: onset_times(sound) for name, sound in sounds.items()}, _patches(sounds, embedder)
    codes, scores = codes_of(next(iter(models.values())), level, sounds), {}
    for name, model in models.items():
        made = decoded(model, level, codes, sounds)
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
    """Whether `new` keeps as many onsets as `old` and is as near in FAD; what is nan decides nothing."""
    return not (new["P4"] < old["P4"] or new["FAD"] > old["FAD"])


def _patches(sounds: Mapping[str, np.ndarray], embedder: Embedder) -> np.ndarray:
    found = [e.patches for sound in sounds.values() if (e := embed(sound, embedder))]
    return np.concatenate(found) if found else np.zeros((0, 1))
