"""Fingerprints that are computed when they are needed, so that those of a large corpus need not fit into memory."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import lru_cache

import numpy as np

KEPT = 500
"""Number of fingerprints in memory: 65 MB for clips of 8 s. It is `fingerprint.ALL_PAIRS`, so comparing all pairs computes each once."""


class RememberedPrints(Mapping[str, np.ndarray]):
    """Clip id -> fingerprint."""

    def __init__(self, ids: Sequence[str], make: Callable[[str], np.ndarray]):
        """make: computes the fingerprint of a clip."""
        self._ids = dict.fromkeys(ids)
        self._make = lru_cache(KEPT)(make)

    def __getitem__(self, clip_id: str) -> np.ndarray:
        if clip_id not in self._ids:
            raise KeyError(clip_id)
        return self._make(clip_id)

    def __iter__(self) -> Iterator[str]:
        return iter(self._ids)

    def __len__(self) -> int:
        return len(self._ids)
