"""Unpickle numeric numpy arrays, and nothing else, from untrusted files.

A pickle is a program that names the functions it calls. The few names that numpy writes are resolved to stand-ins, and all
others are refused. So no function of another module is ever called, not even numpy's own functions that rebuild arrays and
dtypes, because they trust their arguments. The numbers of an array are bytes of the file, so no array is larger than the file.
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
"""Opcodes of a pickle. A dict of arrays takes a hundred; without a limit, values could be nested too deep for the interpreter."""
NUMERIC_DTYPE = re.compile(r"[<>=|]?(b1|[iu][1248]|f[248])")
ARRAY = "numpy.ndarray"
MAX_AXES = 32
MEMO_OPCODES = ("PUT", "BINPUT", "LONG_BINPUT")
"""Opcodes that store a value under an index. The unpickler's table becomes as long as the highest index."""
GET_OPCODES = ("GET", "BINGET", "LONG_BINGET")
FORBIDDEN_OPCODES = ("DUP", "EMPTY_SET", "FROZENSET")
NEVER_TUPLES = (
    "STRING", "BINSTRING", "SHORT_BINSTRING", "UNICODE", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8", "BINBYTES",
    "SHORT_BINBYTES", "BINBYTES8", "GLOBAL", "STACK_GLOBAL", "REDUCE", "BUILD", "LIST", "DICT", "EMPTY_LIST", "EMPTY_DICT",
)  # fmt: skip
"""Opcodes that do not build a tuple; their results may be used more than once."""


class RefusedPickle(pickle.UnpicklingError):
    """A pickle that needs something other than numeric arrays."""


def _printable(value: object) -> str:
    """A string of the file, made safe to print; the type of any other value, because printing nested containers could take for ever."""
    return ascii(value[:40]) if isinstance(value, str) else f"a {type(value).__name__}"


class _DtypeStandIn:
    """Stand-in for a numpy dtype."""

    def __init__(self, code: str):
        if not isinstance(code, str) or not NUMERIC_DTYPE.fullmatch(code):
            raise RefusedPickle(f"it holds values of type {_printable(code)}")
        self.dtype = np.dtype(code)

    def __setstate__(self, state: tuple):
        self.dtype = self.dtype.newbyteorder(state[1])


class _ArrayStandIn:
    """Stand-in for an array while the pickle is read."""

    values: np.ndarray | None = None

    def __setstate__(self, state: tuple):
        *_, shape, kind, fortran, data = state
        self.fill(data, kind, shape, "F" if fortran else "C")

    def fill(self, data: bytes, kind: _DtypeStandIn, shape: tuple[int, ...], order: Literal["F", "C"]) -> None:
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
    """Calls a method. Without `__dict__`, because attributes that a pickle sets on a bound method would stay on its class."""

    __slots__ = ("method",)

    def __init__(self, method: Callable):
        self.method = method

    def __call__(self, *args):
        return self.method(*args)


class _Unpickler(pickle.Unpickler):
    """Unpickler that resolves numpy's names to stand-ins, on which a pickle cannot set anything that outlives it."""

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

    def dtype(self, code, *_) -> _DtypeStandIn:
        return _DtypeStandIn(code)

    def array(self, *_) -> _ArrayStandIn:
        return _ArrayStandIn()

    def array_of(self, data, kind: _DtypeStandIn, shape: tuple[int, ...], order: Literal["F", "C"]) -> _ArrayStandIn:
        array = _ArrayStandIn()
        array.fill(data, kind, shape, order)
        return array

    def scalar(self, kind: _DtypeStandIn, data: bytes) -> float:
        return np.frombuffer(data, kind.dtype)[0].item()

    def nothing(self) -> bytes:
        """Empty bytes, as protocols below 3 write them."""
        return b""

    def encode(self, text: str, encoding: str) -> bytes:
        """Other bytes, as protocols below 3 write them."""
        if not isinstance(text, str) or encoding != "latin1":
            raise RefusedPickle(f"it encodes to {_printable(encoding)}")
        return text.encode("latin1")


def load_arrays(path: Path) -> dict:
    """The dict in a pickle file, with read-only numpy arrays.

    Raises RefusedPickle if the file needs anything but numeric arrays, numbers, strings and containers of them, or does not hold a
    dict; and one of PICKLE_ERRORS if the bytes are not a complete pickle.
    """
    with path.open("rb") as handle:
        _check_opcodes(handle)
        handle.seek(0)
        content = _Unpickler(handle).load()
    if not isinstance(content, dict):
        raise RefusedPickle(f"it holds a {type(content).__name__}, not a dict")
    return {key: value.values if isinstance(value, _ArrayStandIn) else value for key, value in content.items()}


def _check_opcodes(handle: BinaryIO) -> None:
    """Raise RefusedPickle for too many opcodes, and for a tuple that is used twice: thirty nested tuples, each of which holds the
    previous one twice, take for ever to hash. numpy never writes such tuples."""
    last, kept = "", {}
    for count, (opcode, argument, _) in enumerate(pickletools.genops(handle), start=1):
        name = opcode.name
        if name in MEMO_OPCODES or name == "MEMOIZE":
            kept[len(kept) if name == "MEMOIZE" else argument] = last
        if count > MAX_OPCODES or (name in MEMO_OPCODES and argument is not None and argument > MAX_OPCODES):
            raise RefusedPickle(f"it has more than {MAX_OPCODES} opcodes or memo indices")
        if name in FORBIDDEN_OPCODES or (name in GET_OPCODES and kept.get(argument) not in NEVER_TUPLES):
            raise RefusedPickle("it uses a tuple twice, or a set")
        last = name


PICKLE_ERRORS = (
    pickle.UnpicklingError, AttributeError, EOFError, ImportError, LookupError, MemoryError, OverflowError, RecursionError,
    TypeError, ValueError,
)  # fmt: skip
"""Exceptions of `load_arrays` for bytes that are not a complete pickle."""
