"""Scores one system with all protocols: {clip: audio} against {clip: reference}, as a summary and one row per clip."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from d2m_model.metrics.audio_features import AudioFeatures
from d2m_model.metrics.audio_quality import log_mel_distance, loudness
from d2m_model.metrics.beat_bins import BinCounts, count_bins, coverage_and_hit, precision_and_recall
from d2m_model.metrics.bootstrap import resamples, weighted_mean, with_intervals
from d2m_model.metrics.inputs import ReferenceBeats, as_long
from d2m_model.metrics.p4_onsets import (
    WINDOWS,
    alignment,
    beat_f_measure,
    envelope_correlation,
    own_and_other,
    own_minus_other,
    pair_scores,
    tempo_error,
)
from d2m_model.metrics.permutation import chance, permuted_differences

PROTOCOLS = ("P1", "P2", "P3", "P4")


@dataclass
class Reference:
    """What systems are scored against. The features of each clip are computed once."""

    audio: Mapping[str, np.ndarray]
    """clip -> mono float32 (S,) at 22 050 Hz, the clip's own music."""
    songs: Mapping[str, str] | None = None
    """clip -> song id. Clips of one song are never compared as 'other dances'. None: unknown, each clip counts as its own song."""
    beats: Mapping[str, np.ndarray] = field(default_factory=dict)
    """clip -> true beat times in seconds, if the corpus has them (the demo corpus does)."""
    motion_beats: Mapping[str, np.ndarray] = field(default_factory=dict)
    """clip -> times in seconds of the minima of the primary dancer's speed, for clips with a dance."""
    rhythm: Mapping[str, ReferenceBeats] = field(default_factory=dict)
    """clip -> the beats that the stage `rhythm` predicted from its motion, which are the condition of the prior."""

    def __post_init__(self):
        self.features = {c: AudioFeatures(a) for c, a in self.audio.items()}
        self.seconds = {c: s.seconds for c, s in self.features.items()}
        self.song_of = self.songs or {c: c for c in self.audio}


def score_system(
    audio: Mapping[str, np.ndarray], reference: Reference, *, protocols=PROTOCOLS, draws: int = 2000, seed: int = 0,
    segments: bool = False,
) -> tuple[dict, list[dict]]:  # fmt: skip
    """Score one system.

    audio : clip -> mono float32 (S,) at 22 050 Hz; every clip must be in `reference`. If the audio and its reference differ in
    length, the longer one is cut; but audio that lacks more than a tenth of its reference is padded with silence
    (`inputs.as_long`). segments : score P1 and P2 over whole segments of 2 s, like the paper, instead of whole clips.
    Returns (summary, rows): summary[protocol] is a dict of numbers, rows has one dict per clip. P1 to P3 are in percent, P4's
    F-measures within 0..1. With all protocols there is also summary['sound']: loudness and spectrum. Each score has its bootstrap
    95 % interval over clips, `<score>_low` and `_high`, and, where songs are known, over songs, `_song_low` and `_song_high`. P4's
    differences also have `p` and `permuted` from `permutation.chance`, and `left_out`, the clips without a difference, if any.
    """
    clips = sorted(audio)
    pairs = {}
    for clip in clips:
        own = reference.features[clip]
        made = as_long(audio[clip], len(own.audio))
        pairs[clip] = (AudioFeatures(made), own.cut(len(made)))
    songs = [reference.song_of[c] for c in clips]
    weights = resamples(len(clips), songs if reference.songs else None, draws=draws, seed=seed)
    rows = {
        clip: {"clip_id": clip, "song": song, "seconds": pairs[clip][0].seconds}
        for clip, song in zip(clips, songs, strict=True)
    }
    summary: dict = {}
    for protocol in ("P1", "P2"):
        if protocol in protocols:
            summary[protocol] = whole_bins(protocol, pairs, rows, weights, segments)
    if "P3" in protocols:
        summary["P3"] = fine_bins("P3", pairs, rows, weights)
    if "P4" in protocols:
        summary["P4"] = timing(pairs, reference, rows, weights, draws=draws, seed=seed)
    if set(protocols) == set(PROTOCOLS):
        summary["sound"] = audio_quality(pairs, rows, weights)
    return summary, [rows[c] for c in clips]


