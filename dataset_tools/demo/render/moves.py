"""The dancers' vocabulary: moves as key poses on given counts, and the moves of each genre.

A pose has only the angles that differ from the neutral stance; the rest of the body returns to it. Moves are defined for one
side, and the choreography mirrors every second repetition.
"""

from dataclasses import dataclass, field

NEUTRAL = {"lab": 12, "lfl": 6, "lel": 28, "ltw": -10, "rab": 12, "rfl": 6, "rel": 28, "rtw": -10,
           "lhab": 7, "lhfl": 6, "lkn": 10, "rhab": 7, "rhfl": 6, "rkn": 10}  # fmt: skip
"""Degrees of the relaxed stance; degrees of freedom that are not named are 0."""


@dataclass(frozen=True, kw_only=True)
class Hit:
    """A pose to arrive at, with a stop or a change of direction, on a count of the move."""

    count: float
    strength: float = 1.0
    """1: sharp and full; less: in passing."""
    pose: dict[str, float] = field(default_factory=dict)
    """Degrees (x in body heights) by degree of freedom."""
    turn: float = 0.0
    """Degrees that the whole body has turned when this pose is reached, added for good."""
    hop: float = 0.0
    """Height of a jump, in body heights, that lands on this hit."""


@dataclass(frozen=True, kw_only=True)
class Move:
    """A step of 1, 2 or 4 counts."""

    counts: int
    hits: tuple[Hit, ...]


def _hit(
    count: float,
    *,
    both="",
    left="",
    right="",
    strength: float = 1.0,
    turn: float = 0.0,
    hop: float = 0.0,
    **body: float,
) -> Hit:
    """A hit from limb angles such as left="ab 150 el 25" (for both sides, the left or the right) and torso angles."""
    pose = dict(body)
    for sides, text in (("lr", both), ("l", left), ("r", right)):
        words = text.split()
        for side in sides:
            pose |= {side + name: float(value) for name, value in zip(words[::2], words[1::2], strict=True)}
    return Hit(count=count, strength=strength, pose=pose, turn=turn, hop=hop)


def mirror(hit: Hit) -> Hit:
    """The same hit with left and right exchanged."""
    swap = {"l": "r", "r": "l"}
    odd = {"yaw", "roll", "hyaw", "hroll", "sway", "x"}
    pose = {}
    for name, value in hit.pose.items():
        limb = name[0] in swap and name not in odd
        pose[swap[name[0]] + name[1:] if limb else name] = -value if name in odd else value
    return Hit(count=hit.count, strength=hit.strength, pose=pose, turn=-hit.turn, hop=hit.hop)


def _move(counts: int, *hits: Hit) -> Move:
    return Move(counts=counts, hits=hits)


