"""Complete or absent: a file under its final name is whole, at whatever instant the writer was killed."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


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
