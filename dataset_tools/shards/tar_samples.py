"""Export shards as WebDataset tars, <split>-000000.tar with one sample per clip, for streaming loaders.

A sample has `<key>.pose.npy` float32 (T, P, J, 3), `<key>.audio.npy` float32 (T * 735,), `<key>.i3d.npy` float32 (W, 2048), if
the shards have motion `<key>.motion.npy` float32 (T, R, 219), and `<key>.json` (clip_id, song, genre, split, frames, width,
height, fps, sample_rate, and the weights that computed the streams). The key is the clip's id with dots replaced by dashes,
because WebDataset reads the text after a dot as the kind of data. Equal shards give equal bytes.
"""

import dataclasses
import io
import json
from functools import partial
from pathlib import Path

import numpy as np

from dataset_tools.lib.core.atomic import atomic_write
from dataset_tools.lib.core.errors import UserError
from dataset_tools.lib.core.names import SPLITS
from dataset_tools.lib.core.timebase import FPS, SAMPLE_RATE
from dataset_tools.lib.parallel.workers import run_all
from dataset_tools.lib.shard_io.shard_set import ShardSet


def export_tars(shards: Path, out: Path, workers: int = 1) -> dict[str, int]:
    """Write every split in the folder `shards` into `out`, one tar per shard, `workers` at once (as in `run_all`). Returns {name of a tar:
    number of its clips}.

    Raises UserError as ShardSet, for a folder without shards, and for two ids with the same key.
    """
    written: dict[str, int] = {}
    for split in SPLITS:
        if not any(shards.glob(f"{split}-*.h5")):
            continue
        source = ShardSet(shards, split)
        _check_keys(source)
        write = partial(_write_tar, source=source, out=out)
        written |= run_all(write, list(range(len(source.infos))), workers, f"shards: {split}", unit="tar")
    if not written:
        raise UserError(f"{shards}: no shards; run python -m dataset_tools.shards")
    return written


def _write_tar(number: int, source: ShardSet, out: Path) -> tuple[str, int]:
    """Write one shard as a tar. Returns (its name, the number of its clips)."""
    import webdataset

    info = source.infos[number]
    common = {name: getattr(info, name) for name in ("corpus", "pose_layout", "pose_weights", "i3d_weights")}
    common |= {"fps": FPS, "sample_rate": SAMPLE_RATE}
    name = f"{source.split}-{number:06d}.tar"
    with (
        atomic_write(out / name) as temporary,
        open(temporary, "wb") as handle,
        webdataset.TarWriter(handle, encoder=False, mtime=0, user="", group="", mode=0o644) as tar,
    ):
        for clip in info.clips:
            window = source.read(clip.clip_id)
            sample = {
                "__key__": sample_key(clip.clip_id),
                "pose.npy": _npy_bytes(window.pose),
                "audio.npy": _npy_bytes(window.audio),
                "i3d.npy": _npy_bytes(source.read_i3d(clip.clip_id)),
                "json": json.dumps(dataclasses.asdict(clip) | common, sort_keys=True).encode(),
            }
            tar.write(sample | ({"motion.npy": _npy_bytes(window.motion)} if info.motion_rate else {}))
    return name, len(info.clips)


def sample_key(clip_id: str) -> str:
    """Key of a clip's sample."""
    return clip_id.replace(".", "-")


def _check_keys(source: ShardSet) -> None:
    seen: dict[str, str] = {}
    for clip in source.clips:
        other = seen.setdefault(sample_key(clip.clip_id), clip.clip_id)
        if other != clip.clip_id:
            raise UserError(
                f"{source.folder}: clips '{other}' and '{clip.clip_id}' would both be sample '{sample_key(clip.clip_id)}'; rename one"
            )


def _npy_bytes(values: np.ndarray) -> bytes:
    out = io.BytesIO()
    np.save(out, values, allow_pickle=False)
    return out.getvalue()
