"""Where the data stages run their items: in processes of this machine, or on a Ray cluster (docs/cluster.md).

The choice is made once, by `choose_cluster`, when a command starts. `run_all` of `lib/parallel/workers.py` looks it up, so that a
stage's code does not know it.
"""

import re
from pathlib import Path

from dataset_tools.lib.core.errors import UserError
from dataset_tools.lib.core.limits import printable
from dataset_tools.lib.core.params import read_params

ADDRESS = re.compile(r"auto|ray://[A-Za-z0-9_.-]+:\d{1,5}|ray://\[[0-9A-Fa-f:.]+\]:\d{1,5}")
RULE = "must be auto, ray://HOST:PORT or local"

_chosen = ""


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
    everything = read_params(path) if Path(path).exists() or Path(path).is_symlink() else {}
    return check_cluster(everything.get("cluster"), f"{path}: cluster")


def choose_cluster(address: str) -> None:
    """From now on `run_all` of this process uses the Ray cluster at `address`, 'auto' or 'ray://host:port'; '': local processes."""
    global _chosen
    _chosen = check_cluster(address, "the cluster's address")


def chosen_cluster() -> str:
    """The address that `choose_cluster` was given; '' for local processes."""
    return _chosen
