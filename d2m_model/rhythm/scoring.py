"""How well beats predicted from motion agree with the clip's own music, compared with other music."""

from collections.abc import Mapping

import numpy as np

from d2m_model.metrics.bootstrap import resamples, weighted_mean, with_intervals
from d2m_model.metrics.p4_onsets import beat_f_measure, own_minus_other
from d2m_model.rhythm.beats_file import Beats
from dataset_tools.lib.shard_io.shard_format import ClipEntry

REGULAR = 0.25
"""Largest spread of the gaps (standard deviation over mean) of regular beats."""
TEMPOS = (60.0, 180.0)
"""Range of the tempo of regular beats, in beats per minute."""


def likeliest_style(beats: Beats) -> str:
    """The likeliest genre; '' without a style."""
    return max(beats.style, key=beats.style.__getitem__, default="")


def spread_of_gaps(beats: np.ndarray) -> float:
    """Standard deviation over mean of the gaps between beats (n,) in seconds; nan for fewer than three."""
    gaps = np.diff(beats)
    return float(gaps.std() / gaps.mean()) if len(gaps) > 1 else float("nan")


def is_regular(beats: Beats) -> bool:
    """Whether music can be played to these beats: three or more, with similar gaps, at 60 to 180 per minute."""
    return (
        bool(spread_of_gaps(beats.beats) < REGULAR)
        and beats.tempo is not None
        and TEMPOS[0] <= beats.tempo <= TEMPOS[1]
    )


def scores(
    read: Mapping[str, Beats], music: Mapping[str, Beats], clips: list[ClipEntry], draws: int
) -> dict[str, float]:
    """Means over clips, with the bounds of their 95 % intervals over clips (`_low`, `_high`) and over songs (`_song_low`, ...).

    F_beats, F_downbeats: F-measures (±70 ms) of the predicted beats (`read`) against the clip's own `music`. other: mean F_beats
    against the music of clips of other songs. difference: F_beats minus other. style: share of clips whose likeliest genre is
    right; clips without a genre are left out. regular: share of clips with regular beats. tempo: share of clips whose tempo is
    within 4 % of the music's.
    """
    names, songs = [c.clip_id for c in clips], {c.clip_id: c.song for c in clips}
    seconds = {name: music[name].seconds for name in names}
    times = lambda side, key: {name: getattr(side[name], key) for name in names}
    pairs = own_minus_other(times(read, "beats"), times(music, "beats"), seconds, songs, score=beat_f_measure)
    own, other = np.array([pairs[name] for name in names], float).reshape(-1, 2).T
    near = lambda a, b: np.nan if b is None else float(a is not None and abs(a / b - 1) <= 0.04)
    values = {
        "F_beats": own,
        "F_downbeats": np.array([beat_f_measure(music[n].downbeats, read[n].downbeats) for n in names]),
        "other": other,
        "difference": own - other,
        "style": np.array([float(likeliest_style(read[c.clip_id]) == c.genre) if c.genre else np.nan for c in clips]),
        "regular": np.array([float(is_regular(read[n])) for n in names]),
        "tempo": np.array([near(read[n].tempo, music[n].tempo) for n in names]),
    }
    weights = resamples(len(clips), [c.song for c in clips], draws=draws)
    return with_intervals(lambda w: {name: weighted_mean(w, v) for name, v in values.items()}, len(clips), weights)
