"""Create a dance for a score: curves of joint angles with accents on the beats, as imprecise as human dancing.

The routine (which pose on which beat) depends on the score and `move_seed`. Its performance (lag, jitter, amplitude, misses)
depends on `seed`. Between accents every angle follows a minimum-jerk path (Flash and Hogan 1985), so the body rests, or reverses
its motion, exactly at an accent.
"""

from typing import NamedTuple

import numpy as np

from dataset_tools.demo.music.songs import Score
from dataset_tools.demo.render.moves import BOUNCE, CALM, MOVES, NEUTRAL, SNAP, VOCABULARY, Hit, Move, mirror
from dataset_tools.demo.render.skeleton import DOFS, clip_angles

LAG_SECONDS = 0.010
JITTER_SECONDS = 0.015
MISS_SHARE = 0.04
"""Standard deviations, in seconds, of a dancer's constant lag and of each accent's error; fraction of accents that are missed."""

CALM_ENERGY = 0.42
ACCENT = (1.0, 0.9, 0.75, 0.95)
"""Weights of the four beats of a bar; downbeat and backbeats are strongest."""

_COLUMN = {name: k for k, name in enumerate(DOFS)}
_REST = np.array([NEUTRAL.get(name, 0.0) for name in DOFS])


class Accent(NamedTuple):
    """One pose of the routine."""

    beat: float
    """Beats from the song's first beat."""
    amplitude: float
    """Energy of the music times weight of the beat times strength of the hit."""
    hit: Hit


def choreograph(
    score: Score, start: float, end: float, *, seed: int, move_seed: int | None = None, fps: float = 30
) -> np.ndarray:
    """Joint angles of one dancer for the seconds `start` to `end` of a song.

    Returns float32 (T, D): T = round((end - start) * fps), frame t is at start + t / fps; D = len(skeleton.DOFS), in degrees, `jump`
    and `x` in body heights, within skeleton.DOF_RANGES. `yaw` is unwrapped (full turns add up).

    seed: of the performance. move_seed: of the routine, which the dancers of a clip share; default: `seed`.

    The whole song is choreographed and then cut, so that two cuts agree where they overlap. Raises ValueError unless
    0 <= start < end.
    """
    if not 0 <= start < end:
        raise ValueError(f"start and end must satisfy 0 <= start < end, found {start} and {end}")
    times = start + np.arange(round((end - start) * fps)) / fps
    drive = compute_drive(score)
    return _perform(score, drive, compose_routine(score, drive, seed if move_seed is None else move_seed), seed, times)