def whole_bins(
    protocol: str,
    pairs: Mapping[str, tuple[AudioFeatures, AudioFeatures]],
    rows: dict,
    weights: Mapping,
    segments: bool = False,
) -> dict:
    """P1 or P2 over whole clips, or over the segments of all clips, each with the weight of its clip. Adds the counts of each clip
    to its row."""
    owners, counts = [], []
    for clip, (generated, reference) in pairs.items():
        parts = zip(generated.segments, reference.segments, strict=True) if segments else [(generated, reference)]
        found = [count_bins(g.bins[protocol], r.bins[protocol]) for g, r in parts]
        owners += [list(rows).index(clip)] * len(found)
        counts += found
        _add_counts(rows, protocol, [clip], [_total(found)])
    summarise = coverage_and_hit if protocol == "P1" else precision_and_recall
    scores = with_intervals(summarise(counts), len(counts), {kind: w[:, owners] for kind, w in weights.items()})
    scores |= {"clips": len(pairs)} | ({"segments": len(counts)} if segments else {})
    return scores | {"undefined": sum(c.reference == 0 for c in counts)}


def _total(counts: Sequence[BinCounts]) -> BinCounts:
    return BinCounts(**{k: sum(getattr(c, k) for c in counts) for k in ("generated", "reference", "both")})


def fine_bins(
    protocol: str, pairs: Mapping[str, tuple[AudioFeatures, AudioFeatures]], rows: dict, weights: Mapping
) -> dict:
    """P3 over the pieces of all clips, each with the weight of its clip; the tempo difference is the mean over pieces in BPM."""
    owners, counts, tempo = [], [], []
    for clip, (generated, reference) in pairs.items():
        pieces = list(zip(generated.pieces, reference.pieces, strict=True))
        found = [count_bins(g.fine_bins, r.fine_bins) for g, r in pieces]
        owners += [clip] * len(found)
        counts += found
        tempo += [tempo_error(g.tempo, r.tempo) for g, r in pieces]
        _add_counts(rows, protocol, [clip], [_total(found)])
    index = [list(pairs).index(c) for c in owners]
    scores = precision_and_recall(counts)
    summary = lambda w: scores(w) | {"tempo_difference_bpm": weighted_mean(w, np.array(tempo))}
    by_piece = {kind: w[:, index] for kind, w in weights.items()}
    undefined = sum(c.reference == 0 for c in counts)
    return with_intervals(summary, len(counts), by_piece) | {
        "clips": len(pairs),
        "pieces": len(counts),
        "tempo_difference_bpm_pieces": int((~np.isnan(tempo)).sum()),
        "undefined": undefined,
    }


def _add_counts(rows: dict, protocol: str, clips: Sequence[str], counts: Sequence[BinCounts]) -> None:
    for clip, n in zip(clips, counts, strict=True):
        rows[clip] |= {
            f"{protocol}_generated": n.generated,
            f"{protocol}_reference": n.reference,
            f"{protocol}_both": n.both,
        }


def timing(
    pairs: Mapping[str, tuple[AudioFeatures, AudioFeatures]],
    reference: Reference,
    rows: dict,
    weights: Mapping,
    *,
    draws: int,
    seed: int,
) -> dict:
    """P4: own, other and difference for each kind of reference, with the values by chance except at ±50 ms. The other scores are
    means over clips."""
    onsets = {c: g.onsets for c, (g, _) in pairs.items()}
    tracked = {c: g.tracked_beats for c, (g, _) in pairs.items() if g.tracked_beats is not None}
    kinds: list[tuple] = [
        (f"onsets_{_ms(w)}", onsets, {c: s.onsets for c, s in reference.features.items()}, w, None) for w in WINDOWS
    ]
    if reference.beats:
        kinds += [(f"beats_{_ms(w)}", onsets, reference.beats, w, None) for w in WINDOWS]
    if reference.rhythm:
        given = {c: found.beats for c, found in reference.rhythm.items()}
        kinds += [(f"rhythm_{_ms(w)}", onsets, given, w, None) for w in WINDOWS]
    if tracked:
        wanted = {c: s.tracked_beats for c, s in reference.features.items() if s.tracked_beats is not None}
        if reference.beats:  # own and other need the same clips, else music that ignores the dance is not at 0
            wanted = {c: reference.beats[c] for c in wanted}
        for w in WINDOWS:
            kinds.append((f"tracked_{_ms(w)}", tracked, wanted, w, lambda r, e, w=w: beat_f_measure(r, e, w)))
    if reference.motion_beats:
        kinds.append(
            ("music_to_motion", onsets, reference.motion_beats, None, lambda motion, music: alignment(music, motion))
        )
        kinds.append(("motion_to_music", onsets, reference.motion_beats, None, alignment))
    seconds = reference.seconds | {c: g.seconds for c, (g, _) in pairs.items()}
    result: dict[str, dict[str, Any]] = {}
    for name, found, known, window, score in kinds:
        compared = (pair_scores(found, known, seconds, window, score), list(found), list(known), reference.song_of)
        both = own_and_other(*compared)
        values = np.array([both.get(c, (np.nan, np.nan)) for c in pairs], float)
        result[name] = _difference(values, weights)
        if missing := [clip for clip, value in zip(pairs, values, strict=True) if np.isnan(value).any()]:
            result[name]["left_out"] = missing
        if window != WINDOWS[1]:
            result[name] |= chance(permuted_differences(*compared), draws=draws, seed=seed)
            word = name.removesuffix(f"_{_ms(WINDOWS[0])}")
            for clip, (own_f, other_f) in both.items():
                rows[clip] |= {f"P4_{word}_own": own_f, f"P4_{word}_other": other_f}
    measured = []
    for clip, (generated, own) in pairs.items():
        peak, lag = envelope_correlation(generated.envelope, own.envelope)
        scores = {
            "envelope_peak": peak,
            "envelope_lag_s": lag,
            "tempo_error_bpm": tempo_error(generated.tempo, own.tempo),
        }
        rows[clip] |= scores | {"onsets": len(generated.onsets), "reference_tempo": own.tempo}
        measured.append(scores)
    made, known = np.array([(len(g.onsets), len(own.onsets)) for g, own in pairs.values()], float).T
    ratio = lambda w: {"onset_ratio": weighted_mean(w, made) / weighted_mean(w, known)}
    return result | _means(measured, weights) | with_intervals(ratio, len(pairs), weights)


