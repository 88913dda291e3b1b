"""Arrays of numbers in .npy and .npz files, from anywhere: nothing is unpickled, and nothing is larger than the file says.

numpy reads a header with Python's own parser and then takes as much memory as it asks for. Here a header must fit the bytes
that follow it, a zip archive's parts are looked at before they are unpacked, and whatever else a parser trips over becomes one
line.
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
from dataset_tools.lib.core.atomic import write_aside
from dataset_tools.lib.core.errors import Unreadable, UserError

NUMBERS = "biuf"
"""Kinds of dtype: truth values, integers, floats."""
HEADERS = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}


def read_npy(path: Path) -> np.ndarray:
    """The array of numbers in a .npy file, of any shape, mapped into memory, read-only.

    Raises Unreadable for another kind of file, a damaged one and values that are no numbers; UserError for none.
    """
    path = limits.regular_file(path)
    with _one_line(path, "not a .npy file, an array of numbers", "save it with numpy.save"), open(path, "rb") as file:
        start = file.read(len(npy.MAGIC_PREFIX))
        if start != npy.MAGIC_PREFIX:
            found = " but an archive" if start.startswith(b"PK") else ""
            raise Unreadable(path, f"not a .npy file, an array of numbers{found}; save it with numpy.save")
        file.seek(0)
        shape, fortran, kind = _header(path, file, path.stat().st_size)
        order: Literal["F", "C"] = "F" if fortran else "C"
        return np.empty(shape, kind, order) if 0 in shape else np.memmap(path, kind, "r", file.tell(), shape, order)


def read_npz(path: Path, names: Sequence[str], optional: Sequence[str] = ()) -> dict[str, np.ndarray]:
    """The named arrays of numbers in a .npz file, and of `optional` those that it has.

    Raises Unreadable for another kind of file, a damaged one, one that lacks a name, and arrays that are no numbers or beyond
    `limits`; UserError for none.
    """
    path, arrays = limits.regular_file(path), {}
    with _one_line(path, "not a readable .npz file", "write it again"), zipfile.ZipFile(path) as archive:
        parts = {part.filename.removesuffix(".npy"): part for part in archive.infolist()}
        if len(parts) > limits.ZIP_PARTS:
            raise Unreadable(path, f"{len(parts)} parts; an archive of arrays has at most {limits.ZIP_PARTS}")
        for name in names:
            if name not in parts:
                raise Unreadable(
                    path, f"'{name}' is missing; found {limits.shown(', '.join(sorted(parts)) or 'nothing')}"
                )
        wanted = {name: parts[name] for name in (*names, *optional) if name in parts}
        if (size := sum(part.file_size for part in wanted.values())) > limits.ARRAY_BYTES:
            raise Unreadable(path, f"{size} bytes of arrays; at most {limits.ARRAY_BYTES} are unpacked")
        for name, part in wanted.items():
            if part.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                raise Unreadable(
                    path, f"'{name}' is packed in a way that numpy does not write; write it with numpy.savez"
                )
            data = archive.read(part)
            shape, fortran, kind = _header(path, file := io.BytesIO(data), len(data))
            values = np.frombuffer(data, kind, math.prod(shape), file.tell()) if 0 not in shape else np.empty(0, kind)
            arrays[name] = values.reshape(shape, order="F" if fortran else "C")
    return arrays


def write_npy(path: Path, values: np.ndarray) -> None:
    """Write an array of numbers as a .npy file, complete or absent. Raises as `write_aside`."""
    memory = io.BytesIO()  # numpy's own writing to a disk that is full does not say so
    np.save(memory, values, allow_pickle=False)
    with write_aside(path) as aside:
        aside.write_bytes(memory.getbuffer())


def _header(path: Path, file: BinaryIO, size: int) -> tuple[tuple[int, ...], bool, np.dtype]:
    """Shape, whether it is in Fortran's order, and dtype, once they are known to fit in `size` bytes. Leaves the file there."""
    version = npy.read_magic(file)
    if version not in HEADERS:
        raise Unreadable(path, f"a .npy file of format {version[0]}.{version[1]}, which arrays of numbers do not need")
    shape, fortran, kind = HEADERS[version](file)
    if kind.kind not in NUMBERS:
        raise Unreadable(path, f"holds {'Python objects' if kind.hasobject else limits.shown(str(kind))}, not numbers")
    if len(shape) > limits.ARRAY_AXES or min(shape, default=0) < 0:
        raise Unreadable(path, f"an array of {len(shape)} axes, one of them negative or more than {limits.ARRAY_AXES}")
    if (needed := math.prod(shape) * kind.itemsize) > size - file.tell():
        raise Unreadable(
            path,
            f"not a whole .npy file: its numbers need {limits.shown(str(needed))} bytes, {size - file.tell()} are there",
        )
    return shape, fortran, kind


@contextmanager
def _one_line(path: Path, what: str, advice: str) -> Iterator[None]:
    """Whatever reading meets in a file from anywhere becomes one line."""
    try:
        with np.errstate(all="ignore"), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of old files, and of sizes beyond int64
            yield
    except UserError:
        raise
    except Exception as err:  # noqa: BLE001 - numpy's parser, zlib and zipfile raise whatever broken bytes lead to
        raise Unreadable(path, f"{what} ({type(err).__name__}); {advice}") from None
