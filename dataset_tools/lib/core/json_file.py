"""Read untrusted JSON. Its depth and its number of values are checked against `limits` before it is parsed, which bounds the memory
that it takes."""

import json
from pathlib import Path

import numpy as np

from dataset_tools.lib.core import limits
from dataset_tools.lib.core.errors import Unreadable

BLOCK_BYTES = 1 << 20
DEPTH_STEP = np.zeros(256, np.int8)
DEPTH_STEP[list(b"[{")], DEPTH_STEP[list(b"]}")] = 1, -1


def read_json(path: Path, most: int = limits.JSON_BYTES) -> object:
    """The content of a JSON file of at most `most` bytes. Raises UserError as `limits.read_bytes`, and Unreadable as `parse_json`."""
    return parse_json(limits.read_bytes(path, most), path)


def parse_json(data: bytes, where: Path | str) -> object:
    """The content of JSON `data`. Raises Unreadable, whose message begins with `where`, for invalid JSON and data beyond `limits`."""
    counted = (
        (b"[", limits.JSON_LISTS, "lists"),
        (b"{", limits.JSON_DICTS, "objects"),
        (b",", limits.JSON_VALUES, "values"),
    )
    for sign, most, what in counted:
        if data.count(sign) > most:
            raise Unreadable(where, f"over {most} {what}; a file of this kind has fewer: split it")
    if _nesting_depth(data) > limits.JSON_DEPTH:
        raise Unreadable(where, f"nested more than {limits.JSON_DEPTH} deep")
    try:
        return json.loads(data)
    except (ValueError, RecursionError) as err:
        raise Unreadable(where, f"not JSON ({limits.printable(str(err))})") from None


def _nesting_depth(data: bytes) -> int:
    """Depth of nested brackets. An unclosed bracket inside a string counts too."""
    now = deepest = 0
    for first in range(0, len(data), BLOCK_BYTES):
        levels = now + np.cumsum(
            DEPTH_STEP[np.frombuffer(data, np.uint8, min(BLOCK_BYTES, len(data) - first), first)], dtype=np.int64
        )
        now, deepest = int(levels[-1]), max(deepest, int(levels.max()))
    return deepest