def rhythm_scores(
    reference: Reference, downbeats: Mapping[str, np.ndarray], *, draws: int = 2000, seed: int = 0
) -> dict:
    """Scores of the stage `rhythm` itself: {'beats', 'downbeats': own, other and difference of the beat F-measure (±70 ms, mir_eval,
    without trimming) against the true ones, with intervals}; {} where predicted or true beats are unknown. downbeats : clip ->
    true down-beats."""
    clips = sorted(reference.rhythm)
    if not clips or not reference.beats:
        return {}
    weights = resamples(
        len(clips), [reference.song_of[c] for c in clips] if reference.songs else None, draws=draws, seed=seed
    )
    found = {}
    for name, known in (("beats", reference.beats), ("downbeats", downbeats)):
        read = {c: getattr(reference.rhythm[c], name) for c in clips}
        both = own_minus_other(read, known, reference.seconds, reference.song_of, score=beat_f_measure)
        found[name] = _difference(np.array([both[c] for c in clips], float), weights)
    return found


def audio_quality(pairs: Mapping[str, tuple[AudioFeatures, AudioFeatures]], rows: dict, weights: Mapping) -> dict:
    """Loudness in LUFS, its absolute difference from the clip's own music in LU, and the log-mel distance to that music in dB."""
    measured = []
    for clip, (generated, own) in pairs.items():
        lufs = loudness(generated.audio)
        found = {
            "lufs": lufs,
            "loudness_difference_lu": abs(lufs - loudness(own.audio)),
            "log_mel_distance_db": log_mel_distance(generated.audio, own.audio),
        }
        rows[clip] |= found
        measured.append(found)
    return _means(measured, weights)


def _means(measured: Sequence[Mapping[str, float]], weights: Mapping[str, np.ndarray]) -> dict:
    """Mean over clips of each measure with its intervals, and the number of clips that have it as `<measure>_clips`."""
    columns = {name: np.array([m[name] for m in measured]) for name in measured[0]}
    scores = with_intervals(lambda w: {k: weighted_mean(w, v) for k, v in columns.items()}, len(measured), weights)
    return scores | {f"{k}_clips": int((~np.isnan(v)).sum()) for k, v in columns.items()} | {"clips": len(measured)}


def _ms(window: float) -> str:
    return f"{round(window * 1000)}ms"


def _difference(values: np.ndarray, weights: Mapping[str, np.ndarray]) -> dict[str, float]:
    """Own, other and their paired difference, from values (clips, 2) with nan where undefined; `clips` counts those with both."""
    own, other = values.T
    summary = lambda w: {
        "own": weighted_mean(w, own),
        "other": weighted_mean(w, other),
        "difference": weighted_mean(w, own - other),
    }
    usable = int((~np.isnan(own - other)).sum())
    return with_intervals(summary, len(values), weights) | {"clips": usable, "undefined": len(values) - usable}
