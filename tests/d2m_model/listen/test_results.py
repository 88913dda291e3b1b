"""Votes that last, and results with honest intervals."""

import json
import sqlite3
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from d2m_model.listen.design import Stimulus, headphone_stimuli, session, stimuli_of
from d2m_model.listen.results import Criteria, crossed_bootstrap, screen, write_results
from d2m_model.listen.store import Full, OutOfTurn, Store
from dataset_tools.lib.core.errors import UserError

# Votes


def small_store(path: Path, steps: int = 4) -> tuple[Store, list[str]]:
    store = Store(path)
    files = {f"f{i}": Stimulus(task="quality", kind="item", system=f"s{i}", clip="c") for i in range(steps)}
    store.offer(files)
    return store, list(files)


def test_each_vote_once_and_in_turn(tmp_path):
    store, files = small_store(tmp_path / "study.db")
    assert store.join("anna", 2, lambda n: files) == 0 == store.join("anna", 2, lambda n: [])
    assert store.join("berta", 2, lambda n: files) == 1
    with pytest.raises(Full):
        store.join("carla", 2, lambda n: files)
    store.vote(0, 0, 4)
    store.vote(0, 0, 1)  # sent again: the first stands
    for position in (2, 4, 99, -1):
        if position > 0:
            with pytest.raises(OutOfTurn):
                store.vote(0, position, 3)
    assert [(v["rater"], v["position"], v["score"]) for v in store.votes()] == [(0, 0, 4)]
    with pytest.raises(sqlite3.IntegrityError):
        store.vote(0, 1, 6)
    again = Store(tmp_path / "study.db")
    assert again.step(0).position == 1 and again.step(0).file == "f1" and again.step(1).first_of_task
    for position in range(1, 4):
        again.vote(0, position, 5)
    assert again.step(0).file is None
    with pytest.raises(OutOfTurn):
        again.vote(0, 4, 5)


def test_many_raters_at_once(tmp_path):
    """Six join and vote at the same time, each sending every vote twice: six numbers, every vote once."""
    store, files = small_store(tmp_path / "study.db", steps=5)

    def take_part(rater: int) -> int:
        number = store.join(f"rater-{rater}", 6, lambda n: files)
        for position in range(5):
            store.vote(number, position, 1 + (number + position) % 5)
            store.vote(number, position, 1)
        return number

    with ThreadPoolExecutor(6) as pool:
        assert sorted(pool.map(take_part, range(6))) == list(range(6))
    votes = [(v["rater"], v["position"], v["score"]) for v in store.votes()]
    assert votes == [(n, p, 1 + (n + p) % 5) for n in range(6) for p in range(5)]


def test_a_database_that_cannot_be_opened_is_one_line(tmp_path):
    (tmp_path / "study.db").mkdir()
    with pytest.raises(UserError, match="can't be used"):
        Store(tmp_path / "study.db")


def test_a_file_that_is_no_database(tmp_path):
    (tmp_path / "study.db").write_text("not a database, and long enough to be read as one" * 20)
    with pytest.raises(UserError, match="not a study's database"):
        Store(tmp_path / "study.db")


# Results


def panel(rng, raters=26, clips=12, means=(("ground truth", 4.4), ("model", 3.0)), per=8) -> pd.DataFrame:
    """Votes with rater and clip effects of mean 0: the systems' means are known exactly."""
    a, b = rng.normal(0, 0.5, raters), rng.normal(0, 0.4, clips)
    rows = []
    for system, mean in means:
        for r in range(raters):
            for c in rng.choice(clips, per, replace=False):
                rows.append((system, r, c, mean + a[r] + b[c] + rng.normal(0, 0.7)))
    return pd.DataFrame(rows, columns=["system", "rater", "clip", "score"])


def test_intervals_cover_the_truth_and_naive_ones_do_not():
    rng = np.random.default_rng(0)
    covered, naive, widths = 0, 0, []
    for trial in range(150):
        votes = panel(rng, means=(("model", 3.0),))
        mean, low, high = crossed_bootstrap(votes.rater, votes["clip"], votes.score, draws=300, seed=trial)
        half = 1.96 * votes.score.std() / np.sqrt(len(votes))
        covered += low <= 3.0 <= high
        naive += abs(mean - 3.0) <= half
        widths.append(high - low)
    assert covered >= 0.90 * 150 and naive < 0.75 * 150
    assert 0.5 < np.mean(widths) < 0.9  # 4 sqrt(0.25/26 + 0.16/12) = 0.61


