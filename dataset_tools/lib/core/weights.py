"""Weights by name: a table lists the address, checksum and licence of each file.

The checksum of a file is verified at every use, before anything opens it, because many weight formats can run code when they
are loaded.

Why not `pooch` 1.9: it supports only complete hashes of hashlib, and only one of the published files here has one. The others
have eight digits, git's id, or nothing until the first download. pooch restarts a broken download from the beginning, retries
a 404, silently downloads a changed file again, and limits neither the bytes nor the time of a slow server. With a downloader of
our own plugged in, this file would be longer.
"""

import hashlib
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

import requests
import urllib3

from dataset_tools.lib.core import limits
from dataset_tools.lib.core.atomic import write_text
from dataset_tools.lib.core.call_timeouts import call_with_timeout, with_read_timeout
from dataset_tools.lib.core.errors import UserError
from dataset_tools.lib.core.layout import PROJECT, Layout
from dataset_tools.lib.core.locks import file_lock
from dataset_tools.lib.core.names import check_name
from dataset_tools.lib.core.progress import ProgressBar
from dataset_tools.lib.core.schema import read_records
from dataset_tools.lib.core.work_cache import file_sha256

CHECKSUM_KINDS = {"sha256": 64, "sha256-prefix8": 8, "git-blob-sha1": 40, "pin-on-first-fetch": 0, "in-project": 0}
"""Kind of checksum -> its number of hex digits. `pin-on-first-fetch` is for files published without a checksum: the sha256 of the
first download is stored in pins.csv beside the files and required from then on. `in-project` is for package: files, which came
with this code and are trusted like it."""
PACKAGE_SCHEME = "package:"
RETRY_STATUS = {408, 429, 500, 502, 503, 504}
HTTP_TIMEOUT = (15, 60)  # seconds to connect, seconds between two bytes
ANSWER_SECONDS = 600  # time limit for the headers of an answer, and for each block
BLOCK_BYTES = 1 << 16  # a broken connection loses at most this


@dataclass(frozen=True, kw_only=True)
class Weights:
    """One row of manifests/weights.csv."""

    name: str
    url: str
    """http(s) address, or `package:` and a path inside the project."""
    checksum_kind: str
    checksum: str = ""
    """Lower-case hex; empty for the kinds without a checksum."""
    bytes: int | None = None
    """Size of the file, if known."""
    licence: str
    purpose: str

    def __post_init__(self):
        check_name(self.name)
        if self.checksum_kind not in CHECKSUM_KINDS:
            raise ValueError(f"checksum_kind must be one of {', '.join(CHECKSUM_KINDS)}, found '{self.checksum_kind}'")
        digits = CHECKSUM_KINDS[self.checksum_kind]
        if len(self.checksum) != digits or set(self.checksum) - set("0123456789abcdef"):
            raise ValueError(f"checksum must be {digits} lower-case hex digits for {self.checksum_kind}")
        if self.url.startswith(PACKAGE_SCHEME) != (self.checksum_kind == "in-project"):
            raise ValueError("package: urls take the checksum kind in-project, and only they")
        if not self.url.startswith((PACKAGE_SCHEME, "https://", "http://")):
            raise ValueError(f"url must start with https://, http:// or {PACKAGE_SCHEME}, found '{self.url}'")
        urlsplit(self.url)  # raises ValueError for a malformed address

    @property
    def filename(self) -> str:
        """Name of the file in the cache folder, made from `name`, so that equal names of two publishers do not collide."""
        return self.name + Path(urlsplit(self.url).path).suffix


def locate(spec: str, layout: Layout, *, attempts: int = 5) -> Path:
    """The file of a weights parameter.

    spec: a name in the weights table (its file is downloaded into <root>/weights), or the path of a file relative to the root.
    Such a file is the user's own and is not checked.
    attempts: number of attempts of a download.

    Raises UserError if `spec` is neither, and as `fetch`.
    """
    table = layout.weights_table
    if any(row.name == spec for row in read_records(table, Weights)):
        return fetch(spec, table, layout.root / "weights", attempts=attempts)
    own = layout.root / spec
    if own.is_file():
        return own
    raise UserError(f"weights '{spec}': neither a name in {table} nor a file; known names: {_known_names(table)}")


def licence_of(spec: str, layout: Layout) -> str:
    """Licence of a weights parameter according to the weights table; 'unknown' for the user's own file."""
    return next((row.licence for row in read_records(layout.weights_table, Weights) if row.name == spec), "unknown")


def fetch(name: str, table: Path, cache: Path, *, attempts: int = 5, wait: float = 1.0) -> Path:
    """Path of the weights called `name`: downloaded into `cache` if they are not there, and verified in any case.

    An interrupted download is resumed, also by a later run.
    wait: seconds before the second attempt, doubled for each later one.

    Raises UserError for an unknown name, a failed connection, an HTTP error, and a wrong checksum (the file is then removed).
    """
    rows = {row.name: row for row in read_records(table, Weights, extra=False)}
    if name not in rows:
        raise UserError(f"{table}: no weights called '{name}'; known: {_known_names(table)}")
    row = rows[name]
    if row.url.startswith(PACKAGE_SCHEME):
        return _locate_in_project(row, table)
    path = Path(cache) / row.filename
    path.parent.mkdir(parents=True, exist_ok=True)
    with file_lock(path.with_name(f".{path.name}.lock")):  # two stages that want the same file download it once
        if path.exists():
            _check(path, row, table, cache)
            return path
        part = path.with_name(path.name + ".part")
        resumed = part.exists()
        _download(row, part, attempts, wait)
        try:
            _check(part, row, table, cache)
        except UserError:
            if not resumed:
                raise
            # The part from an earlier run may belong to another version of the file: download it again from the start.
            _download(row, part, attempts, wait)
            _check(part, row, table, cache)
        part.replace(path)
    return path


