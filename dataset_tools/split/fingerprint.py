"""Audio fingerprints that find the same recording in two clips, even if it was cut, encoded, sped up, slowed down or pitch-shifted.

A fingerprint is the sign of the change over time of the slope along frequency (Haitsma and Kalker, ISMIR 2002), here on bands
that are a semitone wide and a third of a semitone apart. So a change of pitch is a shift along the bands, and a change of tempo
a stretch along time.

Two clips are compared at every lag and at the changes that editors make: small changes of tempo and pitch, and up to 31 % of
tempo, with the pitch unchanged or changed as on a tape. Pairs that agree a little are compared again at values in between.

The score is the cosine between the signs where the clips overlap: 1 for equal bits, 0 for unrelated ones. Songs that share drum
sounds, patterns or chords score above 0, but do not agree band by band and frame by frame.
"""

import math
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import combinations, pairwise
from typing import NamedTuple

import numpy as np
from scipy import fft, signal
from threadpoolctl import threadpool_limits

from dataset_tools.lib.core.progress import progress
from dataset_tools.lib.core.timebase import SAMPLE_RATE
from dataset_tools.split.slope_bits import BANDS_PER_SEMITONE, CHANGE_FRAMES, PITCH_BANDS, compute_bits

HOP = 1024
"""Samples between frames: 46 ms."""
WINDOW = 4096
"""Samples of a frame: 186 ms, long enough to resolve semitones above 200 Hz."""
LOWEST_HZ = 180.0
"""Frequency of the lowest band."""
SEMITONES = 60
"""Range of the bands: 5 octaves, up to 5.8 kHz, which every codec preserves."""
TEMPO_STEP = 0.02
"""Step between the tempi at which all clips are compared; half of it for pairs that agree a little."""
CHANGES = (
    *((1.0, shift) for shift in range(PITCH_BANDS + 1)),
    *((tempo, shift) for tempo in (1.02, 1.04, 1.06) for shift in range(-PITCH_BANDS, PITCH_BANDS + 1)),
    *(
        (1 + k / 100, shift)
        for k in range(8, 31, 2)
        for shift in (0, round(12 * BANDS_PER_SEMITONE * math.log2(1 + k / 100)))
    ),
)
"""(tempo of the first clip of a pair relative to the second, its shift in bands). Every pair is compared in both orders."""
ENERGY_FLOOR = 1e-2
"""Energy relative to the clip's loud bands; less counts as silence, so that quiet noise has no bits."""
PIECE_FRAMES = 215
"""Length of the pieces that are compared: 10 s, so that 1 % of tempo shifts their ends by at most a frame."""
MIN_OVERLAP = round(3.0 * SAMPLE_RATE / HOP)
"""Frames by which two clips must overlap: 3 s."""
MIN_BIT_DENSITY = 0.1
"""Fraction of the bits that must not be silent where two clips overlap."""
RECHECK_SHARE = 0.6
"""A pair with this fraction of the required score is compared again at tempi and pitches in between."""
SAME_RECORDING = 0.48
"""Least score of the same recording; benchmarks/fingerprint.py measures its recall and precision."""
LAG_RANGE = 3
"""Frames around a lag that are tried at other tempi."""
ALL_PAIRS = 500
"""Up to so many clips all pairs are compared; of more, those that `candidates` names."""
BLOCK_CLIPS = 16
"""Clips that are compared with their candidates at once."""
FEW_CLIPS = 4
"""The same, where each clip has few candidates: larger blocks would mostly compare clips that are none."""
BLOCK_PARTNERS = 512
"""Candidates with which they are compared at once; both limit the memory."""


@dataclass(frozen=True, kw_only=True)
class Match:
    """Two clips that are probably the same recording."""

    first: str
    second: str
    score: float
    """Cosine of the bits, SAME_RECORDING to 1."""
    tempo: float
    """Tempo of `first` divided by the tempo of `second`."""
    semitones: float
    """Pitch of `first` minus pitch of `second`."""
    seconds: float
    """Length of the overlap, in time of the slower clip; at most the length of a piece."""


