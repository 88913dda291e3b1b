"""Unpickle numpy arrays of numbers and nothing else, from files that anyone may have made.

A pickle is a program that names what it calls. Here the few names that numpy writes into one are answered with stand-ins, and
all others are refused: no function of another module is ever called, not even numpy's own that rebuild arrays and types, which
trust what they are given. An array's numbers are the bytes that stand in the file, so none is larger than that.
"""

import math
import pickle
import pickletools
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO, Literal

import numpy as np

MAX_OPCODES = 20_000
"""Steps of a pickle; a hundred make a dict of arrays, and without a limit they could nest too deep for the interpreter."""
NUMBERS = re.compile(r"[<>=|]?(b1|[iu][1248]|f[248])")
ARRAY = "numpy.ndarray"
MAX_AXES = 32
MEMO = ("PUT", "BINPUT", "LONG_BINPUT")
"""Opcodes that say where to keep a value; the table of such is made as long as the highest asks for."""
GET = ("GET", "BINGET", "LONG_BINGET")
REPEATING = ("DUP", "EMPTY_SET", "FROZENSET")
SIMPLE = (
    "STRING", "BINSTRING", "SHORT_BINSTRING", "UNICODE", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8", "BINBYTES",
    "SHORT_BINBYTES", "BINBYTES8", "GLOBAL", "STACK_GLOBAL", "REDUCE", "BUILD", "LIST", "DICT", "EMPTY_LIST", "EMPTY_DICT",
)  # fmt: skip
"""Opcodes that leave no tuple: what they made may be used again."""


class RefusedPickle(pickle.UnpicklingError):
    """A pickle that asks for what is no array of numbers."""


def _said(value: object) -> str:
    """A text of the file, safe to print; of anything else its type, for to print nested containers could take for ever."""
    return ascii(value[:40]) if isinstance(value, str) else f"a {type(value).__name__}"


class _Type:
    """Stands for a numpy dtype."""

    def __init__(self, code: str):
        if not isinstance(code, str) or not NUMBERS.fullmatch(code):
            raise RefusedPickle(f"it holds values of type {_said(code)}")
        self.dtype = np.dtype(code)

    def __setstate__(self, state: tuple):
        self.dtype = self.dtype.newbyteorder(state[1])


class _Array:
    """Stands for an array until the pickle is read."""

    values: np.ndarray | None = None

    def __setstate__(self, state: tuple):
        *_, shape, kind, fortran, data = state
        self.fill(data, kind, shape, "F" if fortran else "C")

    def fill(self, data: bytes, kind: _Type, shape: tuple[int, ...], order: Literal["F", "C"]) -> None:
        values = np.frombuffer(data, kind.dtype) if len(data) else np.empty(0, kind.dtype)
        sizes = (
            isinstance(shape, tuple)
            and len(shape) <= MAX_AXES
            and all(type(n) is int and 0 <= n < 1 << 31 for n in shape)
        )
        if not sizes or math.prod(shape) != len(values):
            raise ValueError(f"{len(values)} numbers for an array of another shape")
        self.values = values.reshape(shape, order=order)


class _Call:
    """Calls a method, and has no dict of its own: what a pickle sets on a bound method stays on its class."""

    __slots__ = ("method",)

    def __init__(self, method: Callable):
        self.method = method

    def __call__(self, *args):
        return self.method(*args)


class _Unpickler(pickle.Unpickler):
    """Answers numpy's names with stand-ins, on which a pickle can set nothing that outlives it."""

    def find_class(self, module: str, name: str):
        if module in ("numpy.core.multiarray", "numpy._core.multiarray", "numpy.core.numeric", "numpy._core.numeric"):
            known: dict[str, Any] = {"_reconstruct": self.array, "scalar": self.scalar, "_frombuffer": self.array_of}
        else:
            plain: dict[str, dict[str, Any]] = {
                "numpy": {"ndarray": ARRAY, "dtype": self.dtype},
                "_codecs": {"encode": self.encode},
                "__builtin__": {"bytes": self.nothing},
            }
            known = plain.get(module, {})
        if name not in known:
            raise RefusedPickle(f"it names {f'{module[:40]}.{name[:40]}'!a}")
        return ARRAY if known[name] is ARRAY else _Call(known[name])

    def dtype(self, code, *_) -> _Type:
        return _Type(code)

    def array(self, *_) -> _Array:
        return _Array()

    def array_of(self, data, kind: _Type, shape: tuple[int, ...], order: Literal["F", "C"]) -> _Array:
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
            raise RefusedPickle(f"it encodes to {_said(encoding)}")
        return text.encode("latin1")


def load_arrays(path: Path) -> dict:
    """The dict of a pickle file, its arrays as numpy's, read-only.

    Raises RefusedPickle where it asks for anything but arrays of numbers, numbers, texts and containers of them, or is none but a
    dict; and what unpickling bytes raises that are not a whole pickle, one of DAMAGED.
    """
    with path.open("rb") as handle:
        _check_steps(handle)
        handle.seek(0)
        content = _Unpickler(handle).load()
    if not isinstance(content, dict):
        raise RefusedPickle(f"it holds a {type(content).__name__}, no dict")
    return {key: value.values if isinstance(value, _Array) else value for key, value in content.items()}


def _check_steps(handle: BinaryIO) -> None:
    """RefusedPickle where there are too many steps, or a tuple is used twice: thirty tuples, each of the one before twice, take for
    ever to hash. Nothing that numpy writes needs that."""
    last, kept = "", {}
    for count, (opcode, argument, _) in enumerate(pickletools.genops(handle), start=1):
        name = opcode.name
        if name in MEMO or name == "MEMOIZE":
            kept[len(kept) if name == "MEMOIZE" else argument] = last
        if count > MAX_OPCODES or (name in MEMO and argument is not None and argument > MAX_OPCODES):
            raise RefusedPickle(f"it has more than {MAX_OPCODES} steps or places for values")
        if name in REPEATING or (name in GET and kept.get(argument) not in SIMPLE):
            raise RefusedPickle("it uses a tuple twice, or sets")
        last = name


DAMAGED = (
    pickle.UnpicklingError, AttributeError, EOFError, ImportError, LookupError, MemoryError, OverflowError, RecursionError,
    TypeError, ValueError,
)  # fmt: skip
"""What `load_arrays` raises for bytes that are not a whole pickle."""
