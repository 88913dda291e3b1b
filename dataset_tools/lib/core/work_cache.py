"""Keys of the cache of finished items that makes a stage resumable: hashes of the inputs, the parameters and the version of the code.

DVC empties the outs of a stage before it runs it, so a stage that was killed would start from the beginning. Instead a stage
writes each finished item into a cache, one file each (complete or absent), and copies them into its outs at the end.
"""

import dataclasses
import hashlib
import json
from pathlib import Path

from dataset_tools.lib.core.array_file import read_npy
from dataset_tools.lib.core.errors import UserError

_ENCODER = json.JSONEncoder(sort_keys=True, default=str)


def file_sha256(path: Path) -> str:
    """sha256 of a file's bytes, as hex."""
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def is_complete_array(path: Path) -> bool:
    """Whether the .npy file `path` exists and can be read. A damaged one is removed, so that it is computed again."""
    if not path.exists():
        return False
    try:
        read_npy(path)
    except UserError:
        path.unlink(missing_ok=True)
        return False
    return True


def item_key(version: int, *parts) -> str:
    """Cache key of one item, 32 hex digits: a hash of `version`, that of the stage's code, and of `parts`, the strings, numbers and
    dataclasses on which the result depends."""
    plain = [dataclasses.asdict(p) if dataclasses.is_dataclass(p) and not isinstance(p, type) else p for p in parts]
    return hashlib.sha256(_ENCODER.encode([version, plain]).encode()).hexdigest()[:32]
