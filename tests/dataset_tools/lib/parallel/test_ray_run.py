"""Which actor gets an item again, what an item's process says of its machine, and what the progress bar says: without a cluster."""

import pickle
import re
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from dataset_tools.lib.core.errors import UserError
from dataset_tools.lib.core.progress import progress

pytest.importorskip("ray")

from dataset_tools.lib.parallel import ray_cluster
from dataset_tools.lib.parallel.ray_actor import ItemCall, PackedCall


def test_an_item_is_tried_again_on_another_machine_if_there_is_one():
    names = "a1", "a2", "b1", "b2"
    a1, a2, b1, b2 = actors = [SimpleNamespace(name=name, machine=name[0], ready=True) for name in names]
    starting = SimpleNamespace(name="c1", machine="", ready=False)

    def may(lost, among):
        return [actor for actor in among if actor.ready and ray_cluster.may_try_again(actor, lost, among)]

    assert may([a1], actors) == [b1, b2]
    assert may([a1, b1], actors) == [a2, b2]  # it was lost on both: an actor that has not had it
    assert may([a1], [a1, a2, starting]) == [a2]  # the other machine is lost, or is not there yet
    assert may([a1, a2], [a1, a2, starting]) == [a1, a2]


def test_a_machine_without_the_working_folder_says_so_and_is_not_the_last_word(tmp_path, monkeypatch):
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    call = PackedCall(str, None)
    (tmp_path / "gone").rmdir()
    kind, error = pickle.loads(pickle.loads(pickle.dumps(ItemCall(call))).compute(pickle.dumps(1)))
    assert kind == "raised" and "gone: no such folder on the machine" in str(error)
    assert isinstance(error, UserError) and ray_cluster.may_differ(error)
    assert ray_cluster.may_differ(MemoryError()) and not ray_cluster.may_differ(UserError("the file is odd"))


def test_the_bar_names_the_item_that_runs_longest():
    now = time.monotonic()
    actors = [
        SimpleNamespace(ready=True, since=now - age, items=items)
        for age, items in ((90, {}), (40, {5: None, 6: None}), (9, {1: None}))
    ]
    run = SimpleNamespace(
        items=[(number,) for number in range(9)], actors=actors, said=float("-inf"), received=2_500_000
    )
    with progress((), "test", total=9, unit="clip") as bar:
        ray_cluster._show_longest(bar, run)
        assert re.fullmatch(r"2.5 MB, item 6 has run for 4\d s", bar.postfix)


@pytest.mark.parametrize(("item", "name"), [((1, Path("a")), "item 3"), (("x", type("Row", (), {"id": "c7"})()), "c7")])
def test_an_item_is_named(item, name):
    assert ray_cluster.name_item(item, 2) == name


def test_the_bar_says_that_the_cluster_has_no_room():
    run = SimpleNamespace(actors=[], begun=time.monotonic() - ray_cluster.LONG - 1, said=float("-inf"))
    with progress((), "label", total=1, unit="clip") as bar:
        ray_cluster._show_longest(bar, run)
        assert bar.postfix == "waiting for a free share of the cluster"
