"""Run one function over many items in processes, with a progress bar, in order, one outcome per item."""

import multiprocessing
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from typing import TypeVar

from tqdm import tqdm

I = TypeVar("I")
O = TypeVar("O")


def progress(items: Iterable[I], label: str, total: int | None = None) -> Iterator[I]:
    """Progress bar on stderr; silent for work under a second, plain lines where stderr is no terminal."""
    return tqdm(items, desc=label, total=total, delay=1, dynamic_ncols=True, mininterval=0.5)


def run_all(function: Callable[[I], O], items: list[I], workers: int, label: str) -> list[O]:
    """[function(item) for item in items] over `workers` fresh processes (spawned, so that no library's threads or
    locks are inherited). `function` must return its failure as a value; what it raises ends the run."""
    if workers <= 1 or len(items) <= 1:
        return [function(item) for item in progress(items, label)]
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(max_workers=min(workers, len(items)), mp_context=context) as pool:
        return list(progress(pool.map(function, items), label, total=len(items)))
