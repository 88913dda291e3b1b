"""Hypothesis strategies that all families share: odd values, damaged bytes, trees with odd leaves, archives with odd parts."""

import io
import struct
import zipfile
from collections.abc import Sequence

from hypothesis import strategies as st

ODD_TEXTS = (
    "", " ", "²", "é", "e\u0301", "１２", "../../../x", "..", ".", "/tmp/elsewhere", "a/b", "a\\b", "a\nb", "a\0b", "-rf", "~",
    "a" * 300, "NaN", "inf", "1e400", "1" * 400, "=1+1", "1_000", "0x10", "true", "null", "CON", "\ufeff", "\ud7ff", "\u202e",
    "http://", "http://[", "https://example.org/a b", "file:///etc/passwd", "concat:a|b", "1:2:3:4", "-0:01", "12:00 AM", "1,5",
)  # fmt: skip
ODD_NUMBERS = (
    0, 1, -1, 2, 7, 255, 1 << 15, 1 << 31, 1 << 32, 1 << 63, -(1 << 63), 10**19, 10**400, 0.0, -0.0, 0.5, -0.5, 1.5, 1e-300, 1e15,
    1e38, 1e39, 1e300, float("nan"), float("inf"), float("-inf"),
)  # fmt: skip
odd_texts = st.sampled_from(ODD_TEXTS) | st.text(max_size=12)
odd_numbers = st.sampled_from(ODD_NUMBERS) | st.integers(-1000, 1000) | st.floats()
odd_scalars = st.none() | st.booleans() | odd_numbers | odd_texts
odd_trees = st.recursive(
    odd_scalars, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(odd_texts, inner, max_size=3), max_leaves=6
)

ODD_SIZES = (0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0x8000, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 1 << 62, (1 << 64) - 1)
WIDTHS = {1: "B", 2: "H", 4: "I", 8: "Q"}


@st.composite
def damaged(draw, content: bytes, most: int = 6) -> bytes:
    """`content` after one to `most` blows: bytes changed, numbers put in, pieces cut out, doubled or moved."""
    data = bytearray(content)
    for _ in range(draw(st.integers(1, most))):
        size = len(data)
        if not size:
            return b""
        # what matters most stands at the start or the end of a file
        at = draw(
            st.integers(0, size - 1) | st.integers(0, min(255, size - 1)) | st.integers(max(0, size - 256), size - 1)
        )
        blow = draw(st.sampled_from(("byte", "bit", "size", "cut", "end", "twice", "zeros", "noise")))
        span = draw(st.integers(1, 64)) if blow in ("cut", "twice", "zeros", "noise") else 0
        if blow == "byte":
            data[at] = draw(st.integers(0, 255))
        elif blow == "bit":
            data[at] ^= 1 << draw(st.integers(0, 7))
        elif blow == "size":
            width = draw(st.sampled_from(tuple(WIDTHS)))
            number = draw(st.sampled_from(ODD_SIZES)) % (1 << 8 * width)
            data[at : at + width] = struct.pack(draw(st.sampled_from("<>")) + WIDTHS[width], number)
        elif blow == "cut":
            del data[at : at + span]
        elif blow == "end":
            del data[at:]
        elif blow == "twice":
            data[at:at] = data[at : at + span]
        elif blow == "zeros":
            data[at : at + span] = bytes(min(span, size - at))
        else:
            data[at : at + span] = draw(st.binary(min_size=1, max_size=span))
    return bytes(data)


@st.composite
def maybe_damaged(draw, content: bytes) -> bytes:
    """`content`, half of the time damaged."""
    return draw(damaged(content)) if draw(st.booleans()) else content


def paths_of(tree: object, path: tuple = ()) -> list[tuple]:
    """The path to every node of dicts and lists, the root's () among them."""
    inner = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, (list, tuple)) else ()
    return [path, *(found for key, value in inner for found in paths_of(value, (*path, key)))]


@st.composite
def altered(draw, tree: object, values=odd_trees, most: int = 3) -> object:
    """A copy of dicts and lists in which one to `most` nodes are replaced, left out, doubled or renamed."""
    tree = _copied(tree)
    for _ in range(draw(st.integers(1, most))):
        paths = [path for path in paths_of(tree) if path]
        if not paths:
            return draw(values)
        *above, key = draw(st.sampled_from(paths))
        parent = tree
        for step in above:
            parent = parent[step]
        act = draw(st.sampled_from(("value", "value", "value", "drop", "add")))
        if act == "value":
            parent[key] = draw(values)
        elif act == "drop":
            del parent[key]
        elif isinstance(parent, dict):
            parent[draw(odd_texts)] = draw(values)
        else:
            parent.insert(key, draw(values))
    return tree


def _copied(tree: object) -> object:
    if isinstance(tree, dict):
        return {key: _copied(value) for key, value in tree.items()}
    return [_copied(value) for value in tree] if isinstance(tree, (list, tuple)) else tree


@st.composite
def rezipped(draw, content: bytes) -> bytes:
    """An archive of which one part is damaged inside, with a checksum that fits, and maybe packed tighter or twice."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    chosen = draw(st.sampled_from(sorted(parts)))
    parts[chosen] = draw(st.one_of(damaged(parts[chosen]), st.just(bytes(1 << draw(st.integers(0, 22))))))
    packing = draw(st.sampled_from((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA)))
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", packing) as archive:
        for name, part in parts.items():
            archive.writestr(zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0)), part, packing)
    return out.getvalue()


def one_of_damaged(valid: Sequence[bytes]) -> st.SearchStrategy[bytes]:
    """One of some valid files, half of the time damaged."""
    return st.sampled_from(list(valid)).flatmap(maybe_damaged)
