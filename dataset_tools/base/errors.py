"""The one exception a user's mistake raises: its text is the whole message they see. And what a disk refuses."""

import errno
import os
from pathlib import Path

DISK = {
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


def disk_trouble(err: BaseException, *, full_path: bool = True) -> str | None:
    """One line for an error by which the operating system refused to write: file, reason, what to do. None for any
    other error. `full_path` off: the file's name alone, for a table that must not hold paths of this machine."""
    if not isinstance(err, OSError) or err.errno not in DISK:
        return None
    name = os.fsdecode(err.filename) if isinstance(err.filename, (str, bytes)) else ""
    where = f"{name if full_path else Path(name).name}: " if name else ""
    return f"{where}{os.strerror(err.errno)}; {DISK[err.errno]} and run again: what is finished is kept"


def one_line(text: str) -> str:
    """Text of others, on one line and without what no table can hold (control characters, halves of characters)."""
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())
