"""Finds the excerpt of a song that best fits a dance: by tempo, bars, and the strength of beats.

A beat of the dance is matched with a beat of the song, with every second one (the song counts twice as fast), or with every half
beat. Of all places in all songs that need no more stretching than LIMIT, the best is chosen: first by matching bars, then by
strong beats, then by little and even stretching. The speed changes as little and as rarely as possible while beats are met
within a few milliseconds (`_taut`), so that a steady song on a steady dance has no seams.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from d2m_model.generate.own_songs import OwnSong
from dataset_tools.lib.core.errors import UserError

LIMIT = 0.08
"""Largest stretch: the speed is within 1 - LIMIT to 1 + LIMIT."""
COUNTS = {1.0: 0.0, 2.0: 0.25, 0.5: 0.25}
"""Beats of the song per beat of the dance -> penalty in the score."""
LEAST_BEATS = 4
NEAR = 0.06
"""A down-beat is taken for the nearest beat if that is at most so many seconds away."""
OFFSETS = (0.008, 0.012, 0.016, 0.025, 0.035, 0.05, 0.07)
"""Candidate tolerances in seconds for meeting a beat; the first one that keeps the speed within LIMIT is used."""
UNEVEN = 0.05
"""`_unevenness` in seconds that costs 1 in the score, which is the most that it can cost."""
TRIED = 500
"""Number of places that are examined in detail, best first."""


@dataclass(frozen=True, kw_only=True)
class Fit:
    """An excerpt of a song, and how it is stretched onto the dance."""

    song: OwnSong
    moments: list[tuple[float, float]]
    """Pairs (second of the song, second of the dance), ascending, at least two; see `stretching`."""
    speeds: tuple[float, float]
    """Lowest and highest speed; 1 is the song's own."""
    downbeats: float | None
    """Share of the dance's down-beats that fall on down-beats of the song; None if either has none."""
    offset: float
    """Largest distance in seconds between a beat of the song and the beat of the dance that it is stretched to."""


@dataclass(frozen=True, kw_only=True)
class _Place:
    """A placement of the dance's beats in a song: the dance's first beat is at the song's beat number `first`."""

    song: OwnSong
    times: np.ndarray
    """(n,): times in the song, in seconds, for the dance's beats."""
    score: float
    downbeats: float | None


def best_fit(
    songs: Sequence[OwnSong],
    beats: np.ndarray,
    downbeats: np.ndarray,
    seconds: float,
    strength: np.ndarray | None = None,
) -> Fit:
    """The best-fitting excerpt for a dance of `seconds` with beats (n,) and down-beats (m,), in seconds, ascending. strength: of the
    beats, (n,) within 0..1, if known.

    Raises UserError for fewer than four beats, if no song has a similar tempo (the nearest one is named), and if none is long
    enough.
    """
    beats = np.asarray(beats, float)
    if len(beats) < LEAST_BEATS:
        raise UserError(
            f"the dance has {len(beats)} beats; own music is fitted to at least {LEAST_BEATS}: give them with --beats"
        )
    order = sorted(
        (p for song in songs for p in _places(song, beats, np.asarray(downbeats, float), seconds, strength)),
        key=lambda p: -p.score,
    )
    for place in order[:TRIED]:
        fit = _laid(place, beats, seconds)
        if fit is not None:
            return fit
    raise UserError(_why_none(songs, beats, seconds))


def counted(beats: np.ndarray) -> np.ndarray:
    """(n,): number of each beat, from 0; missing beats are counted, too."""
    gaps = np.diff(beats)
    return np.concatenate([[0], np.cumsum(np.maximum(1, np.rint(gaps / np.median(gaps))))])


def _places(
    song: OwnSong, beats: np.ndarray, downbeats: np.ndarray, seconds: float, strength: np.ndarray | None
) -> Iterator[_Place]:
    """All places in a song with a mean speed within LIMIT and music for the whole dance."""
    music = song.beats
    if len(music.beats) < LEAST_BEATS:
        return
    numbers, own = counted(beats), counted(music.beats)
    accented, own_accented = _numbers_of(downbeats, beats, numbers), _numbers_of(music.downbeats, music.beats, own)
    for count, cost in COUNTS.items():
        reach = numbers * count
        for first in np.arange(0, own[-1] - reach[-1] + 1e-9, min(1.0, count)):
            times = np.interp(first + reach, own, music.beats)
            speed = (times[-1] - times[0]) / (beats[-1] - beats[0])
            begin, end = times[0] - beats[0] * speed, times[-1] + (seconds - beats[-1]) * speed
            if abs(speed - 1) > LIMIT or begin < 0 or end > music.seconds:
                continue
            shared = (
                float(np.isin(first + accented * count, own_accented).mean())
                if len(accented) and len(own_accented)
                else None
            )
            score = _score(shared, music.strength, np.interp(first + reach, own, np.arange(len(own))), strength)
            cost_here = cost + 0.5 * abs(speed - 1) / LIMIT + min(1.0, _unevenness(times, beats) / UNEVEN)
            yield _Place(song=song, times=times, downbeats=shared, score=score - cost_here)


def _score(shared: float | None, own: np.ndarray, at: np.ndarray, strength: np.ndarray | None) -> float:
    """Score of a place. Matching bars count most, then strong beats on strong beats, then the strength of the song's beats."""
    score = 2 * (shared or 0.0)
    if len(own):
        there = np.interp(at, np.arange(len(own)), own)
        score += 0.25 * float(there.mean())
        if strength is not None and len(strength) == len(there) and np.std(strength) > 0 and np.std(there) > 0:
            score += 0.5 * float(np.corrcoef(strength, there)[0, 1])
    return score


