"""Folders in the layout of the program that D2M-GAN's authors released, imported as shards."""

import io
from functools import cache
from pathlib import Path

import numpy as np
import soundfile
from hypothesis import strategies as st

from dataset_tools.lib.core.atomic import write_text
from dataset_tools.lib.core.layout import Layout
from dataset_tools.lib.shard_io.shard_set import ShardSet
from dataset_tools.shards.params import Params
from dataset_tools.shards.stage import import_released
from tests.fuzz.arrays import HEADERS, ODD_SHAPES
from tests.fuzz.case import SHARD_PEAK, Case, promise
from tests.fuzz.mutation import ODD_NUMBERS, ODD_TEXTS, damaged

NAMES = ("v1_s1_1_seg0", "v1_s1_1_seg1", "v2_s2_1_seg0")
SONGS = "song_id,genre\ns1,house\ns2,pop\n"


def folder(into: Path, out: Path) -> None:
    layout = Layout(root=out, corpus="own")
    write_text(layout.root / "manifests" / "own" / "songs.csv", SONGS)
    rows = import_released(layout, Params(workers=1), into)
    listed = {
        line.strip()
        for path in into.glob("*.txt")
        for line in path.read_bytes().decode("utf-8-sig", "replace").splitlines()
        if line.strip()
    }
    promise(len(rows) <= len(listed), "no more rows than segments are listed")
    ok = [row for row in rows if row.status == "ok"]
    found = {}
    for split in ("train", "val", "test"):
        if any(layout.stage("shards").glob(f"{split}-*.h5")):
            shards = ShardSet(layout.stage("shards"), split)
            found |= {clip.clip_id: shards.read(clip.clip_id) for clip in shards.clips}
    promise(set(found) == {row.id for row in ok}, "what is ok is in the shards")
    for window in found.values():
        for name, values in zip(window._fields, window, strict=True):
            promise(bool(np.isfinite(values).all()), f"{name} is finite")
        promise(window.pose.shape[0] == 60 and len(window.audio) == 60 * 735, "segments of 2 s")
        promise(bool((np.abs(window.audio) <= SHARD_PEAK).all()), "full scale of audio is 1")


READERS = {"folder": folder}


def _npy(values: np.ndarray) -> bytes:
    out = io.BytesIO()
    np.save(out, values)
    return out.getvalue()


@cache
def _wav(rate: int, channels: int, subtype: str, seconds: float, peak: float) -> bytes:
    out = io.BytesIO()
    audio = np.full((round(rate * seconds), channels), peak, np.float32)
    soundfile.write(out, audio, rate, format="WAV", subtype=subtype)
    return out.getvalue()


@cache
def _valid(motion: bool) -> dict[str, bytes]:
    rng = np.random.default_rng(0)
    files = {"train_segs.txt": f"{NAMES[0]}\n{NAMES[1]}\n".encode(), "test_segs.txt": f"{NAMES[2]}\n".encode()}
    for name in NAMES:
        files[f"audio_s2/{name}.wav"] = _wav(22050, 1, "PCM_16", 2.0, 0.3)
        files[f"motion_s2/{name}.npy"] = _npy(rng.random((120, 219) if motion else (60, 75)).astype(np.float32))
        files[f"video_s2/{name}.npy"] = _npy(rng.random((1, 2048)).astype(np.float32))
    return files


@st.composite
def _odd_file(draw, name: str, content: bytes) -> bytes:
    act = draw(st.sampled_from(("damaged", "damaged", "other", "other", "header")))
    if act == "damaged":
        return draw(damaged(content))
    if name.endswith(".txt"):
        line = draw(
            st.sampled_from(
                (
                    *ODD_TEXTS,
                    "x_seg0",
                    "../../../../../a_b_c_seg0",
                    "a_b_c_seg" + "9" * 60,
                    "a_/etc_c_seg0",
                    "v1_s1_1_seg0.npy",
                    "motion_s2/v1_s1_1_seg0",
                    "a_.._c_seg²",
                )
            )
        )
        return content + line.encode(errors="replace") + b"\n"
    if name.endswith(".wav"):
        return _wav(
            draw(st.sampled_from((22050, 22050, 44100, 1))), draw(st.sampled_from((1, 1, 2))), draw(st.sampled_from(("PCM_16", "FLOAT", "DOUBLE", "GSM610", "ULAW")) if act == "other" else st.just("FLOAT")),
            draw(st.sampled_from((2.0, 2.0, 1.9, 2.5, 0.0))), draw(st.sampled_from((0.3, 1.5, 1e30, float("nan")))),
        ) if act == "header" else _wav(22050, 1, "FLOAT", 2.0, draw(st.sampled_from((1.5, 1e30, float("nan"), -3.0))))  # fmt: skip
    if act == "header":
        header = draw(st.sampled_from(HEADERS)).encode() + b"\n"
        return b"\x93NUMPY\1\0" + len(header).to_bytes(2, "little") + header + content[128:]
    values = np.load(io.BytesIO(content)).astype(
        draw(st.sampled_from(("<f4", "<f8", "<f2", "<i8", "|b1", "<c8", "|S3")))
    )
    if draw(st.booleans()):
        return _npy(np.zeros(draw(st.sampled_from((*ODD_SHAPES, (4500,), (60, 25, 3), (2048,)))), values.dtype))
    if values.dtype.kind == "f":
        values.flat[draw(st.integers(0, values.size - 1))] = float(
            draw(st.sampled_from([n for n in ODD_NUMBERS if isinstance(n, float)]))
        )
    return _npy(values)


@st.composite
def cases(draw) -> Case:
    files = dict(_valid(draw(st.booleans())))
    for name in draw(st.lists(st.sampled_from(sorted(files)), min_size=0, max_size=3, unique=True)):
        if draw(st.integers(0, 7)):
            files[name] = draw(_odd_file(name, files[name]))
        else:
            del files[name]
    return Case("folder", files)
