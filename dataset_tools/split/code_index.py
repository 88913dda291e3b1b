"""An index of the codes of all clips, by a part of each code, and the search in it.

A key is some of the first bits of a code; the larger the corpus, the longer the key. There is a table for each of two keys. A query takes
all values of the key's least certain bits. What it finds counts if the whole codes differ in few bits, and if the bits of the fingerprints agree around the windows.

The time of a query must not grow with the corpus. So each bucket of the index keeps few windows of one song, and a song that was named
often enough for a clip is not checked again.
"""

import itertools
import math
from collections.abc import Mapping
from typing import NamedTuple

import numba
import numpy as np

from dataset_tools.lib.core.progress import progress
from dataset_tools.split.codes import (
    BAND_TERMS,
    QUERIES,
    TIME_TERMS,
    WINDOW,
    describe_changes,
    describe_clip,
    encode,
)
from dataset_tools.split.slope_bits import BANDS_PER_SEMITONE, CHANGE_FRAMES, MIN_CHANGE, SLOPE_BANDS

STRIDE = 2
"""Frames between the windows of the index."""
QUERY_STRIDE = 3
"""Frames between the windows that are looked up."""
MOST_DIFFERENT, LEAST_DIFFERENT = 28, 22
"""Bits in which codes of the same recording may differ: in a small corpus, and in the largest."""
LEAST_CHECK_SHARE, MOST_CHECK_SHARE = 0.35, 0.6
"""Pairs whose bits agree at least by this fraction of the required score are candidates: in a small corpus, and in the largest."""
CHECK_REACH = 16
"""Frames before and after a window whose bits are compared: with the window's, 3.3 s."""
MIN_CHECKED = 75
"""Least number of bits of either clip that are compared."""
SORTED_AT_ONCE = 1 << 20
"""About so many windows."""
KEPT_PER_SONG = 16
"""Windows of one song in a bucket."""
TABLES = 2
"""Keys of a code. A copy that differs in one key may agree in the other."""
TABLE_BITS = 32
"""Bits of a code from one key to the next; also the longest key."""
NAMED_PER_SONG = 4
"""Clips of one song that are named for a clip."""
NAMED = 64
"""Clips of all songs that are named for a clip."""

SPREAD = np.uint64(0x9E3779B97F4A7C15)
"""Multiplier that spreads keys over buckets."""
U0, U1, U2, U4, U56 = (np.uint64(n) for n in (0, 1, 2, 4, 56))
M1, M2, M4, M8 = (
    np.uint64(n) for n in (0x5555555555555555, 0x3333333333333333, 0x0F0F0F0F0F0F0F0F, 0x0101010101010101)
)


class _Postings(NamedTuple):
    """Windows of all clips, sorted by bucket."""

    begins: np.ndarray
    """(buckets + 1,) int32: first window of each bucket."""
    codes: np.ndarray
    """(windows, 2) uint64."""
    clips: np.ndarray
    """(windows,) int32."""
    frames: np.ndarray
    """(windows,) int32."""


class _Signs(NamedTuple):
    """Bits of several fingerprints, one after the other."""

    signs: np.ndarray
    """(frames,) uint64: bits that are 1."""
    heard: np.ndarray
    """(frames,) uint64: bits that are not 0."""
    begins: np.ndarray
    """(fingerprints + 1,) int64: first frame of each."""


class _GrowingSigns:
    """`_Signs` to which fingerprints are added."""

    def __init__(self) -> None:
        self._signs, self._heard, self._begins = bytearray(), bytearray(), [0]

    def add(self, signs: np.ndarray, heard: np.ndarray) -> None:
        """Both (frames,) uint64."""
        self._signs += signs.tobytes()
        self._heard += heard.tobytes()
        self._begins.append(self._begins[-1] + len(signs))

    def finish(self) -> _Signs:
        """All that were added."""
        signs, heard = np.frombuffer(self._signs, np.uint64), np.frombuffer(self._heard, np.uint64)
        return _Signs(signs, heard, np.array(self._begins))


class _Windows(NamedTuple):
    """Windows of one clip that are looked up, at all changes."""

    codes: np.ndarray
    """(windows, 2) uint64."""
    weak: np.ndarray
    """(windows, free bits) uint64: the bits of the key that may have either value."""
    frames: np.ndarray
    """(windows,) int32, at the slower tempo."""
    changes: np.ndarray
    """(windows,) int32: numbers in QUERIES."""


class Limits(NamedTuple):
    """Settings of a search, by the size of the index."""

    key_bits: int
    free_bits: int
    """Bits of a query's key that may have either value."""
    bucket_bits: int
    most_different: int
    check_share: float


