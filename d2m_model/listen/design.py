"""Design of the study: a balanced assignment of stimuli to raters, and the order of each session, all from a seed.

Conventions: raters are numbered 0, 1, … as they join; an item is a pair (system, clip); scores are 1 to 5 (P.800's absolute
category rating); checks and the headphone test have a right answer, also a number.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

TASKS = ("coherence", "quality")
KINDS = ("headphones", "practice", "check", "item")
SCALE = {5: "Excellent", 4: "Good", 3: "Fair", 2: "Poor", 1: "Bad"}
ORDERS = ((0, 1, 2), (0, 2, 1), (1, 0, 2), (1, 2, 0), (2, 0, 1), (2, 1, 0))
"""Orders of the headphone test's three tones, one file each: 0 plain, 1 antiphase, 2 quiet. The quiet tone is the right answer."""


@dataclass(frozen=True, kw_only=True)
class Stimulus:
    """One media file of the study."""

    task: str
    """'coherence' (video with audio), 'quality' (audio only) or 'headphones'."""
    kind: str
    """One of KINDS; only items count in the results."""
    system: str = ""
    """Name as in evaluate/metrics.json; empty unless kind is item or practice."""
    clip: str = ""
    answer: int | None = None
    """The right answer, for headphones and checks."""

    @property
    def name(self) -> str:
        """A name that is unique in the study; raters never see it."""
        return "|".join((self.task, self.kind, self.system, self.clip, str(self.answer)))


def stimuli_of(task: str, systems: list[str], clips: list[str]) -> list[Stimulus]:
    """All stimuli of one task: items, five checks, and practice with the first clip of the first and of the last system."""
    items = [Stimulus(task=task, kind="item", system=s, clip=c) for s in systems for c in clips]
    checks = [Stimulus(task=task, kind="check", clip=clips[n % len(clips)], answer=n) for n in SCALE]
    ends = dict.fromkeys((systems[0], systems[-1]))
    return items + checks + [Stimulus(task=task, kind="practice", system=s, clip=clips[0]) for s in ends]


def headphone_stimuli() -> list[Stimulus]:
    """The headphone test: six orders of the three tones; the answer is the position of the quiet one, 1 to 3."""
    return [
        Stimulus(task="headphones", kind="headphones", clip="".join(map(str, order)), answer=order.index(2) + 1)
        for order in ORDERS
    ]


def rater_assignments(systems: list[str], clips: list[str], items: int, seed: int) -> Iterator[list[tuple[str, str]]]:
    """Yields for rater 0, 1, … a list of `items` different pairs (system, clip), without end.

    Pairs are dealt from a shuffled deck that has every pair once. It consists of blocks with each clip once and the systems in turn
    (a Latin square), and is shuffled again when it is empty. A pair that a rater already has is kept for the next rater. So after
    any number of raters the counts of the pairs differ by at most 2, and each rater gets the systems about equally often.
    Raises ValueError for more items than pairs.
    """
    if not 1 <= items <= len(systems) * len(clips):
        raise ValueError(f"items must be 1 to {len(systems) * len(clips)} (systems x clips), found {items}")
    rng = np.random.default_rng(seed)
    deck: list[tuple[str, str]] = []
    while True:
        assignment, held = [], []
        while len(assignment) < items:
            if not deck:
                deck = _shuffled_deck(systems, clips, rng)
            pair = deck.pop(0)
            (held if pair in assignment else assignment).append(pair)
        deck = held + deck
        yield assignment


def _shuffled_deck(systems: list[str], clips: list[str], rng: np.random.Generator) -> list[tuple[str, str]]:
    order, turn = rng.permutation(len(clips)), rng.permutation(len(systems))
    return [
        (systems[turn[(place + block) % len(systems)]], clips[clip])
        for block in range(len(systems))
        for place, clip in enumerate(order)
    ]


def session(
    stimuli: list[Stimulus], rater: int, *, items: int, checks: int, practice: int, seed: int
) -> list[Stimulus]:  # fmt: skip
    """The stimuli of rater number `rater` in order: the headphone test, then the two tasks.

    The first task alternates between raters. A task has practice, then items in random order with checks spread among them, never
    first. If possible, two items in a row have different clips.
    """
    plan = [s for s in stimuli if s.kind == "headphones"]
    plan = [plan[i] for i in _rng(seed, rater, "headphones").permutation(len(plan))]
    for task in TASKS if rater % 2 == 0 else TASKS[::-1]:
        mine = [s for s in stimuli if s.task == task]
        pairs = {(s.system, s.clip): s for s in mine if s.kind == "item"}
        if not pairs:
            continue
        systems, clips = (list(dict.fromkeys(names)) for names in zip(*pairs))
        dealer = rater_assignments(systems, clips, min(items, len(pairs)), _number(seed, task))
        assignment = next(h for number, h in enumerate(dealer) if number == rater)
        rng = _rng(seed, rater, task)
        ordered = _spread([pairs[pair] for pair in assignment], rng)
        asked = [s for s in mine if s.kind == "check"]
        asked = [asked[i] for i in rng.permutation(len(asked))[:checks]]
        for place, check in zip(np.linspace(1, len(ordered), len(asked) + 2)[1:-1][::-1], asked):
            ordered.insert(int(place), check)
        plan += [s for s in mine if s.kind == "practice"][:practice] + ordered
    return plan


def _spread(items: list[Stimulus], rng: np.random.Generator) -> list[Stimulus]:
    """A random order: of 50 draws the one with the fewest neighbours of the same clip."""
    draws = [[items[i] for i in rng.permutation(len(items))] for _ in range(50)]
    return min(draws, key=lambda order: sum(a.clip == b.clip for a, b in pairwise(order)))


def _number(*parts) -> int:
    return int.from_bytes(hashlib.sha256("|".join(map(str, parts)).encode()).digest()[:8])


def _rng(*parts) -> np.random.Generator:
    return np.random.default_rng(_number(*parts))
