"""Atomic writes: a file with its final name is complete, even if the process that wrote it was killed."""

import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from dataset_tools.lib.core.addresses import is_remote, send
from dataset_tools.lib.core.errors import UserError
from dataset_tools.lib.core.scratch import is_alive, scratch_folder

PARTIAL_NAME = re.compile(r"\..*\.(\d+)\.part(\.\w+)?")  # temporary file of process <number>


def check_writable(path: Path) -> None:
    """Create the folder of `path` and check that the file can be written, so that the error comes before the work.

    Nothing is checked of an address (addresses.py): there `atomic_write` raises UserError.

    Raises UserError if `path` is a folder or a device, or in a folder that takes no files (/proc); OSError as `atomic_write`.
    """
    if is_remote(path):
        return
    path = Path(path)
    # Replacing a link such as /dev/stdout would take it from every process.
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
def atomic_write(path: Path, *, sync: bool = True) -> Iterator[Path]:
    """Yield a temporary path in the same folder, with the same suffix. On success the file is synced and moved to `path`, else
    removed. Raises as `check_writable`, and OSError with the name of `path`.

    sync: False leaves it to the caller to sync once after many files. Until then a loss of power may leave them incomplete; the
    end of a process does not. For an address the temporary path is on this machine, and the finished file is sent. Raises UserError then.
    """
    if is_remote(path):
        with scratch_folder() as folder:
            yield folder / path.name
            send(folder / path.name, path)
        return
    path = Path(path)
    check_writable(path)
    temporary = _temporary_path(path)
    try:
        with _errors_name(path, temporary):
            yield temporary
            if sync:
                with open(temporary, "rb") as handle:
                    os.fsync(handle.fileno())
            os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def _temporary_path(path: Path) -> Path:
    return path.with_name(f".{path.stem}.{os.getpid()}.part{path.suffix}")


@contextmanager
def _errors_name(path: Path, temporary: Path) -> Iterator[None]:
    """Replace the file name in an OSError about `temporary`, or without a name, by `path`, which the user knows."""
    try:
        yield
    except OSError as err:
        if err.errno is None or err.filename not in (None, str(temporary)):
            raise
        raise OSError(err.errno, os.strerror(err.errno), str(path)) from None


def write_text(path: Path, text: str) -> None:
    """Write a UTF-8 text file atomically."""
    with atomic_write(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def publish(source: Path, target: Path, *, sync: bool = True) -> None:
    """Copy `source` to `target` atomically. Never a link, which a later write could follow. sync: as in `atomic_write`."""
    with atomic_write(target, sync=sync) as temporary:
        shutil.copyfile(source, temporary)


def prepare_folder(folder: Path, marker: str) -> None:
    """Create the folder of a stage, or prepare it for new results: remove `marker`, the file that marks it as complete."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / marker).unlink(missing_ok=True)


def keep_only(folder: Path, names: set[str], suffix: str) -> None:
    """Remove from a stage's folder the files of earlier runs (with this `suffix`, but not among `names`) and the temporary files
    of killed runs. Other files stay."""
    for name in os.listdir(folder):
        partial = name.startswith(".") and PARTIAL_NAME.fullmatch(name)
        if partial or (name not in names and os.path.splitext(name)[1] == suffix):
            (folder / name).unlink(missing_ok=True)


def remove_partial_files(folder: Path) -> None:
    """Remove the temporary files of killed runs from a folder that other runs may be writing to."""
    for name in os.listdir(folder) if folder.is_dir() else ():
        match = PARTIAL_NAME.fullmatch(name) if name.startswith(".") else None
        if match and not is_alive(int(match[1])):
            (folder / name).unlink(missing_ok=True)
