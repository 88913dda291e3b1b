"""Group clips that must stay together and assign them to parts. Pure functions over items."""

import random
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from dataset_tools.lib.core.errors import UserError
from dataset_tools.lib.core.schema import leaks

PARTS = ("train", "val", "test")


@dataclass(frozen=True, kw_only=True)
class Item:
    """The properties of a clip that a split needs."""

    clip_id: str
    song_id: str
    video_id: str
    """Id of the compilation."""
    official_split: str = ""
    seconds: float | None = None
    recording: str = ""
    """The song id of its recording if the recording has several ids; else empty."""

    @property
    def song(self) -> str:
        """Id of the song, which must not be in two parts."""
        return self.recording or self.song_id


def official_parts(items: list[Item], source: str) -> dict[str, str]:
    """Clip id -> its official label. All clips of a recording with several song ids get their commonest label, in a tie the earliest of
    `PARTS`. Raises UserError, which names `source`, for a clip without a label."""
    unlabelled = [item.clip_id for item in items if not item.official_split]
    if unlabelled:
        raise UserError(
            f"{source}: {len(unlabelled)} of {len(items)} clips have no official_split (the first is "
            f"'{unlabelled[0]}'); use --strategy random or kfold"
        )
    labels = defaultdict(Counter)
    for item in items:
        labels[item.recording][item.official_split] += 1
    part_of = {song: max(PARTS, key=lambda part: counts[part]) for song, counts in labels.items() if song}
    return {item.clip_id: part_of.get(item.recording, item.official_split) for item in items}


def group_items(items: list[Item], hold_out: str) -> list[list[Item]]:
    """Groups of clips that must stay together, ordered by their first clip: the clips of one song. With hold_out
    'compilation', the clips of one video also stay together, so videos that share a song are in one group."""
    parent: dict[tuple[str, str], tuple[str, str]] = {}

    def root(node):
        while parent.setdefault(node, node) != node:
            node = parent[node]
        return node

    for item in items:
        song = ("song", item.song)
        parent[root(("video", item.video_id) if hold_out == "compilation" else song)] = root(song)
    groups = defaultdict(list)
    for item in items:
        groups[root(("song", item.song))].append(item)
    return list(groups.values())


def group_weight(group: list[Item], balance: str, source: str) -> float:
    """Number of clips or seconds of a group. Raises UserError, which names `source`, if the length of a clip is needed but unknown."""
    if balance == "clips":
        return len(group)
    unknown = [item.clip_id for item in group if item.seconds is None]
    if unknown:
        raise UserError(f"{source}: the length of clip '{unknown[0]}' is not known yet; use --balance clips")
    return sum(item.seconds for item in group)


def draw_test_groups(weights: list[float], fraction: float, seed: int) -> list[int]:
    """Indices of the groups in the test part: in random order, each group is added that brings the part closer to `fraction` of all."""
    order = _shuffle(len(weights), seed)
    target = fraction * sum(weights)
    test, filled = [], 0.0
    for index in order:
        if len(test) + 1 < len(order) and abs(filled + weights[index] - target) < abs(filled - target):
            test.append(index)
            filled += weights[index]
    return test or order[: len(order) > 1]  # one song that overshoots is better than an empty test part


def deal_folds(weights: list[float], folds: int, seed: int) -> list[int]:
    """Fold of every group: starting with the heaviest, each goes to the lightest fold so far."""
    fold_of = [0] * len(weights)
    filled = [0.0] * folds
    for index in sorted(_shuffle(len(weights), seed), key=lambda i: -weights[i]):
        fold_of[index] = filled.index(min(filled))
        filled[fold_of[index]] += weights[index]
    return fold_of


def _shuffle(count: int, seed: int) -> list[int]:
    order = list(range(count))
    random.Random(seed).shuffle(order)
    return order


def find_leaks(items: Iterable[Item], part_of: Mapping[str, str], attribute: str) -> list[str]:
    """Values of `attribute` ('song', 'song_id' or 'video_id') whose clips are in training and in another part, sorted."""
    parts = defaultdict(set)
    for item in items:
        parts[getattr(item, attribute)].add(part_of[item.clip_id])
    return sorted(value for value, found in parts.items() if leaks(found))
