"""Export shards as they are, with their index, to another folder or to an address, from where `--shards` reads them."""

from functools import partial
from pathlib import Path

from dataset_tools.lib.core.atomic import publish
from dataset_tools.lib.core.errors import UserError
from dataset_tools.lib.parallel.workers import run_all
from dataset_tools.lib.shard_io.shard_index import Entry, describe_shard, write_index


def export_copies(shards: Path, out: Path, workers: int = 1) -> dict[str, int]:
    """Copy every shard of the folder `shards` to `out`, `workers` at once (as in `run_all`), then write the index. Returns {name of a file:
    number of its clips}.

    Raises UserError as `validate_shard`, and for a folder without shards.
    """
    files = sorted(shards.glob("*.h5"))
    if not files:
        raise UserError(f"{shards}: no shards; run python -m dataset_tools.shards")
    found = run_all(partial(_copy, out=out), files, workers, "shards: copying", unit="shard")
    entries = {path.name: entry for path, entry in zip(files, found, strict=True)}
    write_index(out, entries)
    return {name: len(entry["clips"]["clip_id"]) for name, entry in entries.items()}


def _copy(path: Path, out: Path) -> Entry:
    """Copy one shard. Returns its entry of the index."""
    entry = describe_shard(path)
    publish(path, out / path.name)
    return entry
