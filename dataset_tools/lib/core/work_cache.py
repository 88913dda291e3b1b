"""Finished items of a resumable stage, by key: content of the inputs + parameters + version of the stage's code.

DVC empties a stage's outs before it runs, so a stage that was killed would start again. Items are finished here, one
file each (complete or absent), and published into the outs at the end; a re-run finds what is already done.
"""

import dataclasses
import hashlib
import json
from pathlib import Path

from dataset_tools.lib.core.array_file import read_npy
from dataset_tools.lib.core.errors import UserError


def file_sha256(path: Path) -> str:
    """sha256 of a file's bytes, as hex."""
    with open(path, "rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def is_whole(path: Path) -> bool:
    """Whether a finished array is there and can be read; one that can't is removed, to be made again."""
    if not path.exists():
        return False
    try:
        read_npy(path)
    except UserError:
        path.unlink(missing_ok=True)
        return False
    return True


def item_key(version: int, *parts) -> str:
    """Key of one item: `version` of the stage's code and any mix of strings, numbers and dataclasses that decide it."""
    plain = [dataclasses.asdict(p) if dataclasses.is_dataclass(p) and not isinstance(p, type) else p for p in parts]
    return hashlib.sha256(json.dumps([version, plain], sort_keys=True, default=str).encode()).hexdigest()[:32]
