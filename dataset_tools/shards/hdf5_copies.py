"""Export shards as they are, with their index, to another folder or to an address, from where `--shards` reads them."""

from pathlib import Path

from dataset_tools.lib.core.atomic import publish
from dataset_tools.lib.core.errors import UserError
from dataset_tools.lib.core.progress import progress
from dataset_tools.lib.shard_io.shard_index import describe_shard, write_index


def export_copies(shards: Path, out: Path) -> dict[str, int]:
    """Copy every shard of the folder `shards` to `out`, then write the index. Returns {name of a file: number of its clips}.

    Raises UserError as `validate_shard`, and for a folder without shards.
    """
    entries = {}
    for path in progress(sorted(shards.glob("*.h5")), "shards: copying", unit="shard"):
        entries[path.name] = describe_shard(path)
        publish(path, out / path.name)
    if not entries:
        raise UserError(f"{shards}: no shards; run python -m dataset_tools.shards")
    write_index(out, entries)
    return {name: len(entry["clips"]["clip_id"]) for name, entry in entries.items()}
