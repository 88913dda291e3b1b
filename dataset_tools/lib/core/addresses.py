"""Files at addresses: s3://bucket/folder, memory://folder and the other schemes of fsspec, beside those of this machine.

An address becomes a `UPath` of universal_pathlib, which has the methods of a `pathlib.Path`. So code that uses only these methods need not
know where its files are. The rest is here: reading a part of a file, and sending a finished one.

Credentials are those of the program that the scheme belongs to; for s3:// the variables AWS_... or ~/.aws. They are never part of an
address. Whatever is read from an address is as untrusted as a file of this machine.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from fnmatch import fnmatch
from pathlib import Path
from typing import Any, BinaryIO, cast

from dataset_tools.lib.core.errors import UserError, describe_missing_package, one_line

ADDRESS = re.compile(r"[a-z][a-z0-9+.-]+://", re.IGNORECASE)
BLOCK, BLOCKS = 1 << 19, 16
"""Bytes that a request reads; blocks of a file that are remembered: 8 MB."""


def as_path(place: str | Path) -> Path:
    """The path of a file of this machine or, for an address scheme://..., a UPath.

    Raises UserError for an unknown scheme, for credentials in the address and for file:// without an absolute path; ModuleNotFoundError if
    the scheme's package is missing.
    """
    if not isinstance(place, str):
        return place
    scheme, _, rest = place.partition("://")
    if not ADDRESS.match(place):
        return Path(place)
    scheme = scheme.lower()
    if scheme == "file":
        if not rest.startswith("/"):
            raise UserError(f"{one_line(place)}: must be file:///folder, with an absolute path")
        return Path(rest)
    if "@" in rest.partition("/")[0]:
        raise UserError(f"{scheme}://...: an address must not hold credentials; set them in the environment instead")
    from upath import UPath

    try:
        path = UPath(f"{scheme}://{rest}")
        path.fs  # noqa: B018 - loads the package of the scheme
    except Exception as err:  # noqa: BLE001 - each scheme has errors of its own
        if describe_missing_package(err.__cause__ or err):
            raise (err.__cause__ or err) from None
        raise UserError(f"{one_line(place)}: {one_line(str(err))}; write s3://bucket/folder or a path") from None
    return cast(Path, path)


def is_remote(path: Path) -> bool:
    """Whether a path is an address."""
    return not isinstance(path, Path)


def find_files(folder: Path, pattern: str) -> list[Path]:
    """Files in a folder whose names match, sorted; none if there is no such folder. At an address this is one request, after which their
    sizes are known, too. Raises UserError as `reach`."""
    with reach(folder):
        try:
            return sorted(path for path in folder.iterdir() if fnmatch(path.name, pattern))
        except (FileNotFoundError, NotADirectoryError):
            return []


def open_ranges(path: Path) -> BinaryIO:
    """Open the file at an address for reading anywhere in it. Only the blocks that are read are requested. Raises UserError as `reach`."""
    own = _own(path)
    with reach(path):
        return own.fs.open(
            own.path, "rb", block_size=BLOCK, cache_type="blockcache", cache_options={"maxblocks": BLOCKS}
        )


def send(file: Path, path: Path) -> None:
    """Copy a finished file of this machine to an address. Object stores show it when it is complete. Raises UserError as `reach`."""
    own = _own(path)
    with reach(path):
        own.fs.put_file(str(file), own.path)


def receive(path: Path, file: Path) -> None:
    """Copy the file at an address to a file of this machine. Raises UserError as `reach`."""
    own = _own(path)
    with reach(path):
        own.fs.get_file(own.path, str(file))


def remove(path: Path) -> None:
    """Remove the file at an address. Raises UserError as `reach`."""
    own = _own(path)
    with reach(path):
        own.fs.rm_file(own.path)


def _own(path: Path) -> Any:
    """The address for use in this process: what another process made before it forked can't be used."""
    return as_path(str(path))


@contextmanager
def reach(path: Path) -> Iterator[None]:
    """Turn the errors of an address's program (no connection, no permission, no such bucket) into a UserError of one line."""
    try:
        yield
    except UserError:
        raise
    except Exception as err:  # noqa: BLE001 - each scheme has errors of its own
        if not is_remote(path) or isinstance(err, ModuleNotFoundError):
            raise
        what = "not found" if isinstance(err, FileNotFoundError) else one_line(f"{type(err).__name__}: {err}")
        raise UserError(f"{path}: {what}; look at the address, the network and the credentials") from None
