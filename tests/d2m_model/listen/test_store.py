"""The study's database: which design goes on and which is another's."""

import random
import sqlite3
from contextlib import closing

import pytest

from d2m_model.listen.design import Stimulus
from d2m_model.listen.results import Criteria, write_results
from d2m_model.listen.store import Store
from dataset_tools.lib.core.errors import UserError


def test_a_study_begun_before_there_was_a_split_goes_on_with_test(tmp_path):
    store = Store(tmp_path / "study.db")
    secret = store.begin({"items": 3, "split": "test"})
    with closing(sqlite3.connect(store.path)) as base, base:
        base.execute("""UPDATE study SET value = '{"items": 3}' WHERE key = 'design'""")
    assert store.begin({"items": 3, "split": "test"}) == secret
    with pytest.raises(UserError, match="begun with other split"):
        store.begin({"items": 3, "split": "val"})


def full_study(path):
    """A study with two raters through, as one file; {file: stimulus} and its design."""
    design = {"split": "test", "systems": {"coherence": ["a", "b"], "quality": ["a", "b"]}, "clips": ["c0", "c1"]}
    files = {
        f"{n:024x}.wav": Stimulus(task="quality", kind="item", system="ab"[n % 2], clip=f"c{n // 2}") for n in range(4)
    }
    store = Store(path)
    store.begin(design)
    store.offer(files)
    for rater in ("anna", "berta"):
        number = store.join(rater, 2, lambda _: list(files))
        for position in range(len(files)):
            store.vote(number, position, 3)
    with closing(sqlite3.connect(path)) as base:
        base.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return files, design


def test_a_damaged_database_is_one_line_whatever_is_damaged(tmp_path):
    files, design = full_study(tmp_path / "study.db")
    data = (tmp_path / "study.db").read_bytes()
    written = [place for place, byte in enumerate(data) if byte]
    rng, refused = random.Random(0), 0
    for number in range(60):
        damaged = bytearray(data)
        for _ in range(rng.choice((1, 4, 30))):
            damaged[rng.choice(written)] = rng.randrange(256)
        path = tmp_path / f"{number}.db"
        path.write_bytes(damaged)
        try:
            store = Store(path)
            store.begin(design)
            store.offer(files)
            store.step(0)
            write_results(store, tmp_path / "out", Criteria(headphones_right=0), draws=100, seed=0)
        except UserError as err:
            assert str(path) in str(err) and "\n" not in str(err)
            refused += 1
    assert refused > 30


@pytest.mark.parametrize(
    "damage",
    [
        "DROP TABLE votes; CREATE TABLE votes (a)", "DELETE FROM stimuli", "DELETE FROM votes WHERE position = 1", "UPDATE raters SET number = 7 WHERE number = 1",
        "UPDATE stimuli SET task = 'x'", "UPDATE study SET value = '[1' WHERE key = 'design'", "UPDATE study SET value = '[1]' WHERE key = 'design'",
        "UPDATE study SET value = CAST(x'ff' AS TEXT) WHERE key = 'design'", "PRAGMA ignore_check_constraints = 1; UPDATE votes SET score = 9",
    ],
)  # fmt: skip
def test_what_no_study_holds_is_named(tmp_path, damage):
    _, design = full_study(tmp_path / "study.db")
    with closing(sqlite3.connect(tmp_path / "study.db")) as base:
        base.executescript(damage)
    with pytest.raises(UserError, match="study.db: .*damaged"):
        Store(tmp_path / "study.db").begin(design)
