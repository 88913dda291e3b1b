"""Which pairs of clips may be the same recording: a search that grows with the number of clips, not of pairs.

A clip's log energies are described by codes of 128 bits, one for each window of 1.9 s: the signs of the lowest terms of a cosine
transform along the bands and along time. They change little if a recording is encoded, filtered or noisy, if the window lies a frame
off, or if the tempo is 1.5 % or the pitch a third of a semitone off. So the codes at a clip's own tempo are indexed once, and each clip
asks for its codes at a few changed tempi and pitches.

The index is sorted by a key, the first bits of the code; the larger the corpus, the longer the key. A query takes all values of the key's
least certain bits. What it finds counts if the whole codes differ in few bits, and if the bits of the fingerprint agree a little
around the window.
"""

import math
from collections.abc import Iterator, Mapping

import numpy as np

from dataset_tools.lib.core.progress import progress
from dataset_tools.split.slope_bits import BANDS_PER_SEMITONE, compute_bits

WINDOW = 40
"""Frames of a window: 1.9 s; at least 20 windows begin in 3 s."""
STRIDE = 2
"""Frames between the windows of the index."""
QUERY_STRIDE = 4
"""Frames between the windows that are looked up."""
ROWS = 159
"""Bands of a window, of which a changed pitch leaves the lowest or the highest out."""
LOWEST_BAND = 4
"""First band of a window at an unchanged pitch."""
BAND_TERMS = 32
"""Terms of the cosine transform along the bands: patterns of 3 semitones and more."""
TIME_TERMS = 4
"""Terms along time: changes of up to 1.1 Hz."""
TEMPI = tuple(1 + k / 100 for k in range(0, 31, 3))
"""Tempi of the faster clip of a pair relative to the slower one."""
QUERIES = (
    *((1.0, shift) for shift in (0, 2)),
    *((TEMPI[1], shift) for shift in (-2, 0, 2)),
    *((TEMPI[2], shift) for shift in (-2, 0, 3)),
    *((tempo, shift) for tempo in TEMPI[3:] for shift in (0, round(12 * BANDS_PER_SEMITONE * math.log2(tempo)))),
)
"""(tempo, shift in bands) at which clips are looked up. No change of `fingerprint.CHANGES` is farther than 1.5 % and a band away."""
MIN_LEVEL = 0.2
"""A window whose terms are all smaller, in nepers, is silent or one steady sound, and has no code."""
MOST_DIFFERENT, LEAST_DIFFERENT = 28, 16
"""Bits in which codes of the same recording may differ: in a small corpus, and in the largest."""
CHECK_FRAMES = np.arange(-16, WINDOW + 16, 2)
"""Frames around a window whose bits are compared: every second one of 3.3 s."""
LEAST_CHECK_SHARE, MOST_CHECK_SHARE = 0.35, 0.65
"""Pairs whose bits agree at least by this fraction of the required score are candidates: in a small corpus, and in the largest."""
MIN_CHECKED = 75
"""Least number of bits of either clip that are compared."""
CHECKED = 40
"""Hits of a pair of clips that are checked."""
MAX_HITS = 1 << 20
"""Entries of the index that are looked at at once; limits the memory."""
_ORDER = sorted(
    range(BAND_TERMS * TIME_TERMS),
    key=lambda d: (d // TIME_TERMS >= BAND_TERMS // 2, d < TIME_TERMS, d // TIME_TERMS + 3 * (d % TIME_TERMS), d),
)  # the most reliable terms first; not those of all bands together, which only follow the drums


def _band_terms(shift: int) -> np.ndarray:
    """(bands, BAND_TERMS) float32, for a clip that is `shift` bands higher."""
    terms = np.zeros((60 * BANDS_PER_SEMITONE, BAND_TERMS), np.float32)
    at = (np.arange(ROWS) + 0.5) / ROWS
    terms[LOWEST_BAND + shift :][:ROWS] = np.cos(np.pi * np.outer(at, np.arange(BAND_TERMS)))
    return terms


def _time_terms(tempo: float) -> np.ndarray:
    """(frames, TIME_TERMS) float32, each without mean, for a clip that is `tempo` times as fast."""
    frames = round(WINDOW / tempo)
    at = (np.arange(frames) + 0.5) / frames
    fade = np.sin(np.pi * at) ** 2
    terms = fade[:, None] * np.cos(np.pi * np.outer(at, np.arange(1, TIME_TERMS + 1)))
    terms -= fade[:, None] * terms.sum(0) / fade.sum()
    return (terms / frames).astype(np.float32)


SHIFTS = sorted({shift for _, shift in QUERIES})
BANK = np.concatenate([_band_terms(shift) for shift in SHIFTS], axis=1)
TIMES = {tempo: _time_terms(tempo) for tempo in TEMPI}


def _describe(values: np.ndarray, tempo: float, stride: int) -> tuple[np.ndarray, np.ndarray]:
    """Terms of each window (windows, 128) and its first frame. values: (T, BAND_TERMS), log energies times the terms along the bands."""
    terms = TIMES[tempo]
    if len(values) < len(terms):
        return np.zeros((0, BAND_TERMS * TIME_TERMS), np.float32), np.zeros(0, np.int64)
    windows = np.lib.stride_tricks.sliding_window_view(values, len(terms), axis=0)[::stride]
    described = (windows @ terms).reshape(len(windows), -1)[:, _ORDER]
    starts = np.arange(len(windows)) * stride
    loud = np.abs(described).max(1, initial=0) >= MIN_LEVEL
    return described[loud], starts[loud]


def _pack(bits: np.ndarray) -> np.ndarray:
    """(N, up to 64) bool -> (N,) uint64; column 0 is the lowest bit."""
    wide = np.zeros((len(bits), 64), bool)
    wide[:, : bits.shape[1]] = bits
    return np.packbits(wide, axis=1, bitorder="little").view("<u8")[:, 0]


def _encode(described: np.ndarray) -> np.ndarray:
    """(windows, 128) terms -> (windows, 2) uint64, their signs."""
    return np.stack([_pack(described[:, :64] > 0), _pack(described[:, 64:] > 0)], axis=1)


class _Index:
    """Codes of all clips at their own tempo, and their fingerprints' bits."""

    def __init__(self, fingerprints: Mapping[str, np.ndarray], ids: list[str], label: str):
        codes, owners, frames, signs, heard = [], [], [], [], []
        squares = np.zeros(BAND_TERMS * TIME_TERMS)
        for number, clip_id in enumerate(progress(ids, label, unit="clip")):
            values = fingerprints[clip_id]
            described, starts = _describe(values @ _band_terms(0), 1.0, STRIDE)
            squares += np.sum(described.astype(np.float64) ** 2, axis=0)
            codes.append(_encode(described))
            owners.append(np.full(len(starts), number, np.int32))
            frames.append(starts.astype(np.int32))
            bits = compute_bits(values, 1.0, 0) if len(values) > WINDOW else np.zeros((0, 1), np.float32)
            signs.append(_pack(bits > 0))
            heard.append(_pack(bits != 0))
        self.lengths = np.array([len(sign) for sign in signs], np.int64)
        self.begins = np.cumsum(self.lengths) - self.lengths
        self.signs, self.heard = np.concatenate(signs), np.concatenate(heard)
        all_codes = np.concatenate(codes)
        self.scale = np.sqrt(squares / max(1, len(all_codes))) + 1e-9
        """Root mean square of each term."""
        size = max(0.0, math.log2(max(1, len(all_codes))) - 14)  # 0 for 250 clips
        self.most_different = max(LEAST_DIFFERENT, MOST_DIFFERENT - round(1.2 * size))
        self.key_bits = min(30, 14 + round(1.7 * size))
        self.free_bits = min(7, 4 + round(0.4 * size))
        """Bits of a query's key that may have either value."""
        self.check_share = min(MOST_CHECK_SHARE, LEAST_CHECK_SHARE + 0.05 * size)
        self.bucket_bits = min(25, 15 + math.ceil(size))
        buckets = self._bucket(all_codes[:, 0] & np.uint64((1 << self.key_bits) - 1))
        order = np.argsort(buckets, kind="stable")
        self.codes, self.owners, self.frames = (
            all_codes[order],
            np.concatenate(owners)[order],
            np.concatenate(frames)[order],
        )
        counts = np.bincount(buckets, minlength=1 << self.bucket_bits)
        self.begins_of = np.concatenate([[0], np.cumsum(counts)]).astype(np.int32)

    def _bucket(self, keys: np.ndarray) -> np.ndarray:
        """Numbers of the buckets in which entries with these keys are."""
        return ((keys * np.uint64(0x9E3779B97F4A7C15)) >> np.uint64(64 - self.bucket_bits)).astype(np.int32)

    def look_up(self, described: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
        """Yield (rows of `described`, entries, different bits) whose codes are alike, in parts."""
        codes = _encode(described)
        certain = np.abs(described[:, : self.key_bits]) / self.scale[: self.key_bits]
        weak = np.uint64(1) << np.argpartition(certain, self.free_bits, axis=1)[:, : self.free_bits].astype(np.uint64)
        keys = (codes[:, 0] & np.uint64((1 << self.key_bits) - 1))[:, None]
        for bit in weak.T:
            keys = np.concatenate([keys, keys ^ bit[:, None]], axis=1)
        buckets = self._bucket(keys)
        begins = self.begins_of[buckets]
        counts = self.begins_of[buckets + 1] - begins
        rows, columns = np.nonzero(counts)
        begins, counts = begins[rows, columns].astype(np.int64), counts[rows, columns].astype(np.int64)
        ends = np.cumsum(counts)
        at = 0
        while at < len(counts):
            done = ends[at - 1] if at else 0
            to = max(at + 1, int(np.searchsorted(ends, done + MAX_HITS, side="right")))
            part = slice(at, to)
            offsets = np.arange(ends[to - 1] - done) - np.repeat(ends[part] - counts[part] - done, counts[part])
            entries = np.repeat(begins[part], counts[part]) + offsets
            queries = np.repeat(rows[part], counts[part])
            apart = np.bitwise_count(self.codes[entries] ^ codes[queries]).sum(1, dtype=np.int64)
            alike = apart <= self.most_different
            yield queries[alike], entries[alike], apart[alike]
            at = to

    def check(self, bits: np.ndarray, firsts: np.ndarray, clips: np.ndarray, seconds: np.ndarray) -> np.ndarray:
        """Cosine of the bits around windows, at the best of three lags: (N,). bits: those of the first clip, changed; firsts: first
        frames of its windows; clips, seconds: the other clips and the first frames of their windows."""
        signs, heard = _pack(bits > 0), _pack(bits != 0)
        best = np.full(len(firsts), -1.0)
        a = firsts[:, None] + CHECK_FRAMES
        inside = (a >= 0) & (a < len(bits))
        a = np.where(inside, a, 0)
        for lag in (-1, 0, 1):
            b = seconds[:, None] + CHECK_FRAMES + lag
            both = inside & (b >= 0) & (b < self.lengths[clips][:, None])
            b = np.where(both, b + self.begins[clips][:, None], 0)
            first, second = np.where(both, heard[a], 0), np.where(both, self.heard[b], 0)
            common = first & second
            different = np.bitwise_count(common & (signs[a] ^ self.signs[b])).sum(1, dtype=np.int64)
            agreement = np.bitwise_count(common).sum(1, dtype=np.int64) - 2 * different
            counts = [np.bitwise_count(x).sum(1, dtype=np.int64) for x in (first, second)]
            enough = np.minimum(*counts) >= MIN_CHECKED
            score = agreement / np.sqrt(np.maximum(1, counts[0] * counts[1]))
            best = np.maximum(best, np.where(enough, score, -1.0))
        return best


def find_candidates(
    fingerprints: Mapping[str, np.ndarray], group_of: Mapping[str, str], least: float, labels: tuple[str, str]
) -> list[tuple[str, str]]:
    """Sorted pairs (first < second) of clips of different groups that may be the same recording with a score of at least `least`.

    fingerprints: clip id -> log energies; each is read twice, in sorted order. labels: of the two progress bars.
    """
    ids = sorted(fingerprints)
    index = _Index(fingerprints, ids, labels[0])
    names = sorted(set(group_of.values()))
    number_of = {name: number for number, name in enumerate(names)}
    groups = np.array([number_of[group_of[clip_id]] for clip_id in ids])
    found: set[tuple[int, int]] = set()
    for number, clip_id in enumerate(progress(ids, labels[1], unit="clip")):
        others = _find_others(index, fingerprints[clip_id], groups != groups[number], index.check_share * least)
        found.update((min(number, other), max(number, other)) for other in others)
    return [(ids[i], ids[j]) for i, j in sorted(found)]


def _find_others(index: _Index, values: np.ndarray, different: np.ndarray, least: float) -> set[int]:
    """Numbers of the clips that may be the same recording as a clip or a slower copy of it. different: (clips,) bool, those allowed."""
    projected = values @ BANK
    parts, starts = [], []
    for tempo, shift in QUERIES:
        at = SHIFTS.index(shift) * BAND_TERMS
        described, frames = _describe(projected[:, at : at + BAND_TERMS], tempo, QUERY_STRIDE)
        parts.append(described)
        starts.append(np.round(frames * tempo).astype(np.int64))
    described, frames = np.concatenate(parts), np.concatenate(starts)
    if not len(described):
        return set()
    changes = np.repeat(np.arange(len(QUERIES)), [len(part) for part in parts])
    hits = []
    for rows, entries, apart in index.look_up(described):
        allowed = different[index.owners[entries]]
        rows, entries, apart = rows[allowed], entries[allowed], apart[allowed]
        hits.append(np.stack([index.owners[entries], changes[rows], frames[rows], index.frames[entries], apart], 1))
    others: set[int] = set()
    if not hits:
        return others
    found = _choose_hits(np.concatenate(hits).astype(np.int64))
    for change, (tempo, shift) in enumerate(QUERIES):
        some = found[found[:, 1] == change]
        if len(some):
            bits = compute_bits(values, tempo, shift)
            for begin in range(0, len(some), 4096):
                part = some[begin : begin + 4096]
                agree = index.check(bits, part[:, 2], part[:, 0], part[:, 3]) >= least
                others.update(part[agree, 0].tolist())
    return others


def _choose_hits(hits: np.ndarray) -> np.ndarray:
    """The CHECKED closest hits of each clip, at most one per change, lag and place: their neighbours would be checked over the same frames.

    hits: (N, 5) clip, change, frame of the first, frame of the second, bits that differ.
    """
    hits = hits[np.argsort(hits[:, 4], kind="stable")]
    places = (hits[:, 0] * len(QUERIES) + hits[:, 1]) * 64 + hits[:, 2] // 24 % 64
    chosen = np.unique(places * 65536 + (hits[:, 3] - hits[:, 2]) // 2 + 32768, return_index=True)[1]
    hits = hits[np.sort(chosen)]
    hits = hits[np.argsort(hits[:, 0], kind="stable")]
    begins = np.searchsorted(hits[:, 0], hits[:, 0])
    return hits[np.arange(len(hits)) - begins < CHECKED]
