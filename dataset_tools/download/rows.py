"""Rows of the tables that `download` writes and reads."""

from dataclasses import dataclass

from dataset_tools.lib.core.schema import Row


@dataclass(frozen=True, kw_only=True)
class DownloadRow(Row):
    """One row of download/rows.csv."""

    bytes: int = 0
    sha256: str = ""
    seconds: float = 0.0
    """Duration that the file claims."""
    title: str = ""
    """As the site gives it."""
    yt_dlp: str = ""
    """Version of yt-dlp that fetched it, or tried; empty for a file of this machine."""
    warning: str = ""
    """The file is not the one that manifests/<corpus>/checksums.csv, or an earlier download, knows: both hashes."""


@dataclass(frozen=True, kw_only=True)
class EarlierRow:
    """What is read of an earlier rows.csv: what the file was."""

    id: str
    sha256: str = ""
