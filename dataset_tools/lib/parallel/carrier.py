"""Files of items for machines of a cluster that share no folder: through a storage address such as s3://bucket/folder.

The driver sends an item's input files to <storage>/inputs/<sha256>, each once. The process that works on the item fetches them into a
temporary folder, in which each has the path that it has in the driver's working folder, and sends what the item wrote to
<storage>/outputs/<run>/<path>. From there the driver fetches it, and removes it there. Each run has a name of its own, so that several
may use a storage at once.

Only relative paths are carried. Files with absolute paths belong to the program, which every machine has.
"""

import os
import tempfile
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

from dataset_tools.lib.core.addresses import find_files, receive, remove, send
from dataset_tools.lib.core.atomic import atomic_write
from dataset_tools.lib.core.errors import Unreadable, UserError
from dataset_tools.lib.core.packs import local_file
from dataset_tools.lib.core.work_cache import file_sha256
from dataset_tools.lib.parallel.worker_process import MachineFault

THREADS = 8
"""Files that the driver sends or fetches at once."""
KEPT = 2
"""Items whose inputs a process keeps: the one that it works on, and the one that it prepares. Weights are inputs of all."""


@dataclass(frozen=True)
class ItemFiles:
    """The files of an item. Those that do not exist are left out."""

    inputs: tuple[Path, ...]
    outputs: tuple[Path, ...]


@dataclass(frozen=True)
class CarriedItem:
    """An item with its input files, which are at the storage."""

    item: Any
    arriving: Path
    """Folder of the inputs at the storage."""
    leaving: Path
    """Folder of the outputs, of this run only."""
    inputs: dict[Path, str]
    """Path -> sha256."""
    outputs: tuple[Path, ...]


class Carrier:
    """The driver's part."""

    def __init__(self, storage: Path, files: Callable[[Any], ItemFiles]):
        """files: gives the files of an item."""
        self._files = files
        self._inputs, self._outputs = storage / "inputs", storage / "outputs" / uuid4().hex
        self._there = {path.name for path in find_files(self._inputs, "*")}
        self._hashes: dict[Path, str] = {}
        self._pool = ThreadPoolExecutor(THREADS)
        self._arriving: list[Future] = []
        self._expected: set[Path] = set()
        """Outputs that arrive or have arrived."""
        self._again: set[Path] = set()
        """Those that another item wrote, too."""

    def dispatch(self, items: list) -> list[CarriedItem]:
        """Send the inputs of items that the storage lacks. Raises UserError if it can't be reached."""
        files = [self._files(item) for item in items]
        wanted = {path for found in files for path in found.inputs if not path.is_absolute()}
        list(self._pool.map(self._send, sorted(wanted - self._hashes.keys())))
        return [
            CarriedItem(
                item=item, arriving=self._inputs, leaving=self._outputs, outputs=found.outputs,
                inputs={path: self._hashes[path] for path in found.inputs if path in self._hashes},
            )
            for item, found in zip(items, files, strict=True)
        ]  # fmt: skip

    def _send(self, path: Path) -> None:
        with local_file(path) as file:
            if not file.is_file():
                return
            digest = file_sha256(file)
            if digest not in self._there:
                send(file, self._inputs / digest)
                self._there.add(digest)
        self._hashes[path] = digest

    def collect(self, item: Any, written: dict[Path, str]) -> None:
        """Begin to fetch what an item wrote. written: path -> sha256, as its process says; only the item's own outputs are fetched. A file
        that two items wrote, as two clips with the same content do, is fetched once."""
        allowed = set(self._files(item).outputs)
        for path, digest in written.items():
            if path in self._expected:
                self._again.add(path)
            elif path in allowed:
                self._expected.add(path)
                self._arriving.append(self._pool.submit(self._fetch, path, digest))

    def _fetch(self, path: Path, digest: str) -> None:
        there = self._outputs / path
        with atomic_write(path) as temporary:
            fetch(there, temporary, digest)
        remove(there)

    def finish(self) -> None:
        """Wait until everything has arrived. Raises UserError for what could not be fetched."""
        with self._pool:
            for future in self._arriving:
                future.result()
        for path in self._again:
            with suppress(UserError):  # most are gone: the first fetch removed them
                remove(self._outputs / path)

    def stop(self) -> None:
        """End without waiting."""
        self._pool.shutdown(wait=False, cancel_futures=True)


def fetch(there: Path, path: Path, digest: str) -> None:
    """Copy a file from the storage to the new file `path`. Raises UserError if it can't be had, or has another sha256."""
    receive(there, path)
    if file_sha256(path) != digest:
        path.unlink()
        raise Unreadable(there, "its bytes are not those that were sent; run again")


@contextmanager
def _at_the_storage() -> Iterator[None]:
    """Another machine may reach what this one can't."""
    try:
        yield
    except UserError as err:
        raise MachineFault(str(err)) from None


class CarriedCall:
    """The function of `run_all` and its `prepare`, for `CarriedItem`s: the part of the process that works on them."""

    def __init__(self, function: Callable, prepare: Callable | None):
        self._function, self._prepare = function, prepare
        self._latest: deque[dict[Path, str]] = deque()

    def prepare(self, carried: CarriedItem) -> Any:
        """Fetch the inputs of an item, and prepare it. Raises MachineFault if they can't be had."""
        with _at_the_storage():
            self._arrange(carried)
        return self._prepare(carried.item) if self._prepare else None

    def __call__(self, carried: CarriedItem, ready: Any) -> tuple[Any, dict[Path, str]]:
        """(outcome of the item, path -> sha256 of each output, which is at the storage)."""
        outcome = self._function(carried.item, ready) if self._prepare else self._function(carried.item)
        written = {}
        for path in carried.outputs:
            if path.is_file():
                written[path] = file_sha256(path)
                with _at_the_storage():
                    send(path, carried.leaving / path)
                path.unlink()
        return outcome, written

    def _arrange(self, carried: CarriedItem) -> None:
        """Fetch the inputs that are not there, and remove those of earlier items."""
        self._latest.append(carried.inputs)
        if len(self._latest) > KEPT:
            for path in self._latest.popleft().keys() - {path for inputs in self._latest for path in inputs}:
                path.unlink(missing_ok=True)
        for path, digest in carried.inputs.items():
            if not path.is_file():
                path.parent.mkdir(parents=True, exist_ok=True)
                with tempfile.TemporaryDirectory(dir=path.parent) as folder:
                    fetch(carried.arriving / digest, Path(folder, path.name), digest)
                    os.replace(Path(folder, path.name), path)
