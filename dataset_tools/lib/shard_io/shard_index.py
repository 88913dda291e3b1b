"""index.json: what is in all shards of a folder, so that a set of many shards opens without opening each.

For each file: its bytes and sha256, its attributes, and its clips. A reader compares the list of files and their bytes when it opens the
set, and what it uses of a file when it opens that file (shard_check.py). An index may be missing, which older folders are, and it is as
untrusted as the shards. `python -m dataset_tools.sources --deep` compares the sha256.
"""

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from dataset_tools.lib.core.addresses import find_files, is_remote, reach
from dataset_tools.lib.core.atomic import write_text
from dataset_tools.lib.core.errors import UserError
from dataset_tools.lib.core.json_file import read_json
from dataset_tools.lib.core.limits import SHARD_CLIPS, printable
from dataset_tools.lib.core.work_cache import file_sha256
from dataset_tools.lib.shard_io.shard_check import validate_shard
from dataset_tools.lib.shard_io.shard_format import (
    CLIP_NUMBERS,
    FILE_TEXTS,
    JOINTS,
    MAX_MOTION_RATE,
    ClipEntry,
    ShardInfo,
    check_counts,
    check_texts,
)

INDEX = "index.json"
SCHEMA = "d2m-shard-index/1"
CLIP_COLUMNS = ("clip_id", "song", "genre", *CLIP_NUMBERS)
SHA256 = re.compile(r"[0-9a-f]{64}", re.ASCII)
Entry = dict[str, Any]


def describe_shard(path: Path) -> Entry:
    """The entry of a shard, which is validated. Raises UserError as `validate_shard`."""
    info = validate_shard(path)
    clips = {name: [getattr(clip, name) for clip in info.clips] for name in CLIP_COLUMNS}
    about = {name: getattr(info, name) for name in (*FILE_TEXTS, "people", "motion_rate")}
    return {"bytes": path.stat().st_size, "sha256": file_sha256(path), **about, "clips": clips}


def write_index(folder: Path, entries: Mapping[str, Entry]) -> None:
    """Write the index of a folder. entries: file name -> entry."""
    lines = (f"{json.dumps(name)}: {json.dumps(entries[name], sort_keys=True)}" for name in sorted(entries))
    write_text(folder / INDEX, f'{{"schema": "{SCHEMA}", "shards": {{\n' + ",\n".join(lines) + "\n}}\n")


def read_index(folder: Path) -> dict[str, Entry]:
    """The entries of a folder's index, not checked yet; empty if there is no index. Raises UserError for a file that is no index."""
    path = folder / INDEX
    with reach(path):
        if not path.is_file():
            return {}
    found = read_json(path)
    if not isinstance(found, dict) or found.get("schema") != SCHEMA or not isinstance(found.get("shards"), dict):
        raise UserError(f"{path}: not an index of shards, schema {SCHEMA}")
    return found["shards"]


def shard_hashes(folder: Path) -> list[str]:
    """sha256 of each shard of a folder, in the order of their names. They are computed, but for shards at an address read from their index,
    if they have one. Raises UserError as `reach`."""
    files = find_files(folder, "*.h5")
    entries = read_index(folder) if is_remote(folder) else {}
    known = [entries.get(file.name, {}).get("sha256") for file in files]
    with reach(folder):
        return [said if isinstance(said, str) else file_sha256(file) for said, file in zip(known, files, strict=True)]


def known_shards(paths: Sequence[Path], entries: Mapping[str, Entry]) -> list[ShardInfo]:
    """What an index says about these shards of one folder and split. Raises UserError, which names the index, if it has no entry for one
    of them, an entry for another one of the split, another number of bytes, or an entry that breaks a rule of shards."""
    index, split = paths[0].parent / INDEX, paths[0].name.split("-")[0]
    others = [name for name in entries if name.startswith(f"{split}-")]
    if unlisted := [path.name for path in paths if path.name not in entries]:
        raise UserError(f"{index}: has no entry for {unlisted[0]}")
    if gone := sorted(set(others) - {path.name for path in paths}):
        raise UserError(f"{index}: has an entry for {printable(gone[0])}, which is not there")
    infos = []
    for path in paths:
        try:
            infos.append(info := _parse_entry(path, entries[path.name]))
        except KeyError as err:
            raise UserError(f"{index}: {path.name}: has no {err}") from None
        except (TypeError, ValueError) as err:
            raise UserError(f"{index}: {path.name}: {printable(str(err))}") from None
        if info.split != split:
            raise UserError(f"{index}: {path.name}: split must be {split}, found {info.split}")
        if (size := path.stat().st_size) != entries[path.name]["bytes"]:
            raise UserError(f"{index}: {path.name} has {size} bytes, not {printable(entries[path.name]['bytes'])}")
    return infos


def _parse_entry(path: Path, entry: Any) -> ShardInfo:
    texts = {name: entry[name] for name in FILE_TEXTS}
    if not all(isinstance(text, str) for text in texts.values()) or texts["pose_layout"] not in JOINTS:
        raise ValueError("attributes that no shard has")
    check_texts(texts)
    people, motion_rate, columns = entry["people"], entry["motion_rate"], entry["clips"]
    if not all(type(number) is int for number in (entry["bytes"], people, motion_rate)):
        raise ValueError("bytes, people and motion_rate must be whole numbers")
    if not 0 <= motion_rate <= MAX_MOTION_RATE:
        raise ValueError(f"motion_rate must be 0 to {MAX_MOTION_RATE}, found {motion_rate}")
    if not SHA256.fullmatch(entry["sha256"]):
        raise ValueError("sha256 must be 64 hexadecimal digits")
    ids = columns["clip_id"]
    if not all(isinstance(values, list) and len(values) == len(ids) for values in columns.values()):
        raise ValueError("clips must be lists of one length")
    if not 1 <= len(ids) <= SHARD_CLIPS or ids != sorted(set(ids)):
        raise ValueError(f"clips must be 1 to {SHARD_CLIPS}, sorted by id")
    clips = []
    for values in zip(*(columns[name] for name in CLIP_COLUMNS), strict=True):
        clip = dict(zip(CLIP_COLUMNS, values, strict=True))
        counts = {name: clip[name] for name in CLIP_NUMBERS} | {"people": people}
        if not all(type(number) is int for number in counts.values()):
            raise ValueError(f"{', '.join(CLIP_NUMBERS)} must be whole numbers")
        if not isinstance(clip["genre"], str):
            raise ValueError("genre must be a text")
        check_texts({name: clip[name] for name in ("clip_id", "song", "genre")})
        check_counts(counts, 1)
        clips.append(ClipEntry(**clip, split=texts["split"]))
    return ShardInfo(path=path, people=people, motion_rate=motion_rate, clips=tuple(clips), **texts)
