"""The user's own files: finds the videos and songs of a folder, and makes sure that no input is overwritten."""

import argparse
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from dataset_tools.lib.core.errors import UserError

VIDEOS = (".mp4", ".mov", ".mkv", ".webm", ".avi", ".m4v", ".mpg", ".mpeg", ".3gp", ".flv", ".wmv")
"""Suffixes of videos in a folder; the content may be anything that FFmpeg reads."""
CONTAINERS = {".mp4": "mp4", ".mov": "mov", ".mkv": "matroska"}
"""Suffixes of videos that are written, and FFmpeg's names of their formats."""
SONGS = (".wav", ".mp3", ".flac", ".ogg", ".opus", ".m4a", ".aac", ".aif", ".aiff", ".wma")
"""Suffixes of songs in a folder, likewise."""


def videos_of(folder: Path) -> list[Path]:
    """The videos of a folder, sorted by name."""
    return _files(folder.iterdir(), VIDEOS)


def songs_of(folder: Path) -> list[Path]:
    """The songs of a folder and its subfolders, sorted by name."""
    return _files(folder.rglob("*"), SONGS)


def _files(paths: Iterable[Path], suffixes: tuple[str, ...]) -> list[Path]:
    return sorted(f for f in paths if f.suffix.lower() in suffixes and f.is_file() and not f.name.startswith("."))


def given_files(args: argparse.Namespace, style: str) -> Iterator[Path]:
    """All of the user's files that `generate` reads with these options and this style."""
    for path in (args.video, args.pose, args.beats, args.snap, args.take, Path(style) if style else None):
        if path and path.is_file():
            yield path
        elif path and path.is_dir() and path in (args.video, args.pose):
            yield from videos_of(path) if path == args.video else (f for f in path.iterdir() if f.is_file())
    if args.own_music and args.own_music.is_dir():
        yield from songs_of(args.own_music)


def check_kept(written: Iterable[Path], given: Iterable[Path]) -> None:
    """Raises UserError if a path in `written` is one of the files `given`, even by another name."""
    known = {_identity(path): path for path in given}
    for path in written:
        if path.exists() and (lost := known.get(_identity(path))):
            raise UserError(
                f"{path}: this output is the same file as the input {lost}, which would be lost; name another --out"
            )


def _identity(path: Path) -> tuple[int, int]:
    found = os.stat(path)
    return found.st_dev, found.st_ino