def choose_limits(windows: int) -> Limits:
    """Limits for an index of so many windows."""
    size = max(0.0, math.log2(max(1, windows)) - 14)  # 0 for 150 clips of 10 s, 9.5 for 100 000
    return Limits(
        key_bits=min(TABLE_BITS, 14 + round(1.9 * size)),
        free_bits=min(5, 4 + round(0.2 * size)),
        bucket_bits=min(24, 15 + math.ceil(size)),
        most_different=max(LEAST_DIFFERENT, MOST_DIFFERENT - round(0.65 * size)),
        check_share=min(MOST_CHECK_SHARE, LEAST_CHECK_SHARE + 0.026 * size),
    )


class CodeIndex:
    """Codes of all clips at their own tempo, and their fingerprints' bits."""

    def __init__(
        self,
        fingerprints: Mapping[str, np.ndarray],
        song_of: Mapping[str, str],
        label: str,
        limits: Limits | None = None,
    ):
        """fingerprints: clip id -> log energies, each read once. song_of: clip id -> its song. label: label of the progress bar. limits:
        None for those that suit the number of clips."""
        self.ids = sorted(fingerprints)
        self.number_of = {clip_id: number for number, clip_id in enumerate(self.ids)}
        self.songs = np.unique([song_of[clip_id] for clip_id in self.ids], return_inverse=True)[1].astype(np.int32)
        """(clips,) int32, the number of each clip's song."""
        codes, clips, frames = bytearray(), bytearray(), bytearray()  # which grow in place, unlike many small arrays
        bits = _GrowingSigns()
        squares = np.zeros(BAND_TERMS * TIME_TERMS)
        for number, clip_id in enumerate(progress(self.ids, label, unit="clip")):
            values = fingerprints[clip_id]
            described, starts = describe_clip(values, STRIDE)
            squares += np.sum(described.astype(np.float64) ** 2, axis=0)
            codes += encode(described).tobytes()
            clips += np.full(len(starts), number, np.int32).tobytes()
            frames += starts.astype(np.int32).tobytes()
            bits.add(*pack_changed(values, 1.0, 0))
        windows = len(clips) // 4
        self.scale = (np.sqrt(squares / max(1, windows)) + 1e-9).astype(np.float32)
        """Root mean square of each term."""
        self.limits = limits or choose_limits(windows)
        self.bits = bits.finish()
        windows_of = (
            np.frombuffer(codes, np.uint64).reshape(-1, 2),
            np.frombuffer(clips, np.int32),
            np.frombuffer(frames, np.int32),
        )
        self.tables = [self._sort(*windows_of, table) for table in range(TABLES)]

    def _sort(self, codes: np.ndarray, clips: np.ndarray, frames: np.ndarray, table: int) -> _Postings:
        key_mask = np.uint64((1 << self.limits.key_bits) - 1)
        buckets = _find_buckets(codes, np.uint64(TABLE_BITS * table), key_mask, np.uint64(64 - self.limits.bucket_bits))
        counts, orders = np.zeros(1 << self.limits.bucket_bits, np.int32), []
        parts = 1 + len(codes) // SORTED_AT_ONCE
        edges = (np.arange(parts + 1) << self.limits.bucket_bits) // parts
        for low, high in itertools.pairwise(edges):  # one range of buckets after the other, which takes less memory
            rows = np.flatnonzero((buckets >= low) & (buckets < high)).astype(np.int32)
            place = buckets[rows] * np.int64(self.songs.max(initial=0) + 1) + self.songs[clips[rows]]
            order = np.argsort(place, kind="stable")
            rows, place = rows[order], place[order]
            kept = np.ones(len(place), bool)
            kept[KEPT_PER_SONG:] = place[KEPT_PER_SONG:] != place[:-KEPT_PER_SONG]
            orders.append(rows[kept])
            counts[low:high] = np.bincount(buckets[orders[-1]] - low, minlength=high - low)
        del buckets
        order = np.concatenate(orders)
        begins = np.concatenate([[0], np.cumsum(counts)]).astype(np.int32)
        return _Postings(begins, codes[order], clips[order], frames[order])

    def find_others(self, number: int, values: np.ndarray, least: float) -> tuple[np.ndarray, np.ndarray]:
        """Numbers (N,) of the clips of other songs that may be the same recording as clip `number` or a slower copy of it, and how well
        they agree (N,). values: its log energies. least: score of the same recording."""
        described, frames, changes = describe_changes(values, QUERY_STRIDE)
        growing = _GrowingSigns()
        for tempo, shift in QUERIES:
            growing.add(*pack_changed(values, tempo, shift))
        bits = growing.finish()
        codes, certain = encode(described), np.abs(described) / self.scale
        scores, named = np.full(len(self.songs), -1.0), np.zeros(int(self.songs.max()) + 1, np.int32)
        for table, postings in enumerate(self.tables):
            weak = certain[:, TABLE_BITS * table :][:, : self.limits.key_bits]
            weak = np.argpartition(weak, self.limits.free_bits, axis=1)[:, : self.limits.free_bits]
            windows = _Windows(codes, np.uint64(1) << weak.astype(np.uint64), frames, changes)
            _search(
                postings, self.bits, self.songs, windows, bits, self.songs[number], self.limits, self.limits.check_share * least, scores,
                named, np.uint64(TABLE_BITS * table),
            )  # fmt: skip
        found = np.flatnonzero(scores >= self.limits.check_share * least)
        return found, scores[found]


