"""The switch of this folder. With D2M_PLAIN_TORCH=1 in the environment, or inside `plain_torch()`, every network computes
with torch's own layers, and freed memory goes back to the system. Use it for comparisons, or when a result is in doubt.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager

_plain = os.environ.get("D2M_PLAIN_TORCH", "0") not in ("", "0")


def is_plain() -> bool:
    """Whether networks compute with torch's own layers."""
    return _plain


@contextmanager
def plain_torch() -> Iterator[None]:
    """Compute with torch's own layers inside the block, in this process."""
    global _plain
    before, _plain = _plain, True
    try:
        yield
    finally:
        _plain = before
