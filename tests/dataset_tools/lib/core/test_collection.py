"""The collector stands still while many objects are made, and is on again afterwards."""

import gc

import pytest

from dataset_tools.lib.core.collection import MANY, no_collection


@no_collection()
def make(count):
    return [[number] for number in range(count)]


@pytest.fixture(autouse=True)
def as_before():
    yield
    gc.unfreeze()
    assert gc.isenabled()


def test_nothing_is_collected_meanwhile():
    before = [stats["collections"] for stats in gc.get_stats()]
    made = make(2 * MANY)
    assert [stats["collections"] for stats in gc.get_stats()][1:] == before[1:]
    assert len(made) == 2 * MANY and gc.isenabled()
    with pytest.raises(KeyError), no_collection():
        raise KeyError
    assert gc.isenabled()
    with no_collection():
        make(1)
        assert not gc.isenabled(), "the outer block has not ended"


def test_only_many_objects_are_left_out_of_later_collections():
    frozen = gc.get_freeze_count()
    few = make(100)
    assert gc.get_freeze_count() == frozen
    many = make(2 * MANY)
    assert gc.get_freeze_count() >= frozen + 2 * MANY and len(few) < len(many)
