"""Candidates: planted copies are among the pairs that are compared, and most pairs of different songs are not."""

import numpy as np
import pytest
from scipy import signal

from benchmarks.fingerprint_scale import COPY_EVERY, MadeUpCorpus, make_print
from dataset_tools.lib.core.timebase import SAMPLE_RATE
from dataset_tools.split import fingerprint as fingerprint_module
from dataset_tools.split.candidates import PAIRS_PER_SONGS, find_candidates, look_up
from dataset_tools.split.code_index import (
    CHECK_REACH,
    KEPT_PER_SONG,
    MIN_CHECKED,
    QUERY_STRIDE,
    TABLE_BITS,
    TABLES,
    CodeIndex,
    choose_limits,
    pack_changed,
)
from dataset_tools.split.codes import QUERIES, WINDOW, describe_changes, encode, pack
from dataset_tools.split.fingerprint import (
    CHANGES,
    PITCH_BANDS,
    SAME_RECORDING,
    compare_candidates,
    compare_pairs,
    find_same_recordings,
    fingerprint,
    merge_groups,
)
from dataset_tools.split.remembered import RememberedPrints
from dataset_tools.split.slope_bits import compute_bits

LABELS = ("a", "b")
CLIPS = 30
"""Of different songs, in each test."""


@pytest.fixture(scope="module")
def songs() -> dict[str, np.ndarray]:
    return {f"clip{number:02d}": make_print(number, number * 7, 1.0, 0, None) for number in range(CLIPS)}


def name_pairs(clips, song_of) -> list[tuple[str, str]]:
    return [pair for pairs in find_candidates(clips, song_of, SAME_RECORDING, LABELS) for pair in pairs]


def alone(clips) -> dict[str, str]:
    return {clip_id: clip_id for clip_id in clips}


@pytest.mark.parametrize("tempo", [0.8, 0.9, 0.96, 1.0, 1.05, 1.11, 1.17, 1.3])
@pytest.mark.parametrize("tape", [True, False])
def test_copies_at_the_speeds_of_editors_are_candidates(songs, tempo, tape):
    bands = round(36 * np.log2(tempo)) if tape else 0
    copies = {f"copy{n:02d}": make_print(n, n * 7 + 50, tempo, bands, 100 + n) for n in range(0, CLIPS, 6)}
    found = name_pairs(songs | copies, alone(songs | copies))
    assert {(f"clip{name[4:]}", name) for name in copies} <= set(found)


@pytest.mark.parametrize("bands", [-3, -1, 2, 3])
def test_a_copy_at_another_pitch_alone_is_a_candidate(songs, bands):
    clips = songs | {"copy": make_print(7, 99, 1.0, bands, 100)}
    assert ("clip07", "copy") in name_pairs(clips, alone(clips))


def test_most_pairs_of_different_songs_are_not_candidates(songs):
    found = name_pairs(songs, alone(songs))
    assert len(found) < 0.15 * CLIPS * (CLIPS - 1) / 2


def test_clips_of_one_song_are_no_candidates(songs):
    clips = {"a": songs["clip03"], "b": songs["clip03"], "c": songs["clip04"]}
    assert name_pairs(clips, alone(clips)) == [("a", "b")]
    assert name_pairs(clips, {"a": "x", "b": "x", "c": "y"}) == []


def test_a_large_corpus_has_longer_keys_and_the_same_copies(songs):
    clips = songs | {"copy": make_print(11, 117, 1.2, 0, 100)}
    assert choose_limits(10**7).key_bits > choose_limits(10**4).key_bits
    index = CodeIndex(clips, alone(clips), "a", choose_limits(10**7))
    assert index.limits.key_bits > 24 and index.limits.free_bits == 5
    assert ["clip11", "copy"] in [sorted(pairs[0]) for pairs in look_up(index, clips, ["copy"], SAME_RECORDING)]


