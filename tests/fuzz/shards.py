"""Shards: HDF5 files damaged, and well-made ones with odd names, attributes, streams and numbers; and their way into others' layouts."""

import io
import tempfile
from functools import cache, partial
from pathlib import Path

import h5py
import numpy as np
from hypothesis import strategies as st

from dataset_tools.lib.shard_io.shard_check import validate_shard
from dataset_tools.lib.shard_io.shard_set import ShardSet
from dataset_tools.shards.released_layout import export_released, find_segments, load_segment
from dataset_tools.shards.tar_samples import export_tars
from tests.fuzz.case import NAME, SHARD_PEAK, Case, promise, refusing
from tests.fuzz.mutation import ODD_NUMBERS, ODD_TEXTS, damaged
from tests.helpers.builders import build_shards

SHARD = "train-00000.h5"


def read(into: Path, _out: Path) -> None:
    info = validate_shard(into / SHARD, deep=True)
    shards = ShardSet(into, "train")
    promise(1 <= info.people <= 64 and len(info.clips) == len(shards.clips) > 0, "people and clips")
    for clip in shards.clips:
        promise(bool(NAME.fullmatch(clip.clip_id)), "ids are names")
        promise(
            clip.width > 0 and clip.height > 0 and clip.frames > 0,
            f"a picture of {clip.width} x {clip.height}, {clip.frames} frames",
        )
        promise(
            bool(NAME.fullmatch(clip.song)) and (clip.genre + "x").isprintable(),
            f"song {clip.song!r}, genre {clip.genre!r}",
        )
        window = shards.read(clip.clip_id)
        promise(
            window.pose.shape[0] == clip.frames and len(window.audio) == clip.frames * 735,
            "streams are as long as the clip",
        )
        for name, values in zip(window._fields, window, strict=True):
            promise(values.dtype == np.float32 and bool(np.isfinite(values).all()), f"{name} is of finite float32")
        promise(bool((np.abs(window.audio) <= SHARD_PEAK).all()), "full scale of audio is 1")
        confidence = window.pose[..., 2]
        promise(bool(((confidence >= 0) & (confidence <= 2)).all()), "confidence is from 0, about 1 at most")


def export(into: Path, out: Path, to: str) -> None:
    written = (export_released if to == "released" else export_tars)(into, out / "there")
    if to == "released":
        segments = find_segments(out / "there")
        promise(len(segments) == sum(written.values()), f"{written} segments were written, {len(segments)} are listed")
        for segment in segments:
            with refusing(ValueError):
                load_segment(out / "there", segment, "house")


READERS = {"read": read, "export released": partial(export, to="released"), "export tars": partial(export, to="tars")}


@cache
def _valid(motion_rate: int) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        build_shards(Path(folder), clips=2, seconds=2, people=1, motion_rate=motion_rate)
        return (Path(folder) / SHARD).read_bytes()


def _odd_attribute(draw):
    text = draw(st.sampled_from(ODD_TEXTS) | st.text(max_size=8)).encode(errors="replace")
    return draw(
        st.sampled_from(
            (
                np.bytes_(text),
                text.decode(errors="replace").replace("\0", ""),
                *(np.int64(n) for n in ODD_NUMBERS if isinstance(n, int) and abs(n) < 1 << 63),
                np.float64(1.5),
                np.array([1, 2]),
                np.bytes_(b"\xff\xfe"),
                np.bytes_(b""),
                np.int8(-1),
                np.uint64((1 << 64) - 1),
                np.bool_(True),
                h5py.Empty("f4"),
                np.array([b"a", b"b"]),
            )
        )
    )


def _alter(draw, shard: h5py.File) -> None:
    """One oddity of a well-made file."""
    clip = shard[draw(st.sampled_from(sorted(shard)))] if len(shard) else shard
    act = draw(
        st.sampled_from(
            (
                "attribute",
                "attribute",
                "attribute",
                "song",
                "song",
                "number",
                "number",
                "stream",
                "name",
                "link",
                "filter",
                "type",
            )
        )
    )
    stream = draw(st.sampled_from(sorted(clip))) if isinstance(clip, h5py.Group) and len(clip) else ""
    if act == "attribute":
        target = draw(st.sampled_from((shard, clip)))
        if len(target.attrs):
            target.attrs[draw(st.sampled_from(sorted(target.attrs)))] = _odd_attribute(draw)
    elif act == "song":
        text = draw(
            st.sampled_from(("../../../../../X", "a\nb_seg0", "é", "/tmp/x", "a_b", "", "x" * 300, "..", "a/b", " "))
        )
        clip.attrs[draw(st.sampled_from(("song", "song", "genre")))] = np.bytes_(text.encode())
    elif act == "number" and stream:
        data = clip[stream]
        if isinstance(data, h5py.Dataset) and data.size and data.dtype.kind == "f":
            place = tuple(draw(st.integers(0, n - 1)) for n in data.shape)
            data[place] = np.float32(float(draw(st.sampled_from([n for n in ODD_NUMBERS if isinstance(n, float)]))))
    elif act == "stream" and stream:
        del clip[stream]
        if draw(st.booleans()):
            shape = draw(st.sampled_from(((), (0,), (60,), (60, 1, 17, 3), (60, 0, 17, 3), (2, 2048), (1 << 40,))))
            clip.create_dataset(stream, shape, "<f4", chunks=True if shape and shape[0] > 60 else None)
    elif act == "name":
        shard.move(clip.name, draw(st.sampled_from(("a b", "é", "..x", ".hidden", "x" * 200, "c\n"))))
    elif act == "link" and stream:
        del clip[stream]
        clip[stream] = draw(
            st.sampled_from(
                (h5py.SoftLink("/clip_000/pose"), h5py.ExternalLink("/etc/passwd", "/x"), h5py.SoftLink(clip.name))
            )
        )
    elif act == "filter" and stream:
        values = clip[stream][...]
        del clip[stream]
        clip.create_dataset(
            stream,
            data=values,
            chunks=values.shape,
            **draw(st.sampled_from(({"compression": "gzip"}, {"shuffle": True}, {}))),
        )
    elif act == "type":
        name = draw(st.sampled_from(("fps", "extra", "schema")))
        kind = draw(
            st.sampled_from((h5py.h5t.UNIX_D32LE, h5py.h5t.STD_REF_OBJ, h5py.h5t.STD_B8LE, h5py.h5t.IEEE_F16LE))
        )
        if name in shard.attrs:
            del shard.attrs[name]
        h5py.h5a.create(shard.id, name.encode(), kind, h5py.h5s.create(h5py.h5s.SCALAR))


@st.composite
def cases(draw) -> Case:
    content = _valid(draw(st.sampled_from((0, 0, 60))))
    if draw(st.integers(0, 3)):
        memory = io.BytesIO(content)
        with h5py.File(memory, "r+") as shard:
            for _ in range(draw(st.integers(1, 3))):
                try:
                    _alter(draw, shard)
                except (
                    OSError,
                    ValueError,
                    TypeError,
                    KeyError,
                    RuntimeError,
                    AttributeError,
                ):  # HDF5 does not write that
                    continue
        content = memory.getvalue()
    else:
        content = draw(damaged(content))
    return Case(draw(st.sampled_from(("read", "read", *READERS))), {SHARD: content})