def test_bootstrap_of_too_little_has_no_interval():
    assert crossed_bootstrap([1, 1], ["a", "b"], [3, 5])[0] == 4 and np.isnan(
        crossed_bootstrap([1, 1], ["a", "b"], [3, 5])[1]
    )
    assert np.isnan(crossed_bootstrap([], [], [])[0])


def vote_everything(store: Store, deal, answer, raters: int) -> None:
    """Let `raters` raters answer all their steps: answer(number, stimulus) -> score."""
    for number in range(raters):
        store.join(f"rater-{number}", raters, deal)
        while (step := store.step(number)).stimulus:
            store.vote(number, step.position, answer(number, step.stimulus))


def test_results_screen_recover_means_and_publish_votes(tmp_path):
    store = Store(tmp_path / "study.db")
    true = {"ground truth": 4.5, "high-full": 3.2, "shuffled ground truth": 1.6}
    stimuli = headphone_stimuli() + [
        s for t in ("coherence", "quality") for s in stimuli_of(t, list(true), [f"c{i}" for i in range(8)])
    ]
    files = {s: f"file{i}" for i, s in enumerate(stimuli)}
    store.offer({f: s for s, f in files.items()})
    deal = lambda n: [files[s] for s in session(stimuli, n, items=9, checks=1, practice=1, seed=0)]
    rng = np.random.default_rng(0)

    def answer(number: int, s: Stimulus) -> int:
        if s.answer:
            careless = (number == 3 and s.kind == "headphones") or (number in (4, 5) and s.kind == "check")
            return s.answer % 3 + 1 if careless else s.answer
        mean = 3.0 if number in (3, 4, 5) else true[s.system]
        return int(np.floor(mean)) + int(rng.random() < mean % 1) if s.kind == "item" else 1

    vote_everything(store, deal, answer, 16)
    lines = write_results(store, tmp_path, Criteria(), draws=400, seed=0)
    found = json.loads((tmp_path / "mos.json").read_text())
    assert found["raters"] == {
        "joined": 16, "finished": 16, "kept": 13, "failed_headphones": 1, "failed_attention": 2,
        "votes": 16 * 18, "votes_kept": 13 * 18,
    }  # fmt: skip
    for task in ("coherence", "quality"):
        for system, mean in true.items():
            entry = found[task][system]
            assert entry["low"] <= mean <= entry["high"] and abs(entry["mos"] - mean) < 0.25 and entry["votes"] >= 30
        assert found["everyone"][task]["ground truth"]["mos"] < found[task]["ground truth"]["mos"]
    assert "13 kept" in lines[0] and any("with everyone" in line for line in lines)
    raw = pd.read_csv(tmp_path / "votes.csv")
    assert len(raw) == 16 * (6 + 2 * 11) and set(raw.rater) == {f"rater{n:03d}" for n in range(1, 17)}
    assert (
        set(raw[~raw.kept].rater) == {"rater004", "rater005", "rater006"}
        and "rater-0" not in (tmp_path / "votes.csv").read_text()
    )
    before = {p.name: p.read_bytes() for p in tmp_path.glob("*.[cj]s*")}
    write_results(store, tmp_path, Criteria(), draws=400, seed=0)
    assert before == {p.name: p.read_bytes() for p in tmp_path.glob("*.[cj]s*")}


def test_screening_keeps_who_stopped_early_unless_they_failed():
    votes = pd.DataFrame(
        [(0, "headphones", 1, 1)] * 6 + [(0, "item", 3, None)] + [(1, "headphones", 1, 1)] * 2 + [(2, "headphones", 1, 1)] * 5
        + [(2, "headphones", 2, 1), (2, "check", 2, 4)],
        columns=["rater", "kind", "score", "answer"],
    )  # fmt: skip
    table = screen(votes, {0: 20, 1: 20, 2: 20, 3: 20}, Criteria()).set_index("rater")
    assert list(table.kept) == [True, False, False, False]
    assert (
        table.loc[1, "reason"] == "headphones"
        and table.loc[2, "reason"] == "attention"
        and table.loc[3, "answered"] == 0
    )
