"""Changes the beats of a dance: half or twice as many, moved in time, on other places, or a person's own list.

Each function returns new `Beats` with their own tempo; length, frame rate and style stay. The down-beats of the result are among its
beats: a down-beat stands for the nearest beat if that is at most `NEAR` away, and is left out otherwise.
"""

import dataclasses
from typing import Any

import numpy as np

from d2m_model.rhythm.beats_file import DIGITS, Beats, as_numbers, tempo_of
from dataset_tools.lib.core.errors import UserError

NEAR = 0.06
"""Largest distance in seconds between a down-beat and the beat that it stands for."""
WITHIN = 0.12
"""Largest distance in seconds over which a beat is snapped, or stays the same beat where a person moved it."""


def halved(beats: Beats) -> Beats:
    """Every second beat. Of the two ways to choose, the one that keeps more down-beats. A bar keeps its number of beats, so it lasts
    twice as long."""
    accents = accents_of(beats)
    first = parity_of(accents)
    kept = np.arange(first, len(beats.beats), 2)
    strong = (accents[accents % 2 == first] - first) // 2
    return _made(beats, beats.beats[kept], bar_starts(len(kept), strong, bar_of(accents)), _of(beats.strength, kept))


def doubled(beats: Beats) -> Beats:
    """A further beat midway between each two, as strong as their mean. A bar keeps its number of beats, so it lasts half as long.
    Raises ValueError for more beats than `Beats` allows."""
    if len(beats.beats) < 2:
        return _made(beats, beats.beats, accents_of(beats), beats.strength)
    accents = accents_of(beats)
    times, strength = _with_middles(beats.beats), _with_middles(beats.strength)
    return _made(beats, times, bar_starts(len(times), 2 * accents, bar_of(accents)), strength)


def shifted(beats: Beats, seconds: float) -> Beats:
    """All beats `seconds` later, or earlier if it is negative. Beats that leave the dance are dropped. Raises ValueError if it is no
    finite number."""
    moved = as_numbers("beats", beats.beats + seconds)
    kept = (moved >= 0) & (moved <= beats.seconds)
    strong = np.isin(np.arange(len(moved)), accents_of(beats))
    return _made(beats, moved[kept], np.flatnonzero(strong[kept]), _of(beats.strength, kept))


def snapped(beats: Beats, to: np.ndarray, within: float = WITHIN) -> Beats:
    """Each beat on the nearest of the times `to` (k,), in seconds, if that is at most `within` away; other beats stay. If a time is the
    nearest one of several beats, it gets the nearest of them. So the order stays, and no two beats fall on one time. Times outside of
    the dance are not used.
    """
    to = np.unique(np.asarray(to, np.float64))
    to = to[(to >= 0) & (to <= beats.seconds)]
    if not len(to) or not len(beats.beats):
        return _made(beats, beats.beats, accents_of(beats), beats.strength)
    goal = nearest(beats.beats, to)
    away = np.abs(to[goal] - beats.beats)
    order = np.lexsort((away, goal))  # of the beats with one goal, the nearest first
    won = order[np.concatenate([[True], np.diff(goal[order]) > 0])]
    won = won[away[won] <= within]
    times = beats.beats.copy()
    times[won] = to[goal[won]]
    return _made(beats, times, accents_of(beats), beats.strength)


def with_beats(beats: Beats, times: Any, downbeats: Any) -> Beats:
    """A person's list of beats, in seconds, in any order, in place of the dance's; rounded as in the file of beats, and a time that comes
    twice counts once. downbeats: those of the times that begin a bar. A beat at most `WITHIN` from one of the dance's has its strength,
    any other the strength 1; if the dance's strengths are unknown, they stay unknown.

    Raises UserError for anything but finite numbers within the dance, for too many, and for a down-beat that is no beat.
    """
    try:
        own = np.unique(np.round(as_numbers("beats", times), DIGITS["beats"]))
        strong = np.round(as_numbers("downbeats", downbeats), DIGITS["downbeats"])
        at = nearest(strong, own) if len(own) else np.zeros(len(strong), int)
        stray = strong[np.abs(own[at] - strong) > NEAR] if len(own) else strong
        if len(stray):
            raise ValueError(f"each down-beat must be one of the beats, found {stray[0]:g} s")
        strength = beats.strength
        if len(strength):
            old = nearest(own, beats.beats)
            strength = np.where(np.abs(beats.beats[old] - own) <= WITHIN, strength[old], 1.0)
        return _made(beats, own, np.unique(at), strength)
    except ValueError as err:
        raise UserError(f"{err}; correct the list of beats") from None


def accents_of(beats: Beats) -> np.ndarray:
    """(m,) ascending numbers, from 0, of the beats that are down-beats."""
    if not len(beats.downbeats) or not len(beats.beats):
        return np.zeros(0, int)
    at = nearest(beats.downbeats, beats.beats)
    return np.unique(at[np.abs(beats.beats[at] - beats.downbeats) <= NEAR])


def bar_of(accents: np.ndarray) -> int:
    """Beats of a bar, where down-beats are at the ascending numbers `accents` (m,); 0 for fewer than two."""
    return int(np.median(np.diff(accents))) if len(accents) > 1 else 0


def parity_of(accents: np.ndarray) -> int:
    """0 if the even ones of these numbers (m,) are to be kept, 1 for the odd ones: those that are more, or else the first one's."""
    odd = int((accents % 2).sum())
    return int(accents[0] % 2) if len(accents) and 2 * odd == len(accents) else int(2 * odd > len(accents))


def bar_starts(count: int, accents: np.ndarray, bar: int) -> np.ndarray:
    """(k,) ascending numbers of the down-beats of `count` beats: one every `bar` beats, counted anew from each of the numbers `accents`
    (m,), ascending, that is at least a bar and less than two after the last one. A `bar` of 0 is unknown: only `accents`."""
    if bar < 1 or not len(accents):
        return np.asarray(accents, int)
    starts = list(range(int(accents[0]) % bar, int(accents[0]) + 1, bar))
    while (due := starts[-1] + bar) < count:
        after = int(np.searchsorted(accents, due))
        again = after < len(accents) and accents[after] < due + bar
        starts.append(int(accents[after]) if again else due)
    return np.array(starts)


def nearest(times: np.ndarray, of: np.ndarray) -> np.ndarray:
    """(n,) for each of `times` (n,) the number of the nearest time among `of` (m,), ascending, at least one; the earlier one if two are
    as near."""
    right = np.searchsorted(of, times).clip(max=len(of) - 1)
    left = (right - 1).clip(min=0)
    return np.where(np.abs(times - of[left]) <= np.abs(of[right] - times), left, right)


def _with_middles(values: np.ndarray) -> np.ndarray:
    """Values (n,) with the mean between each two of them: (2 n - 1,); nothing for nothing."""
    out = np.empty(max(0, 2 * len(values) - 1))
    out[::2], out[1::2] = values, (values[:-1] + values[1:]) / 2
    return out


def _of(strength: np.ndarray, kept: np.ndarray) -> np.ndarray:
    """The strengths of some beats; none if they are unknown."""
    return strength[kept] if len(strength) else strength


def _made(beats: Beats, times: np.ndarray, accents: np.ndarray, strength: np.ndarray) -> Beats:
    return dataclasses.replace(beats, beats=times, downbeats=times[accents], strength=strength, tempo=tempo_of(times))
