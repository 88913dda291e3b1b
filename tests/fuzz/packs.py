"""Packs: an index with odd rows, and a pack that is cut, changed or another file."""

import hashlib
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

from hypothesis import strategies as st

from dataset_tools.lib.core.file_memo import FileMemo
from dataset_tools.lib.core.pack_files import publish_packs
from dataset_tools.lib.core.packs import INDEX, find_part, local_file, stored_names
from tests.fuzz.case import Case, promise
from tests.fuzz.mutation import maybe_damaged, odd_texts

NAMES = ("a.npy", "b.npy", "clip.1.npy")


def packed(into: Path, _out: Path) -> None:
    known = stored_names(into, ".npy")
    for name in {*NAMES, *known[:20]}:
        if "/" in name or name in ("", ".", "..") or "\0" in name:
            continue  # no stage asks for such a file
        part = find_part(into / name)
        with local_file(into / name) as file:
            if part is None:
                promise(file == into / name and not file.exists(), "a file that is not there is left to its reader")
                continue
            data = file.read_bytes()
            promise(hashlib.sha256(data).hexdigest() == part.sha256, "the bytes that the index names")
            promise(len(data) == part.bytes and file.name == name, "the size and the name that the index names")


READERS = {"packed": packed}


@cache
def _valid() -> dict[str, bytes]:
    with TemporaryDirectory() as folder:
        stage = Path(folder, "stage")
        stage.mkdir()
        files = {name: Path(folder, name) for name in NAMES}
        for name, path in files.items():
            path.write_bytes(name.encode() * 200)
        publish_packs(stage, files, ".npy", 2, FileMemo(Path(folder, "known.json")))
        return {path.name: path.read_bytes() for path in sorted(stage.iterdir())}


@st.composite
def _index(draw) -> bytes:
    """The index with odd cells in some rows."""
    header, *rows = _valid()[INDEX].decode().splitlines()
    for _ in range(draw(st.integers(1, 4))):
        number = draw(st.integers(0, len(rows) - 1))
        cells = rows[number].split(",")
        odd = st.sampled_from(
            ("0", "512", "9" * 18, "9" * 400, "-1", "pack-00009.tar", "../pack-00000.tar", "packs.csv")
        )
        cells[draw(st.integers(0, len(cells) - 1))] = draw(odd | odd_texts)
        rows[number] = ",".join(cells)
    return "\n".join([header, *rows, ""]).encode("utf-8", "surrogatepass")


@st.composite
def cases(draw) -> Case:
    files = dict(_valid())
    if draw(st.booleans()):
        files[INDEX] = draw(_index())
    for name in files:
        files[name] = draw(maybe_damaged(files[name]))
    return Case("packed", files)