def _filter_bank() -> np.ndarray:
    """Weights of the spectrum's bins (bands, WINDOW / 2 + 1) float32: triangles of a semitone to either side."""
    frequency = np.maximum(np.fft.rfftfreq(WINDOW, 1 / SAMPLE_RATE), 1.0)
    centres = np.arange(SEMITONES * BANDS_PER_SEMITONE)[:, None] / BANDS_PER_SEMITONE
    return np.maximum(0, 1 - np.abs(12 * np.log2(frequency / LOWEST_HZ) - centres)).astype(np.float32)


ALL_BINS = _filter_bank()
BINS = slice(np.flatnonzero(ALL_BINS.any(0))[0], np.flatnonzero(ALL_BINS.any(0))[-1] + 1)
"""Bins of the spectrum that the bands cover."""
FILTER_BANK = np.ascontiguousarray(ALL_BINS[:, BINS])
TAPER = signal.get_window("hann", WINDOW).astype(np.float32) * np.float32(2 / WINDOW)
"""Hann window whose sum is 1."""


@threadpool_limits.wrap(limits=1, user_api="blas")
def fingerprint(audio: np.ndarray) -> np.ndarray:
    """Mono audio (N,) at 22 050 Hz, of any level -> log energies (T, bands) float32, whose slopes along frequency are compared. T = 0
    for audio that is silent or shorter than a frame."""
    if len(audio) < WINDOW or not np.any(audio):
        return np.zeros((0, len(FILTER_BANK)), np.float32)
    padded = np.pad(audio.astype(np.float32), (WINDOW // 2, WINDOW // 2 + -len(audio) % HOP))
    frames = np.lib.stride_tricks.sliding_window_view(padded, WINDOW)[::HOP]
    spectrum = fft.rfft(frames * TAPER, axis=1)[:, BINS]
    energy = FILTER_BANK @ (spectrum.real**2 + spectrum.imag**2).T
    return np.log(energy / max(np.quantile(energy, 0.99), 1e-20) + ENERGY_FLOOR).T.astype(np.float32)


@threadpool_limits.wrap(limits=1, user_api="blas")  # for small products, more threads only wait for each other
def find_same_recordings(
    fingerprints: Mapping[str, np.ndarray],
    group_of: Mapping[str, str],
    least: float = SAME_RECORDING,
    label: str = "split: comparing",
    listening: str = "split: listening",
) -> list[Match]:
    """Pairs of clips of different groups (songs) with the same recording, best first, one match per pair of clips; of more than ALL_PAIRS
    clips, one match per pair of groups.

    fingerprints: clip id -> its `fingerprint`; it may compute or read one whenever it is asked for, then the memory does not grow with
    it. Clips shorter than 3 s are never matched.
    group_of: clip id -> its song.
    least: lowest score of a match.
    label: label of the progress bars; listening: that of the first one, during which each fingerprint is asked for once.
    """
    if len(fingerprints) <= ALL_PAIRS:
        fingerprints = {
            clip_id: fingerprints[clip_id] for clip_id in progress(sorted(fingerprints), listening, unit="clip")
        }
        pairs = [(a, b) for a, b in combinations(sorted(fingerprints), 2) if group_of[a] != group_of[b]]
        return compare_pairs(fingerprints, pairs, least, label)
    from dataset_tools.split.candidates import find_candidates  # compiles

    return compare_candidates(
        fingerprints, find_candidates(fingerprints, group_of, least, (listening, label)), least, label
    )


def compare_candidates(
    fingerprints: Mapping[str, np.ndarray],
    candidates: list[list[tuple[str, str]]],
    least: float = SAME_RECORDING,
    label: str = "split: comparing",
) -> list[Match]:
    """Of each list of pairs of clips the first that has the same recording; best first."""
    matches: list[Match] = []
    while candidates:
        found = compare_pairs(fingerprints, [pairs[0] for pairs in candidates], least, label, FEW_CLIPS)
        matches += found
        done = {(match.first, match.second) for match in found}
        candidates = [pairs[1:] for pairs in candidates if pairs[0] not in done and len(pairs) > 1]
    return sorted(matches, key=_by_score)


def _by_score(match: Match) -> tuple:
    return -match.score, match.first, match.second


@threadpool_limits.wrap(limits=1, user_api="blas")
def compare_pairs(
    fingerprints: Mapping[str, np.ndarray],
    pairs: list[tuple[str, str]],
    least: float = SAME_RECORDING,
    label: str = "split: comparing",
    block_clips: int = BLOCK_CLIPS,
) -> list[Match]:
    """Those of the pairs of clips that have the same recording, best first. block_clips: compared at once; changes the time only."""
    partners: dict[str, set[str]] = defaultdict(set)
    for first, second in pairs:
        partners[first].add(second)
        partners[second].add(first)
    rows = sorted(partners)
    best: dict[tuple[str, str], Match] = {}
    for begin in progress(range(0, len(rows), block_clips), label, unit="block"):
        block = {clip_id: partners[clip_id] for clip_id in rows[begin : begin + block_clips]}
        for match in _compare(fingerprints, block, least):
            key = (match.first, match.second)
            best[key] = max(best.get(key, match), match, key=lambda m: m.score)
    return sorted(best.values(), key=_by_score)


def _compare(fingerprints: Mapping[str, np.ndarray], partners: dict[str, set[str]], least: float) -> Iterator[Match]:
    """Yield the matches of clips with their partners, of which the clips are the faster ones or as fast."""
    firsts = list(_split_pieces(fingerprints, partners))
    columns = sorted(set().union(*partners.values()))
    for begin in range(0, len(columns), BLOCK_PARTNERS):
        seconds = list(_split_pieces(fingerprints, columns[begin : begin + BLOCK_PARTNERS]))
        if not firsts or not seconds:
            continue
        longest = max(len(values) for _, values in firsts + seconds)
        size = fft.next_fast_len(
            math.ceil(longest * (1 + CHANGES[-1][0])) - MIN_OVERLAP, real=True
        )  # circular correlation: only lags with too little overlap may wrap around
        slower = _PieceBits([compute_bits(values, 1.0, 0) for _, values in seconds], size)
        wanted = np.array([[second in partners[first] for second, _ in seconds] for first, _ in firsts])
        likely: dict[tuple[int, int], _Alignment] = {}
        for tempo, shift in CHANGES:
            faster = _PieceBits([compute_bits(values, tempo, shift) for _, values in firsts], size)
            for i, j, lag, score in _find_alike(faster, slower, wanted, RECHECK_SHARE * least):
                if score > likely.get((i, j), NO_ALIGNMENT).score:
                    likely[i, j] = _Alignment(score, tempo, shift, lag)
        for (i, j), rough in likely.items():
            alignment = _refine(rough, firsts[i][1], slower.pieces[j])
            if alignment.score >= least:
                yield _describe_match(firsts[i][0], seconds[j][0], alignment)


def _describe_match(first: str, second: str, alignment: "_Alignment") -> Match:
    swapped = first > second
    return Match(
        first=min(first, second), second=max(first, second), score=round(alignment.score, 3),
        tempo=round(1 / alignment.tempo if swapped else alignment.tempo, 2),
        semitones=round((-alignment.shift if swapped else alignment.shift) / BANDS_PER_SEMITONE, 2), seconds=round(alignment.seconds, 1),
    )  # fmt: skip


class _Alignment(NamedTuple):
    """Alignment of two pieces."""

    score: float
    tempo: float
    """Tempo of the first divided by the tempo of the second."""
    shift: int
    """Pitch of the first minus pitch of the second, in bands."""
    lag: int
    """Frame of the second at which the first starts, at the second's tempo."""
    seconds: float = 0.0
    """Length of the overlap."""


NO_ALIGNMENT = _Alignment(-1.0, 1.0, 0, 0)


def _refine(alignment: _Alignment, first: np.ndarray, second: np.ndarray) -> _Alignment:
    """The best alignment near `alignment`. first: log energies (T, bands); second: bits."""
    best = NO_ALIGNMENT
    for tempo in (alignment.tempo - TEMPO_STEP / 2, alignment.tempo, alignment.tempo + TEMPO_STEP / 2):
        for shift in (alignment.shift - 1, alignment.shift, alignment.shift + 1):
            bits = compute_bits(first, tempo, shift)
            for lag in range(alignment.lag - LAG_RANGE, alignment.lag + LAG_RANGE + 1):
                score, count = _score_overlap(bits, second, lag)
                if score > best.score:
                    best = _Alignment(score, tempo, shift, lag, count * HOP / SAMPLE_RATE)
    return best


def _score_overlap(first: np.ndarray, second: np.ndarray, lag: int) -> tuple[float, int]:
    """(cosine of two pieces' bits where they overlap, frames of the overlap). The cosine is -1 for a short or silent overlap."""
    a, b = first[max(0, -lag) :], second[max(0, lag) :]
    count = min(len(a), len(b))
    a, b = a[:count], b[:count]
    energy = math.sqrt(np.vdot(a, a) * np.vdot(b, b))
    enough = count >= MIN_OVERLAP - CHANGE_FRAMES and energy > MIN_BIT_DENSITY * a.size
    return (float(np.vdot(a, b)) / energy if enough else -1.0), count


def _split_pieces(fingerprints: Mapping[str, np.ndarray], ids: Iterable[str]) -> Iterator[tuple[str, np.ndarray]]:
    """Yield (clip id, piece) for pieces of at most PIECE_FRAMES frames, each of which overlaps the next by half."""
    for clip_id in ids:
        values = fingerprints[clip_id]
        for start in range(0, max(1, len(values) - PIECE_FRAMES // 2), PIECE_FRAMES // 2):
            if len(piece := values[start : start + PIECE_FRAMES]) > MIN_OVERLAP:
                yield clip_id, piece


class _PieceBits:
    """Bits of several pieces, with their spectra along time for correlation."""

    def __init__(self, pieces: list[np.ndarray], size: int):
        self.pieces, self.size = pieces, size
        self.lengths = np.array([len(piece) for piece in pieces], np.int32)
        padded = np.zeros((size, len(pieces), pieces[0].shape[1]), np.float32)
        for index, piece in enumerate(pieces):
            padded[: len(piece), index] = piece
        self.spectra = fft.rfft(padded, axis=0)
        """(frequencies, pieces, rows) complex64."""
        self.density = np.array([np.mean(piece**2) for piece in pieces], np.float32)


def _find_alike(
    firsts: _PieceBits, seconds: _PieceBits, different: np.ndarray, least: float
) -> Iterator[tuple[int, int, int, float]]:
    """Yield (index of the first, index of the second, lag, score) for pairs that score at least `least`. different: (firsts, seconds)
    bool, the pairs to compare."""
    product = np.matmul(firsts.spectra.conj(), seconds.spectra.transpose(0, 2, 1))
    agreement = fft.irfft(product.transpose(1, 2, 0), firsts.size)  # (firsts, seconds, lags)
    lags = np.arange(firsts.size, dtype=np.int32)
    lags[lags >= seconds.lengths.max()] -= firsts.size
    overlap = np.minimum(firsts.lengths[:, None, None], seconds.lengths[:, None] - lags)
    overlap -= np.maximum(0, -lags)
    # The lag is chosen with the clips' mean density of bits, then scored with the bits where they overlap.
    np.divide(agreement, overlap, out=agreement, where=overlap >= MIN_OVERLAP - CHANGE_FRAMES)
    agreement[overlap < MIN_OVERLAP - CHANGE_FRAMES] = -1
    chosen = agreement.argmax(-1)
    density = np.sqrt(firsts.density[:, None] * seconds.density) * firsts.pieces[0].shape[1]
    likely = np.take_along_axis(agreement, chosen[..., None], -1)[..., 0] > 0.7 * least * density
    for i, j in np.argwhere(likely & different & (density > 0)):
        lag = int(lags[chosen[i, j]])
        score, _ = _score_overlap(firsts.pieces[i], seconds.pieces[j], lag)
        if score >= least:
            yield int(i), int(j), lag, score


def merge_groups(matches: list[Match], group_of: dict[str, str]) -> dict[str, str]:
    """Group -> the first group (by name) of those that share recordings with it, directly or through others. Groups that share none are
    left out."""
    head: dict[str, str] = {}

    def first(group: str) -> str:
        while head.get(group, group) != group:
            group = head[group]
        return group

    for match in matches:
        ends = sorted({first(group_of[match.first]), first(group_of[match.second])})
        for low, high in pairwise(ends):
            head[high] = low
    members = {group_of[clip] for match in matches for clip in (match.first, match.second)}
    return {group: first(group) for group in sorted(members)}
