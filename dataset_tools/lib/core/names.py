"""Names that become paths: the one rule for all of them, and how a file that a table names is found.

Every id of a table, every corpus, song, level, variant and system is a part of a path somewhere, so `check_name` stands
at each door: records (lib/core/schema.py), parameters and --corpus (lib/core/params.py, lib/core/layout.py), shards and what is
imported into them.
"""

import os
import re
import unicodedata
from pathlib import Path

from dataset_tools.lib.core.errors import UserError
from dataset_tools.lib.core.limits import TEXT, shown

NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,120}")
SPLITS = ("train", "val", "test")
"""The parts of a corpus."""
CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
"""What no cell of a table and no label holds: control characters, ends of lines, halves of letters."""
RULE = "must be letters, digits, '_', '.', '-', at most 121 and not '.' or '-' first (it becomes a file name)"


def check_name(value: object, what: str = "") -> str:
    """A name that becomes a part of a path: ASCII letters, digits, '_', '.', '-', not starting with a dot or dash, so it is
    one name on every disk and never leads out of a folder. `what` it is comes first in the ValueError."""
    if not isinstance(value, str) or not NAME.fullmatch(value):
        raise ValueError(f"{what} {RULE}, found '{shown(value)}'".lstrip())
    return value


def given_name(value: object, what: str) -> str:
    """As `check_name`, of what a user gives on the command line or in params.yaml: a UserError, with a hint where YAML has
    made something else of a text."""
    try:
        return check_name(value, what)
    except ValueError as err:
        raise UserError(f"{err}{'' if isinstance(value, str) else '; put it in quotes'}") from None


def check_label(text: str, what: str) -> str:
    """A name that is no file's name, such as a genre: one line of at most `TEXT` letters, none of `CONTROL`. Raises ValueError."""
    if len(text) > TEXT or CONTROL.search(text):
        raise ValueError(
            f"{what} must be one line of at most {TEXT} letters without control characters, found '{shown(text)}'"
        )
    return text


def plain(text: str) -> str:
    """Text whose equal letters are equal: Unicode NFC. macOS writes an é of a file's name as e and an accent (NFD), which
    tables rarely do."""
    return unicodedata.normalize("NFC", text)


def leads_out(folder: Path, name: str) -> bool:
    """Whether a relative path leads out of its folder, also through a link. A name that no file can have, or links in a
    circle, lead nowhere."""
    try:
        return not (Path(folder) / name).resolve().is_relative_to(Path(folder).resolve())
    except (OSError, ValueError, RuntimeError):  # RuntimeError: links in a circle, before Python 3.13
        return False


def find_file(folder: Path, name: str) -> Path | None:
    """The regular file that a relative path means, whichever way its letters are composed on the disk; None where there is
    none. The name itself comes before others that differ in composition."""
    try:
        path = Path(folder) / name
        if path.is_file():
            return path
        if name.isascii():
            return None
        path = Path(folder)
        for part in Path(name).parts:
            if part != ".." and not os.path.lexists(path / part):
                part = next((other for other in sorted(os.listdir(path)) if plain(other) == plain(part)), part)
            path /= part
        return path if path.is_file() else None
    except (OSError, ValueError):  # too long, a NUL, a folder that can't be read
        return None
