"""Who hears what: balanced hands of stimuli, one per rater, and the order of a rater's session; all from a seed.

Conventions: raters are numbered 0, 1, … as they join; a stimulus is (system, clip); scores are 1 to 5 (P.800's absolute
category rating), answers to checks and to the headphone test are the number that must be given.
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
"""Orders of the headphone test's three tones, one file each: 0 plain, 1 antiphase, 2 quiet (the right answer)."""


@dataclass(frozen=True, kw_only=True)
class Stimulus:
    """One file that a rater may be given."""

    task: str
    """'coherence' (seen and heard), 'quality' (heard) or 'headphones'."""
    kind: str
    """One of KINDS: only items count in the results."""
    system: str = ""
    """As in evaluate/metrics.json; empty unless kind is item or practice."""
    clip: str = ""
    answer: int | None = None
    """What must be answered, for headphones and checks."""

    @property
    def name(self) -> str:
        """Unique text within a study; never shown to raters."""
        return "|".join((self.task, self.kind, self.system, self.clip, str(self.answer)))


def stimuli_of(task: str, systems: list[str], clips: list[str]) -> list[Stimulus]:
    """All stimuli of one task: items, five checks, and practice from the first clip of the first and last system."""
    items = [Stimulus(task=task, kind="item", system=s, clip=c) for s in systems for c in clips]
    checks = [Stimulus(task=task, kind="check", clip=clips[n % len(clips)], answer=n) for n in SCALE]
    ends = dict.fromkeys((systems[0], systems[-1]))
    return items + checks + [Stimulus(task=task, kind="practice", system=s, clip=clips[0]) for s in ends]


def headphone_stimuli() -> list[Stimulus]:
    """The six orders of the three tones; the answer is where the quiet one is, 1 to 3."""
    return [
        Stimulus(task="headphones", kind="headphones", clip="".join(map(str, order)), answer=order.index(2) + 1)
        for order in ORDERS
    ]


def rater_assignments(systems: list[str], clips: list[str], items: int, seed: int) -> Iterator[list[tuple[str, str]]]:
    """For rater 0, 1, … the `items` (system, clip) they judge, all different, without end.

    Dealt from a deck that holds every pair once, shuffled anew each time round, in blocks in which each clip comes once
    and the systems in turn (a Latin square). So after any number of raters the pairs' counts differ by 2 at most
    (a pair that a rater holds already waits for the next one), and each rater hears the systems about equally often.
    Raises ValueError for more items than there are pairs.
    """
    if not 1 <= items <= len(systems) * len(clips):
        raise ValueError(f"items must be 1 to {len(systems) * len(clips)} (systems x clips), found {items}")
    rng = np.random.default_rng(seed)
    deck: list[tuple[str, str]] = []
    while True:
        hand, held = [], []
        while len(hand) < items:
            if not deck:
                deck = _shuffled_deck(systems, clips, rng)
            pair = deck.pop(0)
            (held if pair in hand else hand).append(pair)
        deck = held + deck
        yield hand


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
    """What rater number `rater` is given, in order: the headphone test, then the two tasks one after the other.

    Which task is first alternates between raters. Within a task: practice, then items in random order, no two of one
    clip in a row where that can be, with the checks spread among them, never first.
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
        hand = next(h for number, h in enumerate(dealer) if number == rater)
        rng = _rng(seed, rater, task)
        ordered = _spread([pairs[pair] for pair in hand], rng)
        asked = [s for s in mine if s.kind == "check"]
        asked = [asked[i] for i in rng.permutation(len(asked))[:checks]]
        for place, check in zip(np.linspace(1, len(ordered), len(asked) + 2)[1:-1][::-1], asked):
            ordered.insert(int(place), check)
        plan += [s for s in mine if s.kind == "practice"][:practice] + ordered
    return plan


def _spread(items: list[Stimulus], rng: np.random.Generator) -> list[Stimulus]:
    """A random order, the one of 50 draws with the fewest neighbours of one clip."""
    draws = [[items[i] for i in rng.permutation(len(items))] for _ in range(50)]
    return min(draws, key=lambda order: sum(a.clip == b.clip for a, b in pairwise(order)))


def _number(*parts) -> int:
    return int.from_bytes(hashlib.sha256("|".join(map(str, parts)).encode()).digest()[:8])


def _rng(*parts) -> np.random.Generator:
    return np.random.default_rng(_number(*parts))