def compute_drive(score: Score) -> np.ndarray:
    """Intensity of the dance at each beat, (n,), 0..1: the energy of the music, reduced in bars without a kick."""
    beat = 60.0 / score.tempo
    kicks = np.array([e.time for e in score.events if e.voice == "kick"])
    bars = np.floor((kicks - score.beats[0]) / (4 * beat) + 0.05).astype(int)
    has_kick = np.isin(np.arange(len(score.beats)) // 4, bars)
    return score.energy * np.where(has_kick, 1.0, 0.75)


def compose_routine(score: Score, drive: np.ndarray, move_seed: int) -> list[Accent]:
    """The poses of the whole song, in phrases of eight counts. A section that returns has the same phrases."""
    rng = np.random.default_rng([move_seed, 1])
    vocabulary = list(rng.permutation(VOCABULARY[score.genre])[:6])
    accents: list[Accent] = []
    for section in score.sections:
        for first in range(section.first, section.last, 8):
            calm = drive[first : first + 8].mean() < CALM_ENERGY
            key = [move_seed, sum(section.name.encode()), (first - section.first) // 8 % 2, int(calm)]
            for count, hit in _phrase(np.random.default_rng(key), list(CALM) if calm else vocabulary, calm):
                beat = first + count * (2 if calm else 1)
                if beat < section.last:
                    at = int(beat)
                    weight = ACCENT[at % 4] if beat == at else 0.7
                    amplitude = (0.35 + 0.75 * drive[at]) * (0.55 + 0.45 * weight) * hit.strength
                    accents.append(Accent(beat, amplitude, hit))
    return accents


def _phrase(rng: np.random.Generator, vocabulary: list[str], calm: bool) -> list[tuple[float, Hit]]:
    """(count, hit) pairs of eight counts, or of four in a calm passage with two beats per count."""
    first, other = (MOVES[vocabulary[k]] for k in rng.integers(len(vocabulary), size=2))
    second = first if rng.random() < 0.5 else other
    if not calm and rng.random() < 0.15:
        second = MOVES["turn"]
    flip = bool(rng.integers(2))
    half = _four_counts(first, flip)
    return half if calm else half + [(4 + count, hit) for count, hit in _four_counts(second, not flip)]


def _four_counts(move: Move, flip: bool) -> list[tuple[float, Hit]]:
    """A move, repeated to fill four counts and mirrored every second time."""
    filled = []
    for turn, first in enumerate(range(0, 4, move.counts)):
        for hit in move.hits:
            filled.append((first + hit.count, mirror(hit) if (turn % 2 == 1) != flip else hit))
    return filled


def _perform(score: Score, drive: np.ndarray, accents: list[Accent], seed: int, times: np.ndarray) -> np.ndarray:
    """One dancer's performance of a routine at `times`."""
    rng = np.random.default_rng([seed, 2])
    beat = 60.0 / score.tempo
    lag = float(np.clip(rng.normal(0, LAG_SECONDS), -0.025, 0.025))
    size = float(np.clip(rng.normal(1.0, 0.1), 0.75, 1.25))
    jitter = np.clip(
        rng.normal(0, JITTER_SECONDS, len(score.beats) + 1), -0.035, 0.035
    )  # of the whole body, for each beat
    rest = _REST + np.array([_stance(rng, name) for name in DOFS])

    keys = [(-2.0, rest, 0.0)]
    turned = 0.0
    for accent in accents:
        turned += accent.hit.turn
        reach = accent.amplitude * size * rng.normal(1.0, 0.08)
        if rng.random() < MISS_SHARE:
            reach *= 0.35
        pose = rest.copy()
        for name, value in accent.hit.pose.items():
            pose[_COLUMN[name]] += (value - _REST[_COLUMN[name]]) * reach
        pose[_COLUMN["yaw"]] += turned
        late = float(np.interp(accent.beat, np.arange(len(jitter)), jitter)) + lag
        keys.append((score.beats[0] + accent.beat * beat + late, pose, accent.hit.hop * reach))
    last = rest.copy()
    last[_COLUMN["yaw"]] += turned
    keys.append((max(keys[-1][0] + 2 * beat, score.duration), last, 0.0))

    snap = SNAP[score.genre] * float(rng.uniform(0.9, 1.1))
    when, poses = np.array([k[0] for k in keys]), np.array([k[1] for k in keys])
    angles = np.empty((len(times), len(DOFS)))
    trail = {"head": rng.normal(0.006, 0.006), "l": rng.normal(0.0, 0.007), "r": rng.normal(0.0, 0.007), "body": 0.0}
    for name, k in _COLUMN.items():
        angles[:, k] = minimum_jerk_path(when, poses[:, k], times - trail[_part(name)], snap)
    angles[:, _COLUMN["jump"]] += sum(
        (_flight(times, keys[i - 1][0], key[0], key[2]) for i, key in enumerate(keys) if key[2] > 0),
        np.zeros(len(times)),
    )
    _bounce(angles, score, drive, jitter + lag, BOUNCE[score.genre] * size * rng.uniform(0.8, 1.2), times)
    for name, degrees in (("yaw", 5.0), ("roll", 1.2), ("hyaw", 5.0), ("lab", 2.0), ("rab", 2.0)):  # idle drift
        rate, phase = rng.uniform(0.08, 0.3), rng.uniform(0, 2 * np.pi)
        angles[:, _COLUMN[name]] += degrees * np.sin(2 * np.pi * rate * times + phase)
    return clip_angles(angles).astype(np.float32)


def _part(name: str) -> str:
    if name in ("hyaw", "hpitch", "hroll"):
        return "head"
    return name[0] if name in NEUTRAL and name[1:] in ("ab", "fl", "el", "tw") else "body"


def _stance(rng: np.random.Generator, name: str) -> float:
    """A dancer's own deviation from the neutral stance."""
    if name == "yaw":
        return rng.normal(0, 14)
    return rng.normal(0, 4) if name in NEUTRAL else 0.0


def minimum_jerk_path(when: np.ndarray, values: np.ndarray, times: np.ndarray, snap: float) -> np.ndarray:
    """Minimum-jerk path through `values` (K,) at ascending times `when` (K,), evaluated at `times` (T,). It is at rest at every key.

    snap: with more than 1, the motion comes later in each interval and stops more suddenly.
    """
    i = np.clip(np.searchsorted(when, times, side="right") - 1, 0, len(when) - 2)
    u = np.clip((times - when[i]) / np.maximum(when[i + 1] - when[i], 1e-6), 0.0, 1.0) ** snap
    return values[i] + (values[i + 1] - values[i]) * u**3 * (10 - 15 * u + 6 * u * u)


def _flight(times: np.ndarray, leave: float, land: float, height: float) -> np.ndarray:
    """A jump that lands at `land`: a parabola of at most 0.4 s."""
    span = min(0.4, 0.8 * (land - leave))
    u = (times - (land - span)) / span
    return np.where((u > 0) & (u < 1), 4 * height * u * (1 - u), 0.0)


def _bounce(
    angles: np.ndarray, score: Score, drive: np.ndarray, late: np.ndarray, depth: float, times: np.ndarray
) -> None:
    """Add the groove: the knees bend most on every beat (in calm passages on every second beat)."""
    n = len(score.beats)
    beat = 60.0 / score.tempo
    pulse = np.array([d >= CALM_ENERGY or b % 2 == 0 for b, d in enumerate(drive)])
    at = score.beats + late[:n]
    low = depth * (0.25 + 0.8 * drive) * np.resize(ACCENT, n) * pulse
    gap = np.where(np.append(pulse[1:], True), 0.58, 1.1) * beat  # until the knees are up again
    when = np.stack([at, at + gap], axis=1).ravel()
    values = np.stack([low, 0.35 * low], axis=1).ravel()
    keep = np.repeat(pulse, 2)
    when, values = np.append(-1.0, when[keep]), np.append(0.0, values[keep])
    dip = minimum_jerk_path(when, values, times, 1.1)
    for name, share in (("lhfl", 1.0), ("rhfl", 1.0), ("lkn", 1.8), ("rkn", 1.8), ("pitch", 0.2), ("hpitch", 0.35)):
        angles[:, _COLUMN[name]] += share * dip
