"""Every item is taken once, by neighbours as far as possible, and no worker waits while items may be begun."""

import random
from collections import Counter

import pytest

from dataset_tools.lib.parallel.runs import Runs, Sites


@pytest.mark.parametrize("seed", range(20))
def test_every_item_is_taken_whatever_is_given_back(seed):
    rng, runs, taken, held = random.Random(seed), Runs(200), [], {}
    while runs.left or held:
        worker = rng.randrange(4)
        if worker in held and rng.random() < 0.1:  # it is lost
            runs.release(worker)
            runs.give_back(held.pop(worker))
        elif worker in held:
            taken += held.pop(worker)
        elif found := runs.take(worker, rng.randint(1, 9)):
            held[worker] = found
    assert sorted(taken) == list(range(200))


def test_one_worker_has_all_items_in_order():
    runs = Runs(7)
    assert [runs.take("a", 3) for _ in range(4)] == [[0, 1, 2], [3, 4, 5], [6], []]


def test_a_second_worker_takes_the_second_half_of_what_is_left():
    runs = Runs(9)
    assert runs.take("a", 1) == [0] and runs.take("b", 2) == [5, 6]
    assert runs.take("a", 9) == [1, 2, 3, 4] and runs.take("a", 1) == [8] and runs.take("b", 9) == [7]
    assert runs.left == 0 and runs.take("c", 1) == []


def test_what_is_given_back_is_taken_first():
    runs = Runs(6)
    assert runs.take("a", 3) == [0, 1, 2]
    runs.give_back([2, 1])
    assert runs.take("b", 5) == [1, 2] and runs.left == 3


@pytest.mark.parametrize("seed", range(20))
def test_of_one_site_no_more_than_the_limit_are_taken_at_once(seed):
    rng = random.Random(seed)
    site_of = [rng.choice(["a", "a", "a", "b", ""]) for _ in range(200)]
    sites, taken, held, most = Sites(site_of, 2), [], {}, Counter()
    while sites.left or held:
        worker = rng.randrange(9)
        if worker in held and rng.random() < 0.1:
            sites.give_back([held.pop(worker)])
        elif worker in held:
            taken.append(held.pop(worker))
            sites.end(taken[-1])
        elif found := sites.take(worker, rng.randint(1, 9)):
            (held[worker],) = found
        busy = Counter(site_of[index] for index in held.values())
        most |= busy
        waits = Counter(site_of) - Counter(site_of[index] for index in taken) - busy
        possible = any(waits[site] and (not site or busy[site] < 2) for site in waits)
        assert bool(sites._open) == possible
    assert sorted(taken) == list(range(200)) and (most["a"], most["b"]) == (2, 2) and most[""] > 2


def test_sites_take_turns():
    sites = Sites(["a", "a", "a", "b", "b"], 9)
    assert [sites.take("w", 5) for _ in range(6)] == [[0], [3], [1], [4], [2], []]
    assert sites.most_at_once == 5 and Sites(["a", "a", "b", "", ""], 1).most_at_once == 4


def test_a_choice_looks_at_no_list_of_the_items():
    runs = Runs(10**15)
    assert runs.take("a", 1) == [0] and runs.take("b", 1) == [(10**15 + 1) // 2]
    runs.give_back([0])
    assert runs.take("a", 1) == [1] and runs.take("c", 1) == [0] and runs.left == 10**15 - 3
