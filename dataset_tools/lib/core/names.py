"""The rule for names that become paths, and how a file named in a table is found.

Every id in a table and every corpus, song, level, variant and system becomes a part of a path. So `check_name` is called
wherever such a name comes in: in records (lib/core/schema.py), in parameters and --corpus (lib/core/params.py,
lib/core/layout.py), and in shards and their imports.
"""

import os
import re
import unicodedata
from pathlib import Path

from dataset_tools.lib.core.errors import UserError
from dataset_tools.lib.core.limits import TEXT, printable

NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,120}")
SPLITS = ("train", "val", "test")
"""The parts of a corpus."""
CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
"""Characters that no cell of a table and no label may have: control characters, line ends, surrogates."""
RULE = "must be letters, digits, '_', '.', '-', at most 121 and not '.' or '-' first (it becomes a file name)"


def check_name(value: object, what: str = "") -> str:
    """Return `value` if it can be a part of a path: ASCII letters, digits, '_', '.', '-', without a leading dot or dash. Such a
    name is the same on every file system and never leads out of a folder.

    what: what the name is; the message of the ValueError begins with it.
    """
    if not isinstance(value, str) or not NAME.fullmatch(value):
        raise ValueError(f"{what} {RULE}, found '{printable(value)}'".lstrip())
    return value


def check_user_name(value: object, what: str) -> str:
    """As `check_name`, for a value from the command line or params.yaml.

    Raises UserError, with a hint to quote the value if YAML did not read it as text.
    """
    try:
        return check_name(value, what)
    except ValueError as err:
        raise UserError(f"{err}{'' if isinstance(value, str) else '; put it in quotes'}") from None


def check_label(text: str, what: str) -> str:
    """Return a name that becomes no path, such as a genre. Raises ValueError unless it is one line of at most `TEXT` letters, none of
    them in `CONTROL`."""
    if len(text) > TEXT or CONTROL.search(text):
        raise ValueError(
            f"{what} must be one line of at most {TEXT} letters without control characters, found '{printable(text)}'"
        )
    return text


def to_nfc(text: str) -> str:
    """The text in Unicode NFC, so that equal letters compare equal. macOS writes the é of a file's name as e and an accent
    (NFD); tables rarely do."""
    return text if text.isascii() else unicodedata.normalize("NFC", text)


def is_outside(folder: Path, name: str) -> bool:
    """Whether a relative path leads out of `folder`, directly or through a link. False for an impossible file name and for
    circular links: they lead nowhere."""
    try:
        return not (Path(folder) / name).resolve().is_relative_to(Path(folder).resolve())
    except (OSError, ValueError, RuntimeError):  # RuntimeError: circular links, before Python 3.13
        return False


def find_file(folder: Path, name: str) -> Path | None:
    """The regular file at a relative path, or None. If no file has exactly this name, one whose name is equal in Unicode NFC is
    taken."""
    try:
        path = Path(folder) / name
        if path.is_file():
            return path
        if name.isascii():
            return None
        path = Path(folder)
        for part in Path(name).parts:
            if part != ".." and not os.path.lexists(path / part):
                part = next((other for other in sorted(os.listdir(path)) if to_nfc(other) == to_nfc(part)), part)
            path /= part
        return path if path.is_file() else None
    except (OSError, ValueError):  # the name is too long or has a NUL, or a folder can't be read
        return None
