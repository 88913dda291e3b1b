"""A cache of scores and embeddings. A key is a hash of everything that the result depends on.

That is the audio, the audio it is compared with, the parameters, the code, and the versions of libraries. So if a system is
added or changed, only this system is scored. The folder is safe to delete.
"""

import hashlib
import json
import sys
from collections.abc import Callable, Mapping
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np

from d2m_model.metrics.embedding import Embedded
from d2m_model.nets.cpu.switch import is_plain
from dataset_tools.lib.core.array_file import read_npz
from dataset_tools.lib.core.atomic import atomic_write, write_text
from dataset_tools.lib.core.errors import UserError
from dataset_tools.lib.core.layout import PROJECT
from dataset_tools.lib.core.work_cache import file_sha256, item_key

VERSION = 1
CODE = ("d2m_model/metrics", "d2m_model/nets", "d2m_model/checkpoints", "dataset_tools/lib/embedding")
LIBRARIES = ("librosa", "mir_eval", "numpy", "pyloudnorm", "python-stretch", "scipy", "soxr", "torch")


def content(arrays: Mapping[str, np.ndarray]) -> str:
    """Hash of arrays by name, such as audio by clip: of the names, types, shapes and values."""
    digest = hashlib.sha256()
    for name in sorted(arrays):
        array = np.ascontiguousarray(arrays[name])
        digest.update(json.dumps([name, array.dtype.str, array.shape]).encode())
        digest.update(array.data.cast("B") if array.size else b"")
    return digest.hexdigest()


@cache
def _code() -> list[str]:
    """Hashes of the project's code that scores, and the versions of libraries."""
    files = sorted(f for part in CODE for f in (PROJECT / part).rglob("*.py"))
    return [file_sha256(f) for f in files] + [sys.version] + [_version(name) for name in LIBRARIES]


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return ""


class KeptScores:
    """Finished results in one folder. If the folder is not writable, nothing is kept."""

    def __init__(self, folder: Path):
        self.folder = folder

    def key(self, *parts) -> str:
        """Key from `parts` (strings, numbers, lists, dicts), the code, the versions of libraries and the switch `nets/cpu/switch.py`."""
        return item_key(VERSION, _code(), is_plain(), *parts)

    def read(self, key: str):
        """The value given to `write`, bit for bit; None for a missing or damaged file."""
        try:
            return json.loads((self.folder / f"{key}.json").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None

    def write(self, key: str, value) -> None:
        """Keep a value that consists of dicts, lists, numbers and strings."""
        self._keep(lambda: write_text(self.folder / f"{key}.json", json.dumps(value)))

    def arrays(self, key: str, names: list[str], make: Callable[[], Mapping[str, np.ndarray]]) -> dict[str, np.ndarray]:
        """The named arrays from the cache, or else from `make`, whose result is then kept."""
        path = self.folder / f"{key}.npz"
        try:
            return read_npz(path, names)
        except UserError:
            found = dict(make())
        self._keep(lambda: _write_npz(path, found))
        return found

    def points(self, key: str, make: Callable[[], Mapping[str, Embedded | None]]) -> dict[str, Embedded | None]:
        """Embeddings by name from the cache, or else from `make`, such as `embedding.embed_all`."""
        names = ("names", "counts", "patches", "segments")
        return _unpacked(**self.arrays(key, list(names), lambda: _packed(make())))

    def _keep(self, write: Callable[[], None]) -> None:
        try:
            write()
        except (OSError, UserError):
            pass


def _write_npz(path: Path, arrays: Mapping[str, Any]) -> None:
    with atomic_write(path) as aside:
        np.savez(aside, **arrays)


def _packed(points: Mapping[str, Embedded | None]) -> dict[str, np.ndarray]:
    """`names`: as JSON. `counts` (names, 2): number of patches and segments of each. `patches`, `segments`: (N, D)."""
    found = [p for p in points.values() if p]
    counts = [(len(p.patches), len(p.segments)) if p else (0, 0) for p in points.values()]
    stacked = lambda part: np.concatenate([getattr(p, part) for p in found]) if found else np.zeros((0, 0))
    return {
        "names": np.frombuffer(json.dumps(list(points)).encode(), np.uint8),
        "counts": np.array(counts, int).reshape(-1, 2),
        "patches": stacked("patches"),
        "segments": stacked("segments"),
    }


def _unpacked(
    names: np.ndarray, counts: np.ndarray, patches: np.ndarray, segments: np.ndarray
) -> dict[str, Embedded | None]:
    there = json.loads(bytes(names))
    ends = np.cumsum(counts, axis=0)
    return {
        name: Embedded(patches=patches[end[0] - count[0] : end[0]], segments=segments[end[1] - count[1] : end[1]])
        if count[0]
        else None
        for name, count, end in zip(there, counts, ends, strict=True)
    }
