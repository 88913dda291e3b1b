"""Few big files instead of many small ones: a stage's files by clip, such as <clip_id>.mp4, lie by themselves or in packs.

    <folder>/pack-00000.tar, ...    uncompressed tar files, which any other program reads, too
    <folder>/packs.csv              name,pack,offset,bytes,sha256: where in which pack each file is

Every reader of such files uses `local_file`, so that it need not know where they are. A pack is not read as a tar file: packs.csv says
where a file is, so one seek finds it. `pack_files.py` writes packs.
"""

import hashlib
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import BinaryIO

from dataset_tools.lib.core import limits
from dataset_tools.lib.core.errors import Unreadable, UserError
from dataset_tools.lib.core.scratch import scratch_folder

INDEX = "packs.csv"
HEADER = "name,pack,offset,bytes,sha256"
PACK = re.compile(r"pack-\d{5,9}\.tar")
ROW = re.compile(r"([^,]+),(pack-\d{5,9}\.tar),(\d{1,18}),(\d{1,18}),([0-9a-f]{64})")
PIECE = 1 << 20  # bytes that are copied at once
AGAIN = "run the stage again, or dvc pull"


@dataclass(frozen=True, kw_only=True)
class Part:
    """Where a file is in a pack."""

    pack: Path
    offset: int
    bytes: int
    sha256: str


@contextmanager
def local_file(path: Path) -> Iterator[Path]:
    """Yield a path at which the file `path` of a stage can be read: `path` itself, or a copy if the file is in a pack.

    The copy has the same name and is removed afterwards. A missing file is left to its reader: `path` itself is yielded.

    Raises UserError for a damaged index or pack. A UserError about the copy names `path` instead.
    """
    path = Path(path)
    if (part := find_part(path)) is None:
        yield path
        return
    with scratch_folder() as folder:
        copy = folder / path.name
        _extract(path, part, copy)
        try:
            yield copy
        except UserError as err:
            err.args = (str(err).replace(str(copy), str(path)),)
            if isinstance(err, Unreadable):
                err.path = path
            raise


def find_part(path: Path) -> Part | None:
    """Where the file `path` is in a pack; None if it is by itself or missing. Raises UserError for a damaged index."""
    index = path.parent / INDEX
    if path.exists() or not index.is_file():
        return None
    found = index.stat()
    line = _read_index(index, found.st_mtime_ns, found.st_size).get(path.name)
    if line is None:
        return None
    if not (row := ROW.fullmatch(line)):
        raise Unreadable(
            index,
            f"the row of {limits.printable(path.name)} must be '{HEADER}', found '{limits.printable(line)}'; {AGAIN}",
        )
    return Part(pack=path.parent / row[2], offset=int(row[3]), bytes=int(row[4]), sha256=row[5])


def is_stored(path: Path) -> bool:
    """Whether the file `path` of a stage is there, by itself or in a pack. Raises UserError for a damaged index."""
    return path.is_file() or find_part(path) is not None


def stored_size(path: Path) -> int:
    """Size of the file `path` of a stage in bytes. Raises UserError for a damaged index and OSError for a missing file."""
    part = find_part(path)
    return path.stat().st_size if part is None else part.bytes


def stored_names(folder: Path, suffix: str) -> list[str]:
    """Names of the files of a stage with this suffix, sorted, by themselves or in packs. Raises UserError for a damaged index."""
    names = {path.name for path in folder.glob(f"[!.]*{suffix}")}
    if (index := folder / INDEX).is_file():
        found = index.stat()
        names |= {name for name in _read_index(index, found.st_mtime_ns, found.st_size) if name.endswith(suffix)}
    return sorted(names)


class HashingReader:
    """Reads a file and hashes what was read."""

    def __init__(self, file: BinaryIO):
        self._file, self.sha256 = file, hashlib.sha256()

    def read(self, size: int = -1) -> bytes:
        """Up to `size` bytes."""
        data = self._file.read(size)
        self.sha256.update(data)
        return data


@lru_cache(maxsize=16)
def _read_index(path: Path, modified: int, size: int) -> dict[str, str]:
    """Name of a file -> its row, not yet checked. modified, size: those of the index, so that a new one is read again."""
    text = limits.read_bytes(path, limits.PACK_INDEX_BYTES).decode("utf-8", errors="replace")
    header, _, rows = text.partition("\n")
    if header != HEADER or not text.endswith("\n"):
        found = limits.printable(header) if header != HEADER else "an incomplete last row"
        raise Unreadable(path, f"must be a table of complete rows '{HEADER}', found '{found}'; {AGAIN}")
    return {row.partition(",")[0]: row for row in rows.splitlines()}


def _extract(path: Path, part: Part, copy: Path) -> None:
    """Copy a part of a pack to the new file `copy`. Raises UserError unless its bytes are those that the index names."""
    if part.bytes > limits.PACKED_FILE_BYTES:
        raise Unreadable(
            path.parent / INDEX, f"{path.name} has {part.bytes} bytes; at most {limits.PACKED_FILE_BYTES} are read"
        )
    try:
        size = limits.check_regular_file(part.pack).stat().st_size
    except UserError as err:
        raise Unreadable(
            part.pack, f"{str(err).removeprefix(f'{part.pack}: ')}, but {INDEX} names it; {AGAIN}"
        ) from None
    if part.offset + part.bytes > size:
        raise Unreadable(
            part.pack, f"{size} bytes, but {INDEX} says that {path.name} ends at {part.offset + part.bytes}; {AGAIN}"
        )
    with open(part.pack, "rb") as pack, open(copy, "wb") as out:
        pack.seek(part.offset)
        reader, left = HashingReader(pack), part.bytes
        while left and (piece := reader.read(min(PIECE, left))):
            out.write(piece)
            left -= len(piece)
    if left or reader.sha256.hexdigest() != part.sha256:
        raise Unreadable(part.pack, f"{path.name} is damaged: its bytes are not those of {INDEX}; {AGAIN}")
