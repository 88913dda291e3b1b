"""Where the data stages run their items: in processes of this machine, or on a Ray cluster (docs/cluster.md).

The choice is made once, by `choose_cluster`, when a command starts. `run_all` of `lib/parallel/workers.py` looks it up, so that a
stage's code does not know it.
"""

import re
from pathlib import Path

from dataset_tools.lib.core.addresses import as_path, is_remote
from dataset_tools.lib.core.errors import UserError
from dataset_tools.lib.core.limits import printable
from dataset_tools.lib.core.params import read_params

ADDRESS = re.compile(r"auto|ray://[A-Za-z0-9_.-]+:\d{1,5}|ray://\[[0-9A-Fa-f:.]+\]:\d{1,5}")
RULE = "must be auto, ray://HOST:PORT or local"

_chosen = ""
_storage: Path | None = None


def check_cluster(value: object, what: str) -> str:
    """Return `value` if it is 'auto' or 'ray://host:port'; '' for 'local', '' and None, which mean this machine's processes.

    what: the place of the value, with which the message begins. Raises UserError for anything else.
    """
    if value in (None, "", "local"):
        return ""
    if not isinstance(value, str) or not ADDRESS.fullmatch(value):
        raise UserError(f"{what} {RULE}, found '{printable(value)}'")
    return value


def read_cluster(path: Path) -> str:
    """`cluster` of a params file; '' if the file or the key is missing. Raises UserError as `check_cluster` and `read_params`."""
    return check_cluster(_read_key(path, "cluster"), f"{path}: cluster")


def read_storage(path: Path) -> Path | None:
    """`storage` of a params file, an address through which machines that share no folder get an item's files; None if the file or the key
    is missing. Raises UserError for anything but an address, and as `read_params` and `as_path`."""
    value = _read_key(path, "storage")
    if value in (None, ""):
        return None
    if not isinstance(value, str) or not is_remote(found := as_path(value)):
        raise UserError(f"{path}: storage must be an address such as s3://bucket/folder, found '{printable(value)}'")
    return found


def _read_key(path: Path, key: str) -> object:
    """A key of a params file; None if the file or the key is missing."""
    return read_params(path).get(key) if Path(path).exists() or Path(path).is_symlink() else None


def choose_storage(storage: Path | None) -> None:
    """From now on, what `run_all` of this process does on a cluster gets its files through this address; None: from shared folders."""
    global _storage
    _storage = storage


def chosen_storage() -> Path | None:
    """The address that `choose_storage` was given."""
    return _storage


def choose_cluster(address: str) -> None:
    """From now on `run_all` of this process uses the Ray cluster at `address`, 'auto' or 'ray://host:port'; '': local processes."""
    global _chosen
    _chosen = check_cluster(address, "the cluster's address")


def chosen_cluster() -> str:
    """The address that `choose_cluster` was given; '' for local processes."""
    return _chosen
