"""Candidates: planted copies are among the pairs that are compared, and most pairs of different songs are not."""

import numpy as np
import pytest
from scipy import signal

from benchmarks.fingerprint_scale import COPY_EVERY, MadeUpCorpus, make_print
from dataset_tools.lib.core.timebase import SAMPLE_RATE
from dataset_tools.split import candidates as candidates_module
from dataset_tools.split import fingerprint as fingerprint_module
from dataset_tools.split.candidates import QUERIES, find_candidates
from dataset_tools.split.fingerprint import (
    CHANGES,
    PITCH_BANDS,
    SAME_RECORDING,
    compare_pairs,
    find_same_recordings,
    fingerprint,
)
from dataset_tools.split.remembered import RememberedPrints

LABELS = ("a", "b")
CLIPS = 30
"""Of different songs, in each test."""


@pytest.fixture(scope="module")
def songs() -> dict[str, np.ndarray]:
    return {f"clip{number:02d}": make_print(number, number * 7, 1.0, 0, None) for number in range(CLIPS)}


def alone(clips) -> dict[str, str]:
    return {clip_id: clip_id for clip_id in clips}


@pytest.mark.parametrize("tempo", [0.8, 0.9, 0.96, 1.0, 1.05, 1.11, 1.17, 1.3])
@pytest.mark.parametrize("tape", [True, False])
def test_copies_at_the_speeds_of_editors_are_candidates(songs, tempo, tape):
    bands = round(36 * np.log2(tempo)) if tape else 0
    copies = {f"copy{n:02d}": make_print(n, n * 7 + 50, tempo, bands, 100 + n) for n in range(0, CLIPS, 6)}
    found = find_candidates(songs | copies, alone(songs | copies), SAME_RECORDING, LABELS)
    assert {(f"clip{name[4:]}", name) for name in copies} <= set(found)


@pytest.mark.parametrize("bands", [-3, -1, 2, 3])
def test_a_copy_at_another_pitch_alone_is_a_candidate(songs, bands):
    clips = songs | {"copy": make_print(7, 99, 1.0, bands, 100)}
    assert ("clip07", "copy") in find_candidates(clips, alone(clips), SAME_RECORDING, LABELS)


def test_most_pairs_of_different_songs_are_not_candidates(songs):
    found = find_candidates(songs, alone(songs), SAME_RECORDING, LABELS)
    assert len(found) < 0.15 * CLIPS * (CLIPS - 1) / 2


def test_clips_of_one_song_are_no_candidates(songs):
    clips = {"a": songs["clip03"], "b": songs["clip03"], "c": songs["clip04"]}
    assert find_candidates(clips, alone(clips), SAME_RECORDING, LABELS) == [("a", "b")]
    assert find_candidates(clips, {"a": "x", "b": "x", "c": "y"}, SAME_RECORDING, LABELS) == []


def test_a_large_corpus_has_longer_keys_and_the_same_copies(songs, monkeypatch):
    clips = songs | {"copy": make_print(11, 117, 1.2, 0, 100)}
    log2 = candidates_module.math.log2
    monkeypatch.setattr(candidates_module.math, "log2", lambda x: log2(x) + 10)
    index = candidates_module._Index(clips, sorted(clips), "a")
    assert index.key_bits > 24 and index.free_bits == 7
    assert ("clip11", "copy") in find_candidates(clips, alone(clips), SAME_RECORDING, LABELS)


def test_what_a_query_finds_does_not_depend_on_its_parts(songs, monkeypatch):
    clips = songs | {"copy": make_print(11, 117, 1.1, 0, 100)}
    whole = find_candidates(clips, alone(clips), SAME_RECORDING, LABELS)
    monkeypatch.setattr(candidates_module, "MAX_HITS", 7)
    assert find_candidates(clips, alone(clips), SAME_RECORDING, LABELS) == whole


def test_every_change_that_is_compared_lies_near_one_that_is_looked_up():
    for tempo, shift in CHANGES:
        assert any(abs(tempo - t) < 0.0151 and abs(shift - s) <= 1 for t, s in QUERIES), (tempo, shift)
        assert abs(shift) <= PITCH_BANDS or tempo > 1.06


@pytest.mark.parametrize("audio", [np.zeros(0), np.zeros(5 * SAMPLE_RATE), np.ones(100), np.full(5 * SAMPLE_RATE, 0.1)])
def test_silence_and_scraps_are_no_candidates(audio):
    noise = signal.lfilter([1], [1, -0.9], np.random.default_rng(1).standard_normal(5 * SAMPLE_RATE))
    clips = {"a": fingerprint(audio), "b": fingerprint(audio), "c": fingerprint(noise)}
    assert find_candidates(clips, alone(clips), SAME_RECORDING, LABELS) == []
    empty = {name: clips[name] for name in "ab"}
    assert find_candidates(empty, alone(empty), SAME_RECORDING, LABELS) == []


def test_candidates_give_the_matches_of_all_pairs(monkeypatch):
    corpus = MadeUpCorpus(2 * COPY_EVERY)
    chosen = {f"{number:06d}": corpus[f"{number:06d}"] for number in (*range(20, 30), 49, *range(70, 80), 99)}
    every = find_same_recordings(chosen, alone(chosen))
    assert {(m.first, m.second) for m in every} == {
        ("000024", "000049"),
        ("000074", "000099"),
    }
    monkeypatch.setattr(fingerprint_module, "ALL_PAIRS", 0)
    assert find_same_recordings(chosen, alone(chosen)) == every
    assert compare_pairs(chosen, [("000020", "000021")]) == []


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
