"""Reads folders of generated audio, paired with the dances' own music by equal names or by a CSV."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from d2m_model.metrics.inputs import audio_files, read_with_format, uneven
from dataset_tools.lib.core.errors import UserError
from dataset_tools.lib.core.limits import printable
from dataset_tools.lib.core.names import find_file, is_outside
from dataset_tools.lib.core.schema import read_records
from dataset_tools.lib.core.timebase import SAMPLE_RATE


@dataclass(frozen=True, kw_only=True)
class Pair:
    """One row of a pairs CSV: a generated file and its reference."""

    generated: str
    """File in the generated folder, e.g. `dance1.wav`; also the name of the pair."""
    reference: str
    """File in the reference folder."""
    song: str = ""
    """Song of the pair, because clips of one song are not independent; empty if unknown."""
    genre: str = ""
    """Genre of the dance; empty if unknown."""


@dataclass(frozen=True, kw_only=True)
class PairedSystems:
    """The audio of one or several systems, paired with its references."""

    systems: dict[str, dict[str, np.ndarray]]
    """system -> name -> mono float32 (S,) at 22 050 Hz. All systems have the same names."""
    reference: dict[str, np.ndarray]
    """name -> mono float32 (S,) at 22 050 Hz, for the same names."""
    songs: dict[str, str] | None
    """name -> song; None if the pairs have no songs."""
    genres: dict[str, str] | None
    """name -> genre of its dance; None if the pairs have no genres."""
    remarks: list[str]
    """How the audio was changed and which files were left out, one line each."""


def read_systems(folders: Mapping[str, Path], reference: Path, table: Path | None = None) -> PairedSystems:
    """The audio of systems, paired by a CSV (columns generated, reference, song, genre) or, without one, by equal names.

    folders : system -> folder of its generated audio. Raises UserError for an empty folder, a generated file without a reference, a
    path that leaves its folder, a file that can't be read, is empty or holds NaN, for songs or genres in some rows only, and for a
    system without a clip that another system has.
    """
    pairs = _rows(table) if table else []
    columns = {column: _named(column, pairs, table) for column in ("song", "genre")}
    files, known, remarks, systems = {}, {}, [], {}
    for name, folder in folders.items():
        files[name], known = _by_table(folder, reference, pairs, table) if table else _by_name(folder, reference)
    first = next(iter(files))
    for name in files:
        for more, fewer in ((first, name), (name, first)):
            if lacking := sorted(set(files[more]) - set(files[fewer])):
                raise UserError(
                    f"{folders[fewer]}: no audio named {lacking[0]}, which {folders[more]} has ({len(lacking)} such); every system "
                    f"needs the same clips: make it, or leave it out of all"
                )
    if not table and (unused := sorted(set(audio_files(reference)) - set(known))):
        remarks.append(
            f"{len(unused)} of {len(unused) + len(known)} references have no generated file and are not scored: {_some(unused)}"
        )
    for name, paths in files.items():
        systems[name], notes = _read_side("generated", paths)
        remarks += [note if len(files) == 1 else f"{name}: {note}" for note in notes]
    own, notes = _read_side("reference", known)
    remarks += notes
    for name, audio in systems.items():
        remarks += [note if len(files) == 1 else f"{name}: {note}" for note in uneven(audio, own)]
    return PairedSystems(
        systems=systems, reference=own, songs=columns["song"], genres=columns["genre"], remarks=remarks
    )


def _rows(table: Path) -> list[Pair]:
    pairs = read_records(table, Pair)
    if not pairs:
        raise UserError(f"{table}: no pairs in it; a row names a generated and a reference file")
    return pairs


def _named(column: str, pairs: Sequence[Pair], table: Path | None) -> dict[str, str] | None:
    """{name: value in this column}; None if the column is empty."""
    named = {p.generated: getattr(p, column) for p in pairs if getattr(p, column)}
    if named and len(named) < len(pairs):
        raise UserError(f"{table}: {len(named)} of {len(pairs)} rows name a {column}; name it in all rows or in none")
    return named or None


def _by_table(generated: Path, reference: Path, pairs: Sequence[Pair], table: Path) -> tuple[dict, dict]:
    """({name: generated file}, {name: reference file}) for the rows of a table."""
    made, known = {}, {}
    for pair in pairs:
        made[pair.generated] = inside(generated, pair.generated, table)
        known[pair.generated] = inside(reference, pair.reference, table)
    return made, known


def _by_name(generated: Path, reference: Path) -> tuple[dict, dict]:
    """As `_by_table`, for files with equal names."""
    made, known = audio_files(generated), audio_files(reference)
    missing = sorted(set(made) - set(known))
    if missing:
        raise UserError(
            f"{reference}: no reference named {missing[0]} ({len(missing)} of {len(made)} generated files have none)"
        )
    return made, {name: known[name] for name in made}


def inside(folder: Path, name: str, table: Path) -> Path:
    """The file `name` in a folder. UserError where the path leads out of the folder, also through a link, or does not exist."""
    if not Path(folder).is_dir():
        raise UserError(f"{folder}: no such folder")
    if is_outside(folder, name):
        raise UserError(f"{table}: '{printable(name)}' leads out of {folder}; name files inside it")
    path = find_file(folder, name)
    if path is None:
        raise UserError(f"{table}: '{printable(name)}' is no file in {folder}")
    return path


def _read_side(side: str, paths: dict[str, Path]) -> tuple[dict[str, np.ndarray], list[str]]:
    audio, rates, mixed, alone, silent = {}, Counter(), [], [], []
    for name, path in paths.items():
        audio[name], found = read_with_format(path)
        rates[found.rate] += 1
        mixed += [name] * (found.channels > 1 and found.lone_channel is None)
        alone += [name] * (found.lone_channel is not None)
        silent += [name] * (not found.audio.any())
    notes = [
        f"{n} {side} files resampled from {rate} to {SAMPLE_RATE} Hz"
        for rate, n in sorted(rates.items())
        if rate != SAMPLE_RATE
    ]
    if mixed:
        notes.append(f"{len(mixed)} {side} files have several channels: scored as the mean of them: {_some(mixed)}")
    if alone:
        notes.append(
            f"{len(alone)} {side} files have channels that cancel each other: scored as the loudest of them: {_some(alone)}"
        )
    if silent:
        notes.append(f"{len(silent)} {side} files are digital silence: {_some(silent)}")
    return audio, notes


def _some(names: list[str]) -> str:
    return ", ".join(names[:3]) + (", …" if len(names) > 3 else "")
