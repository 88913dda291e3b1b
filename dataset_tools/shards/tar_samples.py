"""Shards as WebDataset tars: <split>-000000.tar of one sample per clip, for streaming loaders.

A sample is `<key>.pose.npy` float32 (T, P, J, 3), `<key>.audio.npy` float32 (T * 735,), `<key>.i3d.npy` float32
(W, 2048), where the shards have it `<key>.motion.npy` float32 (T, R, 219), and `<key>.json` (clip_id, song, genre, split, frames, width, height, fps, sample_rate and what computed the
streams). The key is the clip's id with dots as dashes, since WebDataset takes what follows a dot for the kind of data.
Equal shards give equal bytes.
"""

import dataclasses
import io
import json
from pathlib import Path

import numpy as np

from dataset_tools.lib.core.atomic import atomic_write
from dataset_tools.lib.core.errors import UserError
from dataset_tools.lib.core.names import SPLITS
from dataset_tools.lib.core.timebase import FPS, SAMPLE_RATE
from dataset_tools.lib.shard_io.shard_set import ShardSet


def export_tars(shards: Path, out: Path) -> dict[str, int]:
    """Write every split of the folder `shards` into `out`, one tar per shard; return the clips of each tar by name.

    Raises UserError as ShardSet does, for a folder without shards, and for two ids that would be one key.
    """
    import webdataset

    written = {}
    for split in SPLITS:
        if not any(shards.glob(f"{split}-*.h5")):
            continue
        source = ShardSet(shards, split)
        _check_keys(source)
        for number, info in enumerate(source.infos):
            common = {name: getattr(info, name) for name in ("corpus", "pose_layout", "pose_weights", "i3d_weights")}
            common |= {"fps": FPS, "sample_rate": SAMPLE_RATE}
            name = f"{split}-{number:06d}.tar"
            with (
                atomic_write(out / name) as temporary,
                open(temporary, "wb") as handle,
                webdataset.TarWriter(handle, encoder=False, mtime=0, user="", group="", mode=0o644) as tar,
            ):
                for clip in info.clips:
                    window = source.read(clip.clip_id)
                    sample = {
                        "__key__": key_of(clip.clip_id),
                        "pose.npy": _npy(window.pose),
                        "audio.npy": _npy(window.audio),
                        "i3d.npy": _npy(source.read_i3d(clip.clip_id)),
                        "json": json.dumps(dataclasses.asdict(clip) | common, sort_keys=True).encode(),
                    }
                    tar.write(sample | ({"motion.npy": _npy(window.motion)} if info.motion_rate else {}))
            written[name] = len(info.clips)
    if not written:
        raise UserError(f"{shards}: no shards; run python -m dataset_tools.shards")
    return written


def key_of(clip_id: str) -> str:
    """The sample's key."""
    return clip_id.replace(".", "-")


def _check_keys(source: ShardSet) -> None:
    seen: dict[str, str] = {}
    for clip in source.clips:
        other = seen.setdefault(key_of(clip.clip_id), clip.clip_id)
        if other != clip.clip_id:
            raise UserError(
                f"{source.folder}: clips '{other}' and '{clip.clip_id}' would both be sample '{key_of(clip.clip_id)}'; rename one"
            )


def _npy(values: np.ndarray) -> bytes:
    out = io.BytesIO()
    np.save(out, values, allow_pickle=False)
    return out.getvalue()
