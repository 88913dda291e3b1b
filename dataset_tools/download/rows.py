"""Rows of the table that `download` writes."""

from dataclasses import dataclass

from dataset_tools.lib.core.schema import Row


@dataclass(frozen=True, kw_only=True)
class DownloadRow(Row):
    """One row of download/rows.csv."""

    bytes: int = 0
    sha256: str = ""
    seconds: float = 0.0
    """Duration according to the file's header."""
    title: str = ""
    """Title on the site."""
    yt_dlp: str = ""
    """Version of yt-dlp that fetched the video, or tried to; empty for a local file."""
    warning: str = ""
    """The file is not the one that manifests/<corpus>/checksums.csv, or an earlier download, knows: both hashes."""