def agreement(first: np.ndarray, frame: int, second: np.ndarray, other_frame: int) -> float:
    """Cosine of two clips' bits around two windows, at the best of three lags."""
    best = -1.0
    for lag in (-1, 0, 1):
        at = np.arange(-CHECK_REACH, WINDOW + CHECK_REACH, 2)
        i, j = frame + at, other_frame + at + lag
        inside = (i >= 0) & (i < len(first)) & (j >= 0) & (j < len(second))
        a, b = first[i[inside]], second[j[inside]]
        if min(np.sum(a**2), np.sum(b**2)) >= MIN_CHECKED:
            best = max(best, float(np.vdot(a, b)) / float(np.sqrt(np.sum(a**2) * np.sum(b**2))))
    return best


@pytest.mark.parametrize(("tempo", "shift"), [(1.0, 0), (1.0, 2), (1.03, -2), (1.3, 14), (1.15, 0)])
def test_packed_bits_are_the_bits_that_are_compared(songs, tempo, shift):
    signs, heard = pack_changed(songs["clip05"], tempo, shift)
    bits = compute_bits(songs["clip05"], tempo, shift)
    assert len(signs) == len(bits) > 150 and pack(bits > 0).any()
    differ = np.bitwise_count(pack(bits > 0) ^ signs) + np.bitwise_count(pack(bits != 0) ^ heard)
    assert np.sum(differ) <= 1e-4 * bits.size  # a change that is as small as MIN_CHANGE may be rounded to either side
    assert [len(part) for part in pack_changed(songs["clip05"][:WINDOW], tempo, shift)] == [0, 0]


def test_the_search_finds_what_a_plain_comparison_of_all_codes_finds(songs):
    ids = sorted(songs)
    index = CodeIndex(songs, alone(songs), "a")
    postings, low = index.tables[0], np.uint64((1 << index.limits.key_bits) - 1)
    codes = postings.codes
    own = [compute_bits(songs[clip_id], 1.0, 0) for clip_id in ids]
    least = 0.05  # so low that much is found
    found = 0
    for number in (3, 20):
        described, frames, changes = describe_changes(songs[ids[number]], QUERY_STRIDE)
        certain = np.abs(described) / index.scale
        changed = [compute_bits(songs[ids[number]], *query) for query in QUERIES]
        best: dict[int, float] = {}
        for row, code in enumerate(encode(described)):
            apart = np.bitwise_count(codes ^ code).sum(1)
            alike = np.zeros(len(codes), bool)
            for table in range(TABLES):
                key = certain[row, TABLE_BITS * table :][: index.limits.key_bits]
                free = np.argsort(key)[: index.limits.free_bits].astype(np.uint64)
                fixed = low & ~np.bitwise_or.reduce(np.uint64(1) << free)
                alike |= ((codes[:, 0] ^ code[0]) >> np.uint64(TABLE_BITS * table)) & fixed == 0
            for entry in np.flatnonzero((apart <= index.limits.most_different) & alike):
                clip, frame = int(postings.clips[entry]), int(postings.frames[entry])
                score = agreement(changed[changes[row]], int(frames[row]), own[clip], frame)
                best[clip] = max(score, best.get(clip, -1.0))
        clips, scores = index.find_others(number, songs[ids[number]], least)
        expected = sorted(
            clip for clip, score in best.items() if clip != number and score >= index.limits.check_share * least
        )
        assert clips.tolist() == expected
        assert np.all(scores <= [best[clip] + 1e-6 for clip in clips])
        found += len(clips)
    assert found > 10


def test_a_song_that_is_often_used_is_named_a_few_times(songs):
    """20 clips of one song, listed as another by 20 more, all cut elsewhere: of 400 pairs a few are compared, and the songs are merged."""
    often = {f"often{n:02d}": make_print(500, 10 + 3 * n, 1.0, 0, 100 + n) for n in range(20)}
    double = {f"twice{n:02d}": make_print(500, 12 + 3 * n, 1.15, 0, 200 + n) for n in range(20)}
    clips = songs | often | double
    group_of = alone(songs) | dict.fromkeys(often, "often") | dict.fromkeys(double, "twice")
    candidates = find_candidates(clips, group_of, SAME_RECORDING, LABELS)
    (pairs,) = [pairs for pairs in candidates if {group_of[clip] for clip in pairs[0]} == {"often", "twice"}]
    assert len(pairs) == PAIRS_PER_SONGS
    matches = compare_candidates(clips, candidates)
    assert len(matches) == 1
    assert merge_groups(matches, group_of) == {"often": "often", "twice": "often"}


