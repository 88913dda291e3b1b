"""Finish the folder of a stage: its files lie by themselves, or in packs (packs.py). Equal files give equal packs."""

import csv
import hashlib
import io
import os
import tarfile
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path

from dataset_tools.lib.core.atomic import atomic_write, keep_only, write_text
from dataset_tools.lib.core.file_memo import FileMemo, stamps
from dataset_tools.lib.core.packs import HEADER, INDEX, HashingReader

LARGEST = 4
"""A pack holds at most so many times the wanted number of files."""


def keep_files(folder: Path, names: Collection[str], suffix: str) -> None:
    """Finish the folder of a stage whose files lie by themselves: remove other files with this `suffix` and packs of earlier runs, and
    temporary files of killed runs."""
    (folder / INDEX).unlink(missing_ok=True)
    keep_only(folder, set(), ".tar")
    keep_only(folder, set(names), suffix)


def publish_packs(folder: Path, files: Mapping[str, Path], suffix: str, wanted: int, memo: FileMemo) -> None:
    """Finish the folder of a stage whose files are in packs: write packs of about `wanted` files. files: name -> the file to copy.

    Files by themselves with this `suffix`, packs of earlier runs and temporary files of killed runs are removed. If `memo` knows that
    the packs hold these files, they stay as they are.
    """
    keep_only(folder, set(), suffix)
    names = sorted(files)
    of_this_run = lambda: [*(files[name] for name in names), *sorted(folder.glob("pack-*.tar")), folder / INDEX]
    if memo.recall(f"packs {folder}", of_this_run()) == [wanted, names]:
        return
    (folder / INDEX).unlink(missing_ok=True)
    keep_only(folder, set(), ".tar")
    rows = []
    for number, group in enumerate(_groups(names, wanted)):
        rows += _write_pack(folder / f"pack-{number:05d}.tar", {name: files[name] for name in group})
    table = io.StringIO()
    csv.writer(table, lineterminator="\n").writerows(rows)
    write_text(folder / INDEX, f"{HEADER}\n{table.getvalue()}")
    memo.keep(f"packs {folder}", [wanted, names], stamps(of_this_run()), own=True)


def _groups(names: list[str], wanted: int) -> Iterator[list[str]]:
    """Divide sorted names into groups of `wanted` on average. A group ends with a name whose hash says so, or at `LARGEST`.

    Therefore a name more or less changes one group or two and leaves the others as they are: DVC then sends only the packs of these.
    """
    group: list[str] = []
    for name in names:
        group.append(name)
        ends = int.from_bytes(hashlib.sha256(name.encode()).digest()[:8]) % wanted == 0
        if ends or len(group) == LARGEST * wanted:
            yield group
            group = []
    if group:
        yield group


def _write_pack(pack: Path, files: Mapping[str, Path]) -> list[tuple[str, str, int, int, str]]:
    """Write a pack of `files`, by name. Returns their rows of the index."""
    rows = []
    with atomic_write(pack) as temporary, tarfile.open(temporary, "w", format=tarfile.GNU_FORMAT) as archive:
        for name, path in files.items():
            entry = tarfile.TarInfo(name)  # time 0, no owner
            with open(path, "rb") as file:
                entry.size = os.fstat(file.fileno()).st_size
                start = archive.offset + len(entry.tobuf(archive.format, archive.encoding, archive.errors))
                archive.addfile(entry, reader := HashingReader(file))
            rows.append((name, pack.name, start, entry.size, reader.sha256.hexdigest()))
    return rows
