"""The one exception a user's mistake raises: its text is the whole message they see. And what a disk refuses, and packages that are
not installed."""

import errno
import os
import sys
from pathlib import Path
from types import TracebackType

DISK_ADVICE = {
    errno.ENOSPC: "make room on the disk",
    errno.EDQUOT: "make room in your quota",
    errno.EFBIG: "raise the limit on file sizes (ulimit -f)",
    errno.EROFS: "the file system is mounted read-only: choose another folder or remount it",
    errno.EACCES: "check the folder's permissions",
    errno.EPERM: "check the folder's permissions",
    errno.EISDIR: "it is a folder: name a file",
    errno.ENOTDIR: "a part of the path is a file: name another folder",
    errno.ENAMETOOLONG: "choose a shorter name",
    errno.ELOOP: "its links lead in a circle: name another file",
    errno.EEXIST: "a file is in the way: move it or name another folder",
}
"""Error number -> what to do about it."""
EXTRAS = {
    "download": ("imageio_ffmpeg", "openpyxl", "yt_dlp"),
    "pose": ("cv2", "decord", "openpifpaf", "torchvision"),
    "train": ("matplotlib", "mido", "noisereduce", "python_stretch", "tensorboardX", "torch"),
    "baselines": ("basic_pitch", "onnxruntime", "pretty_midi", "tinysoundfont"),
    "studio": ("flask", "waitress"),
    "beats": ("beat_this",),
}
"""Extra of pyproject.toml -> the packages, as they are imported, for which it is named where they are missing."""
NO_DEPS_COMMANDS = {
    "basic_pitch": "pip install --no-deps basic-pitch==0.4.0",
    "openpifpaf": "pip install --no-deps --no-build-isolation openpifpaf==0.13.11",
    "tinysoundfont": "pip install --no-deps tinysoundfont==0.3.7",
}
"""Package -> what brings it after its extra: by their metadata these can't be had beside the rest (pyproject.toml, group `alone`)."""


class UserError(ValueError):
    """Bad input. The message names the file, the rule, what was found and what to do, on one line."""


class Unreadable(UserError):
    """A file that is not what it should be. `reason` is the message without the file's path, for tables that must hold no
    path of this machine."""

    def __init__(self, path: Path | str, reason: str):
        self.path, self.reason = path, " ".join(reason.split())
        super().__init__(f"{path}: {self.reason}")

    def __reduce__(self):
        return Unreadable, (self.path, self.reason)


def describe_disk_error(err: BaseException, *, full_path: bool = True) -> str | None:
    """One line for an error by which the operating system refused to write: file, reason, what to do. None for any
    other error. `full_path` off: the file's name alone, for a table that must not hold paths of this machine."""
    if not isinstance(err, OSError) or err.errno not in DISK_ADVICE:
        return None
    name = os.fsdecode(err.filename) if isinstance(err.filename, (str, bytes)) else ""
    where = f"{name if full_path else Path(name).name}: " if name else ""
    return f"{where}{os.strerror(err.errno)}; {DISK_ADVICE[err.errno]} and run again: what is finished is kept"


def one_line(text: str) -> str:
    """Text of others, on one line and without what no table can hold (control characters, halves of characters)."""
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())


def install_command(package: str) -> str:
    """The command that brings a package, one of `EXTRAS`, given as it is imported."""
    extra = next(extra for extra, packages in EXTRAS.items() if package in packages)
    return f'pip install "d2m[{extra}]"' + (f" && {NO_DEPS_COMMANDS[package]}" if package in NO_DEPS_COMMANDS else "")


def describe_missing_package(err: BaseException) -> str | None:
    """One line for the import of a package that is not installed and that an extra brings: its name and the command. None for any
    other error."""
    name = (err.name or "").partition(".")[0] if isinstance(err, ModuleNotFoundError) else ""
    known = any(name in packages for packages in EXTRAS.values())
    return (
        f"the package {name} is not installed, which this needs; install it: {install_command(name)}" if known else None
    )


def report_missing_package(kind: type[BaseException], err: BaseException, trace: TracebackType | None) -> None:
    """`sys.excepthook` of `python -m`, for modules import what they need before `cli.run` is there to catch it: a missing package
    of an extra is one line and exit 2. Anything else is shown as ever."""
    if (line := describe_missing_package(err)) is None:
        sys.__excepthook__(kind, err, trace)
        return
    print(f"error: {line}", file=sys.stderr)
    sys.exit(2)
