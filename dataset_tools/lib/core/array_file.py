"""Read numeric arrays from untrusted .npy and .npz files: nothing is unpickled, and memory is bounded by the size of the file.

numpy reads a header with Python's own parser and then allocates as much memory as the header asks for. Here the shape in a
header must agree with the bytes that follow it, the members of a zip archive are checked before they are unpacked, and any
other error of a parser becomes one line.
"""

import io
import math
import warnings
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, Literal

import numpy as np
from numpy.lib import format as npy

from dataset_tools.lib.core import limits
from dataset_tools.lib.core.atomic import atomic_write
from dataset_tools.lib.core.errors import Unreadable, UserError

NUMERIC_KINDS = "biuf"
"""Allowed kinds of dtype: bool, int, uint, float."""
HEADER_READERS = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}


def read_npy(path: Path) -> np.ndarray:
    """The numeric array of a .npy file, of any shape, mapped into memory, read-only.

    Raises Unreadable for another kind of file, a damaged file and values that are not numbers; UserError for a missing file.
    """
    path = limits.check_regular_file(path)
    with (
        _as_unreadable(path, "not a .npy file, an array of numbers", "save it with numpy.save"),
        open(path, "rb") as file,
    ):
        start = file.read(len(npy.MAGIC_PREFIX))
        if start != npy.MAGIC_PREFIX:
            found = " but an archive" if start.startswith(b"PK") else ""
            raise Unreadable(path, f"not a .npy file, an array of numbers{found}; save it with numpy.save")
        file.seek(0)
        shape, fortran, kind = _read_header(path, file, path.stat().st_size)
        order: Literal["F", "C"] = "F" if fortran else "C"
        return np.empty(shape, kind, order) if 0 in shape else np.memmap(path, kind, "r", file.tell(), shape, order)


def read_npz(path: Path, names: Sequence[str], optional: Sequence[str] = ()) -> dict[str, np.ndarray]:
    """The numeric arrays `names` of a .npz file, and those of `optional` that it has.

    Raises Unreadable for another kind of file, a damaged file, a missing name, and arrays that are not numeric or beyond
    `limits`; UserError for a missing file.
    """
    path, arrays = limits.check_regular_file(path), {}
    with _as_unreadable(path, "not a readable .npz file", "write it again"), zipfile.ZipFile(path) as archive:
        parts = {part.filename.removesuffix(".npy"): part for part in archive.infolist()}
        if len(parts) > limits.ZIP_PARTS:
            raise Unreadable(path, f"{len(parts)} parts; an archive of arrays has at most {limits.ZIP_PARTS}")
        for name in names:
            if name not in parts:
                raise Unreadable(
                    path, f"'{name}' is missing; found {limits.printable(', '.join(sorted(parts)) or 'nothing')}"
                )
        wanted = {name: parts[name] for name in (*names, *optional) if name in parts}
        if (size := sum(part.file_size for part in wanted.values())) > limits.ARRAY_BYTES:
            raise Unreadable(path, f"{size} bytes of arrays; at most {limits.ARRAY_BYTES} are unpacked")
        for name, part in wanted.items():
            if part.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                raise Unreadable(
                    path, f"'{name}' is compressed in a way that numpy does not use; write it with numpy.savez"
                )
            data = archive.read(part)
            shape, fortran, kind = _read_header(path, file := io.BytesIO(data), len(data))
            values = np.frombuffer(data, kind, math.prod(shape), file.tell()) if 0 not in shape else np.empty(0, kind)
            arrays[name] = values.reshape(shape, order="F" if fortran else "C")
    return arrays


def write_npy(path: Path, values: np.ndarray) -> None:
    """Write an array of numbers as a .npy file, complete or absent. Raises the errors of `atomic_write`."""
    memory = io.BytesIO()  # np.save itself doesn't report a full disk
    np.save(memory, values, allow_pickle=False)
    with atomic_write(path) as temporary:
        temporary.write_bytes(memory.getbuffer())


def _read_header(path: Path, file: BinaryIO, size: int) -> tuple[tuple[int, ...], bool, np.dtype]:
    """(shape, is Fortran order, dtype) of a .npy header, checked to fit in `size` bytes. `file` is left at the start of the data."""
    version = npy.read_magic(file)
    if version not in HEADER_READERS:
        raise Unreadable(path, f"a .npy file of format {version[0]}.{version[1]}, which arrays of numbers do not need")
    shape, fortran, kind = HEADER_READERS[version](file)
    if kind.kind not in NUMERIC_KINDS:
        raise Unreadable(
            path, f"holds {'Python objects' if kind.hasobject else limits.printable(str(kind))}, not numbers"
        )
    if len(shape) > limits.ARRAY_AXES or min(shape, default=0) < 0:
        raise Unreadable(path, f"an array of {len(shape)} axes, one of them negative or more than {limits.ARRAY_AXES}")
    if (needed := math.prod(shape) * kind.itemsize) > size - file.tell():
        raise Unreadable(
            path,
            f"not a complete .npy file: its numbers need {limits.printable(str(needed))} bytes, but it has {size - file.tell()}",
        )
    return shape, fortran, kind


@contextmanager
def _as_unreadable(path: Path, what: str, advice: str) -> Iterator[None]:
    """Turn any error of a parser into Unreadable."""
    try:
        with np.errstate(all="ignore"), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about old files and about sizes beyond int64
            yield
    except UserError:
        raise
    except Exception as err:  # noqa: BLE001 - numpy's parser, zlib and zipfile raise whatever broken bytes lead to
        raise Unreadable(path, f"{what} ({type(err).__name__}); {advice}") from None
