"""What is known about files that have not changed since: their hashes, what was measured in them, and which of them are copies of
which. So a stage that finished everything in an earlier run reads none of its files again.

A file counts as unchanged if its size, its times of modification and of change, and its inode are as they were. The time of change
is the system's own: no program can set it back. A file of others that changed less than `SETTLED` seconds ago is not remembered, because
a second change in the same tick of the file system's clock could not be seen. Files that a stage wrote itself are complete when they get
their name, and nobody else writes to them in the same tick. A file in a pack is known by the sha256 in the pack's index.

What remains: a file system that reports wrong times, and damage of the disk itself, which changes no time. `sources --check --deep`
reads everything.
"""

import json
import os
import time
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from dataset_tools.lib.core.atomic import publish, write_text
from dataset_tools.lib.core.collection import no_collection
from dataset_tools.lib.core.errors import UserError
from dataset_tools.lib.core.packs import find_part
from dataset_tools.lib.core.progress import progress
from dataset_tools.lib.core.work_cache import file_sha256

VERSION = 1
SETTLED = 2.0
"""Seconds: the coarsest clock of a file system in use (FAT)."""
HASHERS = 4
"""Files that are hashed at the same time: hashing waits for the disk, and lets other threads work."""
Stamp = list[Any]


class FileMemo:
    """Values by name, each with the files that it is about. It is loaded from `path`, and `save` writes it there.

    A value is JSON and not None. A missing or damaged file is an empty memo. Two runs at once are safe: the last one to save wins, and
    what the other one knew is found out again.
    """

    def __init__(self, path: Path):
        self.path = path
        self._known: dict[str, list] = _load(path)
        self._loaded, self._news = len(self._known), False
        self.copied = 0
        """Files that `publish` has copied."""
        self._kept: dict[str, list] = {}
        """What this run has asked for or found out. Only this is saved, so that the file does not grow from run to run."""
        self._syncs = False
        """Whether `publish` syncs each copy."""

    def __getstate__(self) -> dict[str, Any]:
        # A process of a cluster, perhaps on another machine, does not call `sync_copies`.
        return self.__dict__ | {"_syncs": True}

    def take(self) -> dict[str, list]:
        """What was asked for or found out since the last call, for `learn`. Thread-safe."""
        taken, self._kept = self._kept, {}
        return taken

    def learn(self, taken: dict[str, list]) -> None:
        """Add what this memo, or its copy in another process, has given to `take`."""
        self._news |= any(self._known.get(name) != entry for name, entry in taken.items())
        self._known |= taken
        self._kept |= taken

    def recall(self, name: str, files: Iterable[Path | str]) -> Any:
        """The value of `name` if all its files are as they were; else None. A file that was missing must still be missing."""
        return self.recall_stamped(name, stamps(files)) if name in self._known else None

    def recall_stamped(self, name: str, stamps: list[Stamp | None]) -> Any:
        """As `recall`, for files of which `stamps` are known already."""
        found = self._known.get(name)
        if found is None or stamps != found[1]:
            return None
        self._kept[name] = found
        return found[0]

    def keep(self, name: str, value: Any, stamps: list[Stamp | None], *, own: bool = False) -> None:
        """Remember a value. stamps: those of its files, from `stamps`, taken before the value was read from them. own: the stage itself
        wrote these files, or they were settled then."""
        if own or _are_settled(stamps):
            self._known[name] = self._kept[name] = [value, stamps]
            self._news = True

    def sha256(self, file: Path) -> str:
        """sha256 of a file's bytes, as hex; read only if it is not known. Raises OSError as `file_sha256`. Thread-safe."""
        name = str(file)
        if known := self.recall(name, (file,)):
            return known
        if part := find_part(file):
            return part.sha256
        before = stamps((file,))
        settled = _are_settled(before)  # not asked after reading, which may take longer than a file needs to settle
        found = file_sha256(file)
        if settled and before == stamps((file,)):
            self.keep(name, found, before, own=True)
        return found

    def hash_all(self, files: Sequence[Path], label: str) -> list[str]:
        """sha256 of each file; those that are not known are read, several at a time, with a progress bar. Raises as `sha256`."""
        found = [self.recall(str(file), (file,)) for file in files]
        unknown = [number for number, known in enumerate(found) if known is None]
        if unknown:
            with ThreadPoolExecutor(HASHERS) as pool:
                hashes = pool.map(self.sha256, [files[number] for number in unknown])
                for number, value in zip(unknown, progress(hashes, label, len(unknown), unit="file"), strict=True):
                    found[number] = value
        return found

    def publish(self, source: Path, target: Path, *, own: bool = False) -> None:
        """Copy `source` to `target` as `atomic.publish`, unless `is_copy`. own: the stage itself wrote `source`. Copies are synced to disk by
        `sync_copies`."""
        if self.is_copy(source, target):
            return
        before = stamps((source,))
        settled = own or _are_settled(before)
        publish(source, target, sync=self._syncs)
        self.copied += 1
        if settled:
            self.keep(f"copy {target}", True, before + stamps((target,)), own=True)

    def sync_copies(self) -> None:
        """Wait until all copies are on the disk, before the file is written that marks their folder as complete."""
        if self.copied:
            os.sync()

    def is_copy(self, source: Path, target: Path | str) -> bool:
        """Whether `publish` made `target` from `source`, and neither has changed since."""
        return self.recall(f"copy {target}", (source, target)) is True

    def save(self) -> None:
        """Write what this run asked for or found out, if that is not what the file holds. A disk that takes no files is no error."""
        if not self._news and len(self._kept) == self._loaded:
            return
        try:
            write_text(self.path, json.dumps([VERSION, self._kept]))
        except (OSError, UserError):
            pass


def stamps(files: Iterable[Path | str]) -> list[Stamp | None]:
    """For each file: bytes, time of modification and of change in ns, and inode; for one in a pack: bytes, 0, 0, sha256; None for a missing
    file and one in packs with a damaged index."""
    return [_stamp(file) for file in files]


def _stamp(file: Path | str) -> Stamp | None:
    try:
        found = os.stat(file)
    except OSError:
        try:
            part = find_part(Path(file))
        except UserError:
            return None
        return [part.bytes, 0, 0, part.sha256] if part else None
    return [found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino]


def _are_settled(stamps: list[Stamp | None]) -> bool:
    newest = max((at for stamp in stamps if stamp for at in stamp[1:3]), default=0)
    return newest < time.time_ns() - SETTLED * 1e9


@no_collection()
def _load(path: Path) -> dict[str, list]:
    try:
        version, known = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, TypeError):
        return {}
    if version != VERSION or not isinstance(known, dict):
        return {}
    return {name: entry for name, entry in known.items() if isinstance(entry, list) and len(entry) == 2}
