"""`UserError`, whose text is the whole message that the user sees, and one-line messages for disk errors and missing packages."""

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
"""Error number -> advice."""
EXTRAS = {
    "download": ("imageio_ffmpeg", "openpyxl", "yt_dlp"),
    "pose": ("cv2", "decord", "openpifpaf", "torchvision"),
    "train": ("matplotlib", "mido", "noisereduce", "python_stretch", "tensorboardX", "torch"),
    "baselines": ("basic_pitch", "onnxruntime", "pretty_midi", "tinysoundfont"),
    "studio": ("flask", "waitress", "werkzeug"),
    "beats": ("beat_this",),
    "ray": ("ray",),
    "storage": ("fsspec", "s3fs", "upath"),
}
"""Extra of pyproject.toml -> import names of the packages that it installs."""
NO_DEPS_COMMANDS = {
    "basic_pitch": "pip install --no-deps basic-pitch==0.4.0",
    "openpifpaf": "pip install --no-deps --no-build-isolation openpifpaf==0.13.11",
    "tinysoundfont": "pip install --no-deps tinysoundfont==0.3.7",
}
"""Package -> the command that installs it after its extra. The requirements in its metadata conflict with the other packages, so it is
installed without them (pyproject.toml, group `alone`)."""


class UserError(ValueError):
    """Bad input. The message names the file, the rule, what was found and what to do, on one line."""


class Unreadable(UserError):
    """A file with the wrong content. `reason` is the message without the file's path, for tables that may not contain
    paths of this machine."""

    def __init__(self, path: Path | str, reason: str):
        self.path, self.reason = path, " ".join(reason.split())
        super().__init__(f"{path}: {self.reason}")

    def __reduce__(self):
        return Unreadable, (self.path, self.reason)


def describe_disk_error(err: BaseException, *, full_path: bool = True) -> str | None:
    """One line for a failed write: file, reason, advice. None if `err` is no error of `DISK_ADVICE`.

    full_path: with False the message has only the file's name, for tables that may not contain paths of this machine.
    """
    if not isinstance(err, OSError) or err.errno not in DISK_ADVICE:
        return None
    name = os.fsdecode(err.filename) if isinstance(err.filename, (str, bytes)) else ""
    where = f"{name if full_path else Path(name).name}: " if name else ""
    return f"{where}{os.strerror(err.errno)}; {DISK_ADVICE[err.errno]} and run again: what is finished is kept"


def one_line(text: str) -> str:
    """The text on one line, without characters that a table cannot hold (control characters, surrogates)."""
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())


def install_command(package: str) -> str:
    """The command that installs `package`, an import name of `EXTRAS`."""
    extra = next(extra for extra, packages in EXTRAS.items() if package in packages)
    return f'pip install "d2m[{extra}]"' + (f" && {NO_DEPS_COMMANDS[package]}" if package in NO_DEPS_COMMANDS else "")


def describe_missing_package(err: BaseException) -> str | None:
    """One line, with the command that installs it, for a missing package of `EXTRAS`. None for any other error."""
    name = (err.name or "").partition(".")[0] if isinstance(err, ModuleNotFoundError) else ""
    known = any(name in packages for packages in EXTRAS.values())
    return (
        f"the package {name} is not installed, which this needs; install it: {install_command(name)}" if known else None
    )


def report_missing_package(kind: type[BaseException], err: BaseException, trace: TracebackType | None) -> None:
    """`sys.excepthook` of `python -m`: one line and exit 2 for a missing package of an extra, the usual traceback for anything else.

    It is needed because a stage's modules are imported before `cli.run` can catch their errors.
    """
    if (line := describe_missing_package(err)) is None:
        sys.__excepthook__(kind, err, trace)
        return
    print(f"error: {line}", file=sys.stderr)
    sys.exit(2)
