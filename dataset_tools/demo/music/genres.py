"""The demo's five genres as data: tempo, drum patterns, harmony and timbre.

A bar has sixteen steps. Drum patterns are strings of steps: 'X' accented, 'x' plain, 'o' soft, 'g' ghost.
"""

from dataclasses import dataclass

VELOCITY = {"X": 1.0, "x": 0.82, "o": 0.45, "g": 0.13}
SCALES = {"major": (0, 2, 4, 5, 7, 9, 11), "minor": (0, 2, 3, 5, 7, 8, 10), "dorian": (0, 2, 3, 5, 7, 9, 10)}


@dataclass(frozen=True, kw_only=True)
class Genre:
    """Tempo range, patterns (a song draws one of each) and timbres of a genre."""

    tempo: tuple[float, float]
    """Beats per minute, lowest and highest."""
    swing: float
    """Delay of every second sixteenth, in sixteenths."""
    scale: str
    progressions: tuple[tuple[int, ...], ...]
    """Scale degree of the chord of each of four bars."""
    kicks: tuple[str, ...]
    snares: tuple[str, ...]
    hats: tuple[str, str]
    """Calm pattern and busy pattern."""
    backbeat: str
    """Instrument of the snare patterns: 'snare' or 'clap'."""
    bass: tuple[tuple[int, int, int], ...]
    """Notes of a bar: step, scale degree above the chord's root, length in steps."""
    chords: tuple[tuple[int, int], ...]
    """Chords of a bar: step, length in steps."""
    melody: tuple[int, ...]
    """Steps of two bars (0..31) where a melody note may start."""
    timbres: dict[str, str]
    """Timbre of 'bass', 'chord' and 'lead', names of `synth.TIMBRES`."""
    kick: dict[str, float]
    snare: dict[str, float]
    hat: dict[str, float]
    duck: float
    """By how much a kick attenuates chords and bass, 0..1."""


# fmt: off
GENRES: dict[str, Genre] = {
    "hiphop": Genre(
        tempo=(84, 98), swing=0.28, scale="minor",
        progressions=((0, 5, 3, 4), (0, 0, 5, 6), (0, 3, 0, 4)),
        kicks=("X.....o.X..x....", "X..o....x.x.....", "X......xX.....o.", "X.....x...X....."),
        snares=("....X.......X...", "....X..g....X..g", "....X....g..X..."),
        hats=("o...o...o...o...", "o.g.o.g.o.g.o.go"), backbeat="snare",
        bass=((0, 0, 5), (6, 0, 2), (8, 0, 3), (11, 4, 3)),
        chords=((0, 8), (8, 6)),
        melody=(0, 4, 6, 8, 12, 16, 20, 22, 26, 28),
        timbres={"bass": "sub", "chord": "epiano", "lead": "flute"},
        kick={"pitch": 46, "decay": 0.16, "click": 0.7}, snare={"tone": 175, "decay": 0.12, "low": 700, "high": 4200},
        hat={"low": 5200, "decay": 0.03}, duck=0.25,
    ),
    "pop": Genre(
        tempo=(100, 112), swing=0.0, scale="major",
        progressions=((0, 4, 5, 3), (5, 3, 0, 4), (0, 5, 3, 4)),
        kicks=("X.....x.X.....o.", "X...o...X.x.o...", "X.....o.X.x....."),
        snares=("....X.......X...", "....X.......X.g."),
        hats=("o...o...o...o...", "o.g.o.g.o.g.o.g."), backbeat="clap",
        bass=((0, 0, 3), (4, 0, 3), (8, 0, 3), (12, 0, 2), (14, 4, 2)),
        chords=((0, 16),),
        melody=(0, 3, 6, 8, 12, 14, 16, 19, 22, 24, 28),
        timbres={"bass": "round", "chord": "pad", "lead": "bell"},
        kick={"pitch": 54, "decay": 0.12, "click": 0.8}, snare={"tone": 210, "decay": 0.10, "low": 900, "high": 6500},
        hat={"low": 6200, "decay": 0.025}, duck=0.4,
    ),
    "disco": Genre(
        tempo=(113, 121), swing=0.08, scale="dorian",
        progressions=((0, 3, 0, 3), (0, 6, 3, 4), (0, 2, 3, 3)),
        kicks=("X...X...X...X...", "X...x...X...x..o", "X...x...X...x..."),
        snares=("....X.......X...", "....X..g....X..."),
        hats=("..g...g...g...g.", "o.g.o.g.o.g.o.g."), backbeat="snare",
        bass=((0, 0, 3), (4, 0, 2), (6, 7, 2), (8, 0, 3), (12, 4, 2), (14, 6, 2)),
        chords=((0, 4), (6, 2), (8, 4), (14, 2)),
        melody=(0, 2, 4, 8, 11, 12, 16, 18, 20, 24, 27),
        timbres={"bass": "slap", "chord": "guitar", "lead": "brass"},
        kick={"pitch": 58, "decay": 0.09, "click": 0.8}, snare={"tone": 230, "decay": 0.09, "low": 1200, "high": 7500},
        hat={"low": 6800, "decay": 0.06}, duck=0.2,
    ),
    "house": Genre(
        tempo=(122, 130), swing=0.05, scale="minor",
        progressions=((0, 0, 5, 6), (0, 3, 5, 4), (0, 5, 0, 6)),
        kicks=("X...X...X...X...", "X...X...X...X..o", "X...X...X...X.o."),
        snares=("....X.......X...", "....X..g....X...", "....X.......X..g"),
        hats=("..o...o...o...o.", "g.o.g.ogg.o.g.og"), backbeat="clap",
        bass=((2, 0, 2), (6, 0, 2), (10, 0, 2), (14, 2, 2)),
        chords=((0, 6), (6, 4), (12, 4)),
        melody=(0, 3, 6, 8, 11, 14, 16, 19, 24, 27, 30),
        timbres={"bass": "square", "chord": "stab", "lead": "saw"},
        kick={"pitch": 50, "decay": 0.14, "click": 1.2}, snare={"tone": 200, "decay": 0.08, "low": 1000, "high": 6000},
        hat={"low": 7200, "decay": 0.04}, duck=0.5,
    ),
    "breaks": Genre(
        tempo=(134, 150), swing=0.0, scale="minor",
        progressions=((0, 0, 6, 6), (0, 0, 3, 3), (0, 5, 6, 0)),
        kicks=("X.......x.x.....", "X.x.....x.x.....", "X.......xx......", "X.x.......x....."),
        snares=("....X.......X...", "....X..g.g..X...", "....X..g....X..g"),
        hats=("o...o...o...o...", "o.o.o.o.o.o.o.o."), backbeat="snare",
        bass=((0, 0, 3), (4, 0, 2), (8, 0, 4), (12, 2, 4)),
        chords=((0, 16),),
        melody=(0, 4, 8, 10, 16, 20, 24, 26, 28),
        timbres={"bass": "reese", "chord": "strings", "lead": "saw"},
        kick={"pitch": 62, "decay": 0.09, "click": 1.3}, snare={"tone": 260, "decay": 0.11, "low": 1500, "high": 8500},
        hat={"low": 6500, "decay": 0.03}, duck=0.5,
    ),
}
# fmt: on
