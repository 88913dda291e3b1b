"""Complete or absent: a file under its final name is whole, at whatever instant the writer was killed."""

import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from dataset_tools.lib.core.errors import UserError

PARTIAL_NAME = re.compile(r"\..*\.(\d+)\.part(\.\w+)?")  # name of a file that is still being written


def check_writable(path: Path) -> None:
    """Make the folder of `path` and raise what writing the file would raise: said before the work, not after it.

    UserError where `path` is a folder or a device, or in a folder that takes no files (/proc); OSError as `atomic_write`.
    """
    path = Path(path)
    # to replace the link /dev/stdout, whatever it leads to, would take it from every process
    device = path.is_symlink() and path.absolute().parts[1] in ("dev", "proc")
    if path.exists() and (device or not path.is_file()):
        raise UserError(f"{path}: is {'a folder' if path.is_dir() else 'a device, not a regular file'}; name a file")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = _temporary_path(path)
        with _errors_name(path, temporary):
            temporary.touch()
            temporary.unlink()
    except FileNotFoundError:
        raise UserError(f"{path}: no file can be made in {path.parent}; name another folder") from None


@contextmanager
def atomic_write(path: Path) -> Iterator[Path]:
    """Give a sibling path to write to (same suffix); on success fsync it and move it over `path`, else remove it. Raises
    as `check_writable`, and OSError with the name of `path`."""
    path = Path(path)
    check_writable(path)
    temporary = _temporary_path(path)
    try:
        with _errors_name(path, temporary):
            yield temporary
            with open(temporary, "rb") as handle:
                os.fsync(handle.fileno())
            os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def _temporary_path(path: Path) -> Path:
    return path.with_name(f".{path.stem}.{os.getpid()}.part{path.suffix}")


@contextmanager
def _errors_name(path: Path, temporary: Path) -> Iterator[None]:
    """An OSError about `temporary` or no file in particular becomes one about `path`, the name that means something."""
    try:
        yield
    except OSError as err:
        if err.errno is None or err.filename not in (None, str(temporary)):
            raise
        raise OSError(err.errno, os.strerror(err.errno), str(path)) from None


def write_text(path: Path, text: str) -> None:
    """Write a UTF-8 text file, complete or absent."""
    with atomic_write(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def publish(source: Path, target: Path) -> None:
    """Put the bytes of `source` at `target`: a copy, complete or absent, never a link that a later write could follow."""
    with atomic_write(target) as temporary:
        shutil.copyfile(source, temporary)


def prepare_folder(folder: Path, marker: str) -> None:
    """Make a stage's folder ready to be filled anew: `marker`, the file that says it is complete, goes first."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / marker).unlink(missing_ok=True)


def keep_only(folder: Path, names: set[str], suffix: str) -> None:
    """Remove what earlier runs left in a stage's folder: files of this `suffix` that are not among `names`, and what a
    killed run was writing. Other files stay."""
    for path in folder.iterdir():
        if PARTIAL_NAME.fullmatch(path.name) or (path.suffix == suffix and path.name not in names):
            path.unlink(missing_ok=True)


def remove_partial_files(folder: Path) -> None:
    """Remove what killed runs were writing in a folder that other runs may be writing to now."""
    for path in folder.iterdir() if folder.is_dir() else ():
        temporary = PARTIAL_NAME.fullmatch(path.name)
        if temporary and not _is_alive(int(temporary[1])):
            path.unlink(missing_ok=True)


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # someone else's
        return True
    return True
