"""Rows of the tables that `shards` writes and reads."""

from dataclasses import dataclass

from dataset_tools.lib.core.schema import Row


@dataclass(frozen=True, kw_only=True)
class ShardRow(Row):
    """One row of shards/rows.csv."""

    shard: str = ""
    """File name of the shard."""
    split: str = ""
    song: str = ""
    genre: str = ""
    frames: int | None = None