def _known_names(table: Path) -> str:
    return ", ".join(row.name for row in read_records(table, Weights))


def _locate_in_project(row: Weights, table: Path) -> Path:
    path = (PROJECT / row.url.removeprefix(PACKAGE_SCHEME)).resolve()
    if not path.is_relative_to(PROJECT):
        raise UserError(f"{table}: {row.name}: '{row.url}' leads out of the project")
    if not path.is_file():
        raise UserError(f"{path}: {row.name} is missing from the project; check the clone, or train it again")
    return path


def _download(row: Weights, part: Path, attempts: int, wait: float) -> None:
    """Download the rest of `part`. If all attempts fail, the bytes received so far stay."""
    for attempt in range(1, attempts + 1):
        try:
            _fetch_rest(row, part)
            return
        except requests.HTTPError as err:
            status = 0 if err.response is None else err.response.status_code
            reason, again = f"HTTP {status}", status in RETRY_STATUS
        except (requests.RequestException, urllib3.exceptions.HTTPError, TimeoutError) as err:
            reason, again = type(err).__name__, True
        if not again or attempt == attempts:
            raise UserError(
                f"weights {row.name}: {row.url}: {reason}, attempt {attempt} of {attempts}; run again later to go on, "
                f"or put the file at {part.with_suffix('')} yourself"
            ) from None
        time.sleep(wait * 2 ** (attempt - 1))


def _fetch_rest(row: Weights, part: Path) -> None:
    have = part.stat().st_size if part.exists() else 0
    # identity: a compressed transfer has other offsets than the file
    headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={have}-"} if have else {})
    with call_with_timeout(
        ANSWER_SECONDS, lambda: requests.get(row.url, headers=headers, stream=True, timeout=HTTP_TIMEOUT)
    ) as answer:
        if answer.status_code == 416:  # no bytes after ours: the part is complete, or of another file
            if answer.headers.get("Content-Range") != f"bytes */{have}":
                part.unlink()
                raise requests.ConnectionError("the part on disk does not fit the file")
            return
        answer.raise_for_status()
        if answer.status_code != 206:
            have = 0
        said = answer.headers.get("Content-Length", "")
        total = (int(said) if said.isascii() and said.isdigit() else 0) + have
        most = row.bytes or limits.TENSOR_BYTES
        read = with_read_timeout(
            partial(answer.raw.read, decode_content=True), ANSWER_SECONDS, answer.raw
        )  # not iter_content, which reads chunked answers in another way
        bar = ProgressBar(desc=row.name, total=total or None, initial=have, unit="B", unit_scale=True)
        with bar, open(part, "ab" if have else "wb") as out:
            while block := read(BLOCK_BYTES):
                out.write(block)
                bar.update(len(block))
                if out.tell() > most:
                    part.unlink()
                    raise UserError(
                        f"weights {row.name}: {row.url} sends more than {most} bytes; check the address, nothing was kept"
                    )


def _check(path: Path, row: Weights, table: Path, cache: Path) -> None:
    """Raise UserError and remove the file if its checksum is not the one in the table."""
    found = _git_blob_sha1(path) if row.checksum_kind == "git-blob-sha1" else file_sha256(path)
    expected, source = row.checksum, table
    if row.checksum_kind == "pin-on-first-fetch":
        source = Path(cache) / "pins.csv"
        expected = _read_or_set_pin(row, found, source)
    if not found.startswith(expected):
        size = path.stat().st_size
        path.unlink()
        raise UserError(
            f"weights {row.name}: {row.url}: {row.checksum_kind} is {found[: len(expected)]} ({size} bytes), but {source} "
            f"says {expected}{f' ({row.bytes} bytes)' if row.bytes else ''}; the file was removed, nothing was loaded"
        )


def _read_or_set_pin(row: Weights, found: str, pins: Path) -> str:
    """The sha256 of these weights in the table `pins`. If they have none yet, `found` is stored and returned."""
    with file_lock(pins.with_name(f".{pins.name}.lock")):  # other processes may pin other weights
        known = _read_pins(pins)
        if row.name not in known:
            known[row.name] = found
            write_text(pins, "name,sha256\n" + "".join(f"{name},{pin}\n" for name, pin in sorted(known.items())))
    return known[row.name]


def _read_pins(pins: Path) -> dict[str, str]:
    if not pins.exists():
        return {}
    try:
        return dict(line.split(",") for line in limits.read_bytes(pins, limits.PINS_BYTES).decode().splitlines()[1:])
    except UserError:
        raise
    except ValueError:
        raise UserError(
            f"{pins}: not lines of name,sha256, as `fetch` writes them; remove it to pin the weights again"
        ) from None


def _git_blob_sha1(path: Path) -> str:
    """Git's id of the file's content: sha1 of 'blob <size>', a zero byte, and the bytes."""
    with open(path, "rb") as handle:
        return hashlib.file_digest(handle, lambda: hashlib.sha1(f"blob {path.stat().st_size}\0".encode())).hexdigest()