@numba.njit
def _find_buckets(codes, first_bit, key_mask, far):
    """Bucket of each code (windows,) int32."""
    buckets = np.empty(len(codes), np.int32)
    for row in range(len(codes)):
        buckets[row] = (((codes[row, 0] >> first_bit) & key_mask) * SPREAD) >> far
    return buckets


@numba.njit
def pack_changed(values, stretch, shift):
    """`compute_bits` of log energies (T, bands), packed: (bits that are 1, bits that are not 0), each (frames,) uint64."""
    count = int((len(values) - 1) * stretch) + 1 if len(values) > WINDOW else 0
    slopes = np.empty((count, len(SLOPE_BANDS)), np.float32)
    for frame in range(count):
        at = frame / stretch
        before = min(int(at), len(values) - 2)
        part = np.float32(at - before)
        for row in range(len(SLOPE_BANDS)):
            low = SLOPE_BANDS[row] + shift
            high = low + BANDS_PER_SEMITONE
            slopes[frame, row] = (values[before, low] - values[before, high]) * (np.float32(1) - part) + (
                values[before + 1, low] - values[before + 1, high]
            ) * part
    signs = np.zeros(max(0, count - CHANGE_FRAMES), np.uint64)
    heard = np.zeros(max(0, count - CHANGE_FRAMES), np.uint64)
    for frame in range(len(signs)):
        ones, clear = U0, U0
        for row in range(len(SLOPE_BANDS)):  # without a branch, which no processor could foresee
            change = slopes[frame + CHANGE_FRAMES, row] - slopes[frame, row]
            ones |= np.uint64(change > MIN_CHANGE) << np.uint64(row)
            clear |= np.uint64(abs(change) > MIN_CHANGE) << np.uint64(row)
        signs[frame], heard[frame] = ones, clear
    return signs, heard


@numba.njit(inline="always")
def _count(x):
    """Number of ones of a uint64."""
    x = x - ((x >> U1) & M1)
    x = (x & M2) + ((x >> U2) & M2)
    return np.int64((((x + (x >> U4)) & M4) * M8) >> U56)


@numba.njit
def _agreement(bits, first, frame, others, clip, other_frame):
    """Cosine of the bits around windows, at the best of three lags; -1 if too few are heard. bits, others: _Signs; first, clip: which
    fingerprint of them; frame, other_frame: first frame of the window."""
    best = -1.0
    begin, end = bits.begins[first], bits.begins[first + 1]
    other_begin, other_end = others.begins[clip], others.begins[clip + 1]
    for lag in (-1, 0, 1):
        a, b = begin + frame - CHECK_REACH, other_begin + other_frame - CHECK_REACH + lag
        same, ours, theirs = 0, 0, 0
        for step in range(0, WINDOW + 2 * CHECK_REACH, 2):
            i, j = a + step, b + step
            if i < begin or i >= end or j < other_begin or j >= other_end:
                continue
            common = bits.heard[i] & others.heard[j]
            same += _count(common) - 2 * _count(common & (bits.signs[i] ^ others.signs[j]))
            ours += _count(bits.heard[i])
            theirs += _count(others.heard[j])
        if min(ours, theirs) >= MIN_CHECKED:
            best = max(best, same / math.sqrt(ours * theirs))
    return best


@numba.njit
def _search(postings, others, songs, windows, bits, song, limits, least, scores, named, first_bit):
    """Write the agreement of the clips that are found into scores (clips,). named: (songs,) zeros, the clips found of each song."""
    mask = np.uint64((1 << limits.key_bits) - 1)
    far = np.uint64(64 - limits.bucket_bits)
    total = np.count_nonzero(scores >= least)
    for row in range(len(windows.codes)):
        low, high = windows.codes[row]
        key = (low >> first_bit) & mask
        for turn in range(1 << limits.free_bits):
            if turn:  # one bit after the other, so that all values of the free bits come (Gray code)
                bit = 0
                while not (turn >> bit) & 1:
                    bit += 1
                key ^= windows.weak[row, bit]
            bucket = np.int64((key * SPREAD) >> far)
            for entry in range(postings.begins[bucket], postings.begins[bucket + 1]):
                apart = _count(postings.codes[entry, 0] ^ low) + _count(postings.codes[entry, 1] ^ high)
                if apart > limits.most_different:
                    continue
                clip = postings.clips[entry]
                if songs[clip] == song or scores[clip] >= least or named[songs[clip]] >= NAMED_PER_SONG:
                    continue
                agreement = _agreement(
                    bits, windows.changes[row], windows.frames[row], others, clip, postings.frames[entry]
                )
                if agreement >= least:
                    scores[clip] = agreement
                    named[songs[clip]] += 1
                    total += 1
                    if total == NAMED:
                        return
