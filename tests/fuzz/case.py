"""What one try is: a reader and the files it is given; and the words for what came of it."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from dataset_tools.lib.core.errors import UserError

READER = "reader.txt"
"""In the folder of a saved case: the name of the reader. All other files there are its input."""
NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,254}")
"""What may become the name of a file."""
SHARD_PEAK = 4.0
"""Of full scale: what a shard's audio has at most, for resampling goes a little over 1."""
LONGEST_REASON = 4000
"""Letters of a refusal; more is no line that a person reads."""


@dataclass(frozen=True)
class Case:
    """An input."""

    reader: str
    files: dict[str, bytes]
    """Path inside the input's folder -> content."""

    def write(self, folder: Path) -> None:
        for name, content in self.files.items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)


def read_case(folder: Path) -> Case:
    """A case that was saved as a folder."""
    files = {
        str(p.relative_to(folder)): p.read_bytes()
        for p in sorted(folder.rglob("*"))
        if p.is_file() and p.name != READER
    }
    return Case((folder / READER).read_text().strip(), files)


class Broken(AssertionError):
    """A reader took an input and gave what it does not promise."""


def promise(kept: bool, rule: str) -> None:
    """Raise Broken(rule) unless `kept`."""
    if not kept:
        raise Broken(rule)


@contextmanager
def refusing(*errors: type[Exception]) -> Iterator[None]:
    """Errors that a reader's contract names beside UserError, exactly these types, as UserError."""
    try:
        yield
    except errors as err:
        if type(err) in errors:
            raise UserError(str(err)) from None
        raise