def _unevenness(times: np.ndarray, beats: np.ndarray) -> float:
    """Root mean square of the seconds by which the song's times (n,), at one constant speed, would miss the dance's beats (n,)."""
    moved, at = beats - beats.mean(), times - times.mean()
    slope = float(moved @ at) / float(at @ at)
    return float(np.sqrt(np.mean((moved - slope * at) ** 2)))


def _numbers_of(downbeats: np.ndarray, beats: np.ndarray, numbers: np.ndarray) -> np.ndarray:
    """Numbers of the beats that are down-beats."""
    if not len(downbeats):
        return np.zeros(0)
    away = np.abs(downbeats[:, None] - beats[None, :])
    return np.unique(numbers[away.argmin(axis=1)[away.min(axis=1) <= NEAR]])


def _laid(place: _Place, beats: np.ndarray, seconds: float) -> Fit | None:
    """The fit at a place, in pieces of constant speed. None if no speeds within LIMIT meet all beats within the last of OFFSETS."""
    for offset in OFFSETS:
        kept, times = _taut(beats, place.times, offset)
        speeds = np.diff(times) / np.diff(beats[kept])
        begin, end = times[0] - beats[0] * speeds[0], times[-1] + (seconds - beats[-1]) * speeds[-1]
        if np.abs(speeds - 1).max() <= LIMIT and begin >= -NEAR and end <= place.song.beats.seconds + NEAR:
            missed = np.abs(np.interp(beats, beats[kept], times) - place.times).max()
            moments = list(zip(times.tolist(), beats[kept].tolist(), strict=True))
            lowest, highest = float(speeds.min()), float(speeds.max())
            return Fit(
                song=place.song,
                moments=moments,
                speeds=(lowest, highest),
                downbeats=place.downbeats,
                offset=float(missed),
            )
    return None


def _taut(at: np.ndarray, values: np.ndarray, offset: float) -> tuple[list[int], np.ndarray]:
    """A taut string: the polyline within `offset` of every value that bends least and whose steepest part is least steep. Returns the
    indices of its bends, including both ends, and its values there."""
    bends, heights = [0], [float(values[0])]
    while True:
        start, height = bends[-1], heights[-1]
        low, high, low_at, high_at = -np.inf, np.inf, start, start
        for k in range(start + 1, len(at)):
            run = at[k] - at[start]
            least, most = (values[k] - offset - height) / run, (values[k] + offset - height) / run
            if least > high or most < low:  # bends upwards at the tube's upper edge, downwards at its lower one
                bends.append(high_at if least > high else low_at)
                heights.append(float(values[bends[-1]] + (offset if least > high else -offset)))
                break
            if least > low:
                low, low_at = least, k
            if most < high:
                high, high_at = most, k
        else:
            run = at[-1] - at[start]
            slope = np.clip((values[-1] - height) / run, low, high)
            return [*bends, len(at) - 1], np.array([*heights, height + slope * run])


def _steady_enough(beats: np.ndarray, tempo: float) -> bool:
    """Whether a song with a perfectly even tempo, in beats a minute, and of any length, could be stretched onto a dance's beats (n,)."""
    for offset in OFFSETS:
        kept, times = _taut(beats, counted(beats) * 60 / tempo, offset)
        if np.abs(np.diff(times) / np.diff(beats[kept]) - 1).max() <= LIMIT:
            return True
    return False


def _why_none(songs: Sequence[OwnSong], beats: np.ndarray, seconds: float) -> str:
    tempo = 60 * (counted(beats)[-1]) / (beats[-1] - beats[0])
    known = [(song, song.beats.tempo / count) for song in songs if song.beats.tempo for count in COUNTS]
    if not known:
        return f"none of the {len(songs)} songs of --own-music has a beat that could be tracked; add songs with one"
    song, nearest = min(known, key=lambda k: abs(tempo / k[1] - 1))
    low, high = tempo / (1 + LIMIT), tempo / (1 - LIMIT)
    if not low <= nearest <= high:
        return (
            f"no song of --own-music comes to the dance's {tempo:.1f} beats a minute by a stretch of {LIMIT:.0%}; the nearest tempo is "
            f"{nearest:.1f} ({song.name}): add songs of {low:.0f} to {high:.0f}, of half or of twice that"
        )
    if not _steady_enough(beats, tempo):
        gaps = np.diff(beats) / np.diff(counted(beats))
        return (
            f"the dance's beats are too uneven for songs of a steady tempo: {gaps.min():.2f} to {gaps.max():.2f} s from one to the next, which "
            f"a stretch of {LIMIT:.0%} can't follow; move or delete the beats that stray, or take every second one (their mean tempo is "
            f"{tempo:.1f} beats a minute, the nearest song's is {nearest:.1f}: {song.name})"
        )
    return (
        f"no song of --own-music has an excerpt for the dance's {seconds:.1f} s at {tempo:.1f} beats a minute within a stretch of {LIMIT:.0%}; "
        f"{song.name} has the nearest tempo, {nearest:.1f}, and lasts {song.beats.seconds:.1f} s: add songs that are longer, steadier or nearer to that tempo"
    )
