"""Which pairs of clips may be the same recording: a search that grows with the number of clips, not of pairs.

Codes at a clip's own tempo are indexed once, and each clip asks for its codes at a few changed tempi and pitches. Of one pair
of songs, a few pairs of clips are enough: a song that is often used has as many pairs with its double as both have clips, multiplied.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping

import numpy as np

from dataset_tools.lib.core.progress import progress
from dataset_tools.split.code_index import CodeIndex

PAIRS_PER_SONGS = 8
"""Most pairs of clips of one pair of songs."""


def find_candidates(
    fingerprints: Mapping[str, np.ndarray], group_of: Mapping[str, str], least: float, labels: tuple[str, str]
) -> list[list[tuple[str, str]]]:
    """Pairs (first < second) of clips of different groups that may be the same recording with a score of at least `least`: a list for
    each pair of groups, of the PAIRS_PER_SONGS pairs that agree best, the best first.

    fingerprints: clip id -> log energies; each is read twice, in sorted order. labels: of the two progress bars.
    """
    index = CodeIndex(fingerprints, group_of, labels[0])
    return look_up(index, fingerprints, progress(index.ids, labels[1], unit="clip"), least)


def look_up(
    index: CodeIndex, fingerprints: Mapping[str, np.ndarray], clip_ids: Iterable[str], least: float
) -> list[list[tuple[str, str]]]:
    """As `find_candidates`, of the pairs of which one of `clip_ids` is the faster clip or as fast."""
    found: dict[tuple[int, int], dict[tuple[int, int], float]] = defaultdict(dict)
    for clip_id in clip_ids:
        number = index.number_of[clip_id]
        for other, agreement in zip(*index.find_others(number, fingerprints[clip_id], least), strict=True):
            first, second = sorted((number, int(other)))
            songs = sorted((int(index.songs[first]), int(index.songs[second])))
            pairs = found[songs[0], songs[1]]
            pairs[first, second] = max(float(agreement), pairs.get((first, second), -1.0))
    best = [sorted(pairs, key=lambda pair: (-pairs[pair], pair))[:PAIRS_PER_SONGS] for pairs in found.values()]
    return sorted([(index.ids[first], index.ids[second]) for first, second in pairs] for pairs in best)
