"""Which pairs of clips may be the same recording: a search that grows with the number of clips, not of pairs.

Codes at a clip's own tempo are indexed once, and each clip asks for its codes at a few changed tempi and pitches. One pair of songs needs
few pairs of clips: a song that is often used would otherwise be compared with its double as often as both have clips, multiplied.
"""

from collections import defaultdict
from collections.abc import Mapping

import numpy as np

from dataset_tools.lib.core.progress import progress
from dataset_tools.split.code_index import CodeIndex

PAIRS_PER_SONGS = 8
"""Most pairs of clips of one pair of songs."""


def find_candidates(
    fingerprints: Mapping[str, np.ndarray], group_of: Mapping[str, str], least: float, labels: tuple[str, str]
) -> list[tuple[str, str]]:
    """Sorted pairs (first < second) of clips of different groups that may be the same recording with a score of at least `least`; of two
    groups, the PAIRS_PER_SONGS pairs that agree best.

    fingerprints: clip id -> log energies; each is read twice, in sorted order. labels: of the two progress bars.
    """
    ids = sorted(fingerprints)
    number_of = {name: number for number, name in enumerate(sorted({group_of[clip_id] for clip_id in ids}))}
    songs = np.array([number_of[group_of[clip_id]] for clip_id in ids], np.int32)
    index = CodeIndex(fingerprints, ids, songs, labels[0])
    found: dict[tuple[int, int], dict[tuple[int, int], float]] = defaultdict(dict)
    for number, clip_id in enumerate(progress(ids, labels[1], unit="clip")):
        for other, agreement in zip(*index.find_others(number, fingerprints[clip_id], least), strict=True):
            first, second = sorted((number, int(other)))
            pairs = found[tuple(sorted((int(songs[first]), int(songs[second]))))]
            pairs[first, second] = max(float(agreement), pairs.get((first, second), -1.0))
    best = [sorted(pairs, key=lambda pair: (-pairs[pair], pair))[:PAIRS_PER_SONGS] for pairs in found.values()]
    return sorted((ids[first], ids[second]) for pairs in best for first, second in pairs)
