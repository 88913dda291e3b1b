"""Unpickle numpy arrays of numbers and nothing else, from files that anyone may have made.

A pickle is a program that names what it calls. Here the few names that numpy writes into one are answered with stand-ins, and
all others are refused: no function of another module is ever called, not even numpy's own that rebuild arrays and types, which
trust what they are given. An array's numbers are the bytes that stand in the file, so none is larger than that.
"""

import math
import pickle
import pickletools
import re
from itertools import islice
from pathlib import Path

import numpy as np

MAX_OPCODES = 20_000
"""Steps of a pickle; a hundred make a dict of arrays, and without a limit they could nest too deep for the interpreter."""
NUMBERS = re.compile(r"[<>=|]?(b1|[iu][1248]|f[248])")
ARRAY = "numpy.ndarray"


class Refused(pickle.UnpicklingError):
    """A pickle that asks for what is no array of numbers."""


class _Type:
    """Stands for a numpy dtype."""

    def __init__(self, code: str):
        if not isinstance(code, str) or not NUMBERS.fullmatch(code):
            raise Refused(f"it holds values of type {str(code)[:40]!a}")
        self.dtype = np.dtype(code)

    def __setstate__(self, state: tuple):
        self.dtype = self.dtype.newbyteorder(state[1])


class _Array:
    """Stands for an array until the pickle is read."""

    values: np.ndarray | None = None

    def __setstate__(self, state: tuple):
        *_, shape, kind, fortran, data = state
        self.fill(data, kind, shape, "F" if fortran else "C")

    def fill(self, data: bytes, kind: _Type, shape: tuple[int, ...], order: str) -> None:
        values = np.frombuffer(data, kind.dtype) if len(data) else np.empty(0, kind.dtype)
        if any(length < 0 for length in shape) or math.prod(shape) != len(values):
            raise ValueError(f"{len(values)} numbers for an array of shape {shape}")
        self.values = values.reshape(shape, order=order)


class _Unpickler(pickle.Unpickler):
    """Answers numpy's names with bound methods, on which a pickle can set nothing that outlives it."""

    def find_class(self, module: str, name: str):
        if module in ("numpy.core.multiarray", "numpy._core.multiarray", "numpy.core.numeric", "numpy._core.numeric"):
            known = {"_reconstruct": self.array, "scalar": self.scalar, "_frombuffer": self.array_of}
        else:
            plain = {"numpy": {"ndarray": ARRAY, "dtype": self.dtype}, "_codecs": {"encode": self.encode}, "__builtin__": {"bytes": self.nothing}}
            known = plain.get(module, {})
        if name not in known:
            raise Refused(f"it names {module}.{name}")
        return known[name]

    def dtype(self, code, *_) -> _Type:
        return _Type(code)

    def array(self, *_) -> _Array:
        return _Array()

    def array_of(self, data, kind: _Type, shape: tuple[int, ...], order: str) -> _Array:
        array = _Array()
        array.fill(data, kind, shape, order)
        return array

    def scalar(self, kind: _Type, data: bytes) -> float:
        return np.frombuffer(data, kind.dtype)[0].item()

    def nothing(self) -> bytes:
        """No bytes, as protocols below 3 write them."""
        return b""

    def encode(self, text: str, encoding: str) -> bytes:
        """Some, as these write them."""
        if not isinstance(text, str) or encoding != "latin1":
            raise Refused(f"it encodes to {str(encoding)[:40]!a}")
        return text.encode("latin1")


def load_arrays(path: Path) -> dict:
    """The dict of a pickle file, its arrays as numpy's, read-only.

    Raises Refused where it asks for anything but arrays of numbers, numbers, texts and containers of them, or is none but a
    dict; and what unpickling bytes raises that are not a whole pickle, one of DAMAGED.
    """
    with path.open("rb") as handle:
        if sum(1 for _ in islice(pickletools.genops(handle), MAX_OPCODES + 1)) > MAX_OPCODES:
            raise Refused(f"it has more than {MAX_OPCODES} steps")
        handle.seek(0)
        content = _Unpickler(handle).load()
    if not isinstance(content, dict):
        raise Refused(f"it holds a {type(content).__name__}, no dict")
    return {key: value.values if isinstance(value, _Array) else value for key, value in content.items()}


DAMAGED = (pickle.UnpicklingError, AttributeError, EOFError, ImportError, LookupError, MemoryError, OverflowError, TypeError, ValueError)
"""What `load_arrays` raises for bytes that are not a whole pickle."""
