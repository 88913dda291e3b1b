"""Python's collector of garbage, for code that makes millions of objects that stay."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager

MANY = 100_000
"""New objects from which a collection is slow: 10 ms."""


@contextmanager
def no_collection() -> Iterator[None]:
    """Collect no garbage in the block or, as a decorator, in the function: a collector that looks at all records again and again takes a
    quarter of the time in which a large table is read. Later collections do not look at them either, if they are many."""
    if not gc.isenabled():
        yield
        return
    gc.disable()
    try:
        yield
    finally:
        if gc.get_count()[0] > MANY:
            gc.freeze()
        gc.enable()