MOVES: dict[str, Move] = {
    "two_step": _move(
        2,
        _hit(0, x=0.09, sway=5, left="hab 24 fl -18 el 70", right="hab 10 fl 45 el 80"),
        _hit(1, x=0.09, roll=-5, both="hfl 16 kn 30", left="fl 40 el 85", right="fl -15 el 60"),
    ),
    "raise": _move(
        2,
        _hit(0, both="ab 150 el 25", hpitch=-10),
        _hit(1, both="ab 35 el 100 tw 60 hfl 18 kn 34", hpitch=10),
    ),
    "clap": _move(
        2,
        _hit(0, both="ab 65 el 55 tw 50", roll=6, sway=4),
        _hit(1, both="ab -6 fl 62 el 62 tw -38", roll=-4, sway=-3),
    ),
    "punch": _move(1, _hit(0, yaw=-28, left="fl 92 el 8 ab 0", right="ab 28 el 125 fl 20 tw 20", pitch=6)),
    "arm_out": _move(1, _hit(0, roll=-9, hyaw=30, left="ab 92 el 6 tw 0", right="ab 40 el 118 tw -60")),
    "point": _move(
        4,
        _hit(0, roll=-10, sway=6, left="ab 148 el 5 hab 16", right="ab 40 el 95 tw -70", hroll=-8),
        _hit(1, roll=8, sway=-4, left="ab -10 fl 48 el 20", right="ab 40 el 95 tw -70", pitch=10),
        _hit(2, roll=-10, sway=6, left="ab 148 el 5 hab 16", right="ab 40 el 95 tw -70", hroll=-8),
        _hit(3, both="ab 45 el 100 tw -70 hfl 20 kn 38"),
    ),
    "robot": _move(
        2,
        _hit(0, left="ab 88 el 92 tw 85", right="ab 88 el 92 tw -85", hyaw=25),
        _hit(1, left="ab 88 el 92 tw -85", right="ab 88 el 92 tw 85", hyaw=-25),
    ),
    "drop": _move(
        4,
        _hit(0, both="hfl 58 kn 104 hab 24 fl 60 el 70 tw -20", pitch=14),
        _hit(1, strength=0.8, both="hfl 34 kn 62 hab 24 fl 20 el 100 ab 40", pitch=4),
        _hit(2, both="ab 142 el 20 hab 14", hpitch=-12),
        _hit(3, both="ab 30 el 90 tw 40 hfl 15 kn 28"),
    ),
    "knee_up": _move(1, _hit(0, left="hfl 78 kn 98 fl -32 el 85", right="fl 68 el 95", roll=4, pitch=4)),
    "kick": _move(
        2,
        _hit(0, left="hfl 58 kn 8 fl -25 el 40", right="fl 60 el 60 hfl 10 kn 18", pitch=-8),
        _hit(1, both="ab 40 el 80 hfl 22 kn 42 hab 16", pitch=10),
    ),
    "lunge": _move(
        2,
        _hit(0, x=0.08, roll=-14, left="hab 42 hfl 30 kn 66", right="hab 26 ab 112 el 8", sway=5),
        _hit(1, both="ab 30 el 110 tw -50", roll=4),
    ),
    "twist": _move(1, _hit(0, yaw=34, roll=5, both="hfl 22 kn 42 el 88 ab 24", left="fl 38", right="fl -20")),
    "roll": _move(
        4,
        _hit(0, pitch=22, hpitch=16, both="hfl 30 kn 46 fl 25 el 50"),
        _hit(1, pitch=-10, hpitch=-14, both="hfl 2 kn 6 ab 30 el 60"),
        _hit(2, pitch=16, roll=10, both="hfl 34 kn 60 ab 60 el 80 tw 30"),
        _hit(3, pitch=-6, roll=-8, both="ab 24 el 40"),
    ),
    "sway": _move(
        2,
        _hit(0, sway=8, roll=-7, hroll=-9, left="ab 34 el 50", right="ab 14 el 30", x=0.03),
        _hit(1, sway=0, roll=4, hroll=4, both="hfl 14 kn 26"),
    ),
    "nod": _move(
        1, _hit(0, hpitch=18, pitch=8, roll=-6, both="el 60 hfl 16 kn 30", left="fl 40 hab 14", right="fl -12")
    ),
    "hop": _move(
        2,
        _hit(0, both="hfl 34 kn 62 fl -25 el 45", pitch=12),
        _hit(1, both="hab 26 ab 118 el 20 hfl 14 kn 26", hop=0.09),
    ),
    "jack": _move(
        1, _hit(0, pitch=14, hpitch=14, both="hfl 30 kn 56 el 100", left="fl 58 hab 18", right="fl -8", roll=6)
    ),
    "heel_toe": _move(
        2,
        _hit(0, yaw=-18, left="hab 24 hfl 20 kn 6 fl 35 el 80", right="hfl 18 kn 32 fl -20 el 70"),
        _hit(1, yaw=14, left="hfl 36 kn 66 fl -20 el 70", right="fl 40 el 80"),
    ),
    "charleston": _move(
        4,
        _hit(0, left="hfl 52 kn 12 fl -30 el 50", right="fl 60 el 60", pitch=-6),
        _hit(1, both="hfl 20 kn 36", left="fl 20 el 70", right="fl -10 el 70"),
        _hit(2, right="hfl -28 kn 30 fl 60 el 60", left="fl -30 el 50", pitch=16),
        _hit(3, both="hfl 20 kn 36 el 70"),
    ),
    "cross": _move(
        4,
        _hit(0, both="fl 70 el 95 tw -62 ab 8 hfl 12 kn 24", hpitch=10),
        _hit(1, both="ab 96 el 10"),
        _hit(2, both="fl 70 el 95 tw -62 ab 8 hfl 24 kn 46", hpitch=10, yaw=24),
        _hit(2.5, strength=0.6, both="ab 60 el 90 tw 80", yaw=0),
        _hit(3, both="ab 140 el 60 tw 60", hpitch=-8),
    ),
    "wave": _move(
        4,
        _hit(0, left="ab 95 el 10", right="ab 20 el 60", roll=-8),
        _hit(1, left="ab 70 el 70 tw 80", right="ab 60 el 80 tw -60", roll=0),
        _hit(2, right="ab 95 el 10", left="ab 20 el 60", roll=8),
        _hit(3, both="ab 20 el 100 tw -40 hfl 18 kn 34"),
    ),
    "snap": _move(
        2,
        _hit(0, x=-0.06, roll=7, left="ab 48 el 112 tw 70", right="ab 20 el 30 hab 18", hroll=6),
        _hit(1, x=-0.06, roll=-3, both="hfl 20 kn 36", left="ab 24 el 50", right="ab 30 el 60"),
    ),
    "turn": _move(
        4,
        _hit(0, yaw=-26, both="hfl 22 kn 40", left="fl 50 el 70", right="ab 70 el 40"),
        _hit(1, turn=180, both="ab 40 el 95 tw -60", strength=0.7),
        _hit(2, turn=180, both="ab 60 el 60 hfl 10 kn 20"),
        _hit(3, both="ab 120 el 30 hab 18 hfl 14 kn 28"),
    ),
}
"""All moves, by name."""

VOCABULARY: dict[str, tuple[str, ...]] = {
    "hiphop": ("punch", "drop", "nod", "cross", "kick", "roll", "arm_out", "robot", "hop"),
    "pop": ("two_step", "raise", "clap", "wave", "cross", "arm_out", "snap", "lunge", "hop"),
    "disco": ("point", "twist", "clap", "two_step", "raise", "snap", "charleston", "knee_up"),
    "house": ("jack", "two_step", "heel_toe", "knee_up", "raise", "lunge", "wave", "charleston"),
    "breaks": ("kick", "knee_up", "robot", "punch", "drop", "heel_toe", "hop", "twist"),
}
"""Moves of each genre; `turn` belongs to all."""

CALM = ("sway", "roll", "snap", "wave", "nod")
"""Moves of calm passages, in every genre."""

SNAP = {"hiphop": 1.6, "pop": 1.45, "disco": 1.35, "house": 1.4, "breaks": 1.5}
"""Sharpness of accents: 1 is symmetric motion, more is a sudden stop at the accent."""

BOUNCE = {"hiphop": 32.0, "pop": 24.0, "disco": 25.0, "house": 29.0, "breaks": 26.0}
"""Depth of the knees' bounce at full energy, degrees of hip flexion."""
