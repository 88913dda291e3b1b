"""Complete or absent: a file under its final name is whole, at whatever instant the writer was killed."""

import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ASIDE = re.compile(r"\..*\.(\d+)\.part(\.\w+)?")  # name of a file that is still being written


@contextmanager
def write_aside(path: Path) -> Iterator[Path]:
    """Give a sibling path to write to (same suffix); on success fsync it and move it over `path`, else remove it."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f".{path.stem}.{os.getpid()}.part{path.suffix}")
    try:
        yield aside
        with open(aside, "rb") as handle:
            os.fsync(handle.fileno())
        os.replace(aside, path)
    except OSError as err:
        if err.errno is None or err.filename not in (None, str(aside)):
            raise
        raise OSError(err.errno, os.strerror(err.errno), str(path)) from None  # the name that means something to the user
    finally:
        aside.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write a UTF-8 text file, complete or absent."""
    with write_aside(path) as aside:
        aside.write_text(text, encoding="utf-8")


def publish(source: Path, target: Path) -> None:
    """Put the bytes of `source` at `target`: a copy, complete or absent, never a link that a later write could follow."""
    with write_aside(target) as aside:
        shutil.copyfile(source, aside)


def begin_folder(folder: Path, marker: str) -> None:
    """Make a stage's folder ready to be filled anew: `marker`, the file that says it is complete, goes first."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / marker).unlink(missing_ok=True)


def keep_only(folder: Path, names: set[str], suffix: str) -> None:
    """Remove what earlier runs left in a stage's folder: files of this `suffix` that are not among `names`, and what a
    killed run was writing. Other files stay."""
    for path in folder.iterdir():
        if ASIDE.fullmatch(path.name) or (path.suffix == suffix and path.name not in names):
            path.unlink(missing_ok=True)


def sweep(folder: Path) -> None:
    """Remove what killed runs were writing in a folder that other runs may be writing to now."""
    for path in folder.iterdir() if folder.is_dir() else ():
        aside = ASIDE.fullmatch(path.name)
        if aside and not _alive(int(aside[1])):
            path.unlink(missing_ok=True)


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # someone else's
        return True
    return True
