"""The study's database: which design goes on and which is another's."""

import sqlite3
from contextlib import closing

import pytest

from d2m_model.listening.store import Store
from dataset_tools.base.errors import UserError


def test_a_study_begun_before_there_was_a_split_goes_on_with_test(tmp_path):
    store = Store(tmp_path / "study.db")
    secret = store.begin({"items": 3, "split": "test"})
    with closing(sqlite3.connect(store.path)) as base, base:
        base.execute("""UPDATE study SET value = '{"items": 3}' WHERE key = 'design'""")
    assert store.begin({"items": 3, "split": "test"}) == secret
    with pytest.raises(UserError, match="begun with other split"):
        store.begin({"items": 3, "split": "val"})
