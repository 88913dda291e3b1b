"""Python's collector of garbage, for code that makes millions of objects that stay."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def no_collection() -> Iterator[None]:
    """Collect no garbage in the block or, as a decorator, in the function: a collector that looks at all records again and again takes a
    quarter of the time in which a large table is read."""
    if not gc.isenabled():
        yield
        return
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