def test_the_next_pair_of_two_songs_is_compared_until_one_is_the_same_recording(songs):
    clips = songs | {"copy": make_print(7, 99, 1.1, 0, 100), "other": make_print(900, 0, 1.0, 0, None)}
    candidates = [[("clip03", "other"), ("clip07", "copy"), ("clip08", "no such clip")], [("clip01", "clip02")]]
    (match,) = compare_candidates(clips, candidates)
    assert (match.first, match.second) == ("clip07", "copy")
    assert compare_candidates(clips, []) == []


def test_a_bucket_keeps_few_windows_of_a_song(songs):
    clips = {f"clip{n:02d}": songs["clip03"] for n in range(40)}
    for song_of, most in ((dict.fromkeys(clips, "one"), KEPT_PER_SONG), (alone(clips), 40)):
        longest = np.diff(CodeIndex(clips, song_of, "a").tables[0].begins).max()
        assert longest == KEPT_PER_SONG if most == KEPT_PER_SONG else longest >= most


def test_every_change_that_is_compared_lies_near_one_that_is_looked_up():
    for tempo, shift in CHANGES:
        assert any(abs(tempo - t) < 0.0151 and abs(shift - s) <= 1 for t, s in QUERIES), (tempo, shift)
        assert abs(shift) <= PITCH_BANDS or tempo > 1.06


@pytest.mark.parametrize("audio", [np.zeros(0), np.zeros(5 * SAMPLE_RATE), np.ones(100), np.full(5 * SAMPLE_RATE, 0.1)])
def test_silence_and_scraps_are_no_candidates(audio):
    noise = signal.lfilter([1], [1, -0.9], np.random.default_rng(1).standard_normal(5 * SAMPLE_RATE))
    clips = {"a": fingerprint(audio), "b": fingerprint(audio), "c": fingerprint(noise)}
    assert name_pairs(clips, alone(clips)) == []
    empty = {name: clips[name] for name in "ab"}
    assert name_pairs(empty, alone(empty)) == []


def test_candidates_give_the_matches_of_all_pairs(monkeypatch):
    corpus = MadeUpCorpus(2 * COPY_EVERY)
    chosen = {f"{number:06d}": corpus[f"{number:06d}"] for number in (*range(20, 30), 49, *range(70, 80), 99)}
    song_of = corpus.songs()
    every = find_same_recordings(chosen, song_of)
    copies = {frozenset((song_of["000024"], "copy 000049")), frozenset((song_of["000074"], "copy 000099"))}
    assert {frozenset((song_of[m.first], song_of[m.second])) for m in every} == copies
    monkeypatch.setattr(fingerprint_module, "ALL_PAIRS", 0)
    some = find_same_recordings(chosen, song_of)
    assert set(some) <= set(every)
    assert {frozenset((song_of[m.first], song_of[m.second])) for m in some} == copies
    other = next(clip_id for clip_id in chosen if song_of[clip_id] != song_of["000020"])
    assert compare_pairs(chosen, [("000020", other)]) == []


def test_prints_are_made_when_they_are_asked_for():
    made = []

    def make(clip_id):
        made.append(clip_id)
        return np.zeros((3, 180), np.float32)

    prints = RememberedPrints(["b", "a"], make)
    assert len(prints) == 2 and sorted(prints) == ["a", "b"] and made == []
    assert prints["a"] is prints["a"] and made == ["a"]
    with pytest.raises(KeyError):
        prints["c"]
