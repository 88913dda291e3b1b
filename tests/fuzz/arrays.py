"""Arrays of numpy: .npy and .npz with odd headers, types and sizes, and pickles of arrays."""

import io
import pickle
from functools import cache, partial
from pathlib import Path

import numpy as np
from hypothesis import strategies as st

from d2m_model.metrics.inputs import true_beats
from dataset_tools.lib.aist.annotations import read_keypoints, read_motion
from dataset_tools.lib.shard_io import stream_files
from tests.fuzz.case import Case, promise, refusing
from tests.fuzz.json_files import pose
from tests.fuzz.mutation import ODD_NUMBERS, damaged, rezipped

HEADERS = (
    "{'descr': '<f4', 'fortran_order': False, 'shape': (9999999999, 17, 3), }", "{'descr': '<f4', 'fortran_order': False, 'shape': (-1, 17, 3), }",
    "{'descr': '|O', 'fortran_order': False, 'shape': (2, 17, 3), }", "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 17, 3, ", "(" * 200,
    "{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (2, 17, 3), }", "{'descr': '<M8[s]', 'fortran_order': 1, 'shape': (2, 17, 3), }",
    "{'descr': '<U9', 'fortran_order': False, 'shape': (), }", "{}", "[]", "{'descr': 3, 'fortran_order': None, 'shape': 'x', }", "'''",
    "{'descr': '<V0', 'fortran_order': False, 'shape': (999999999, 99999999), }", "{'descr': '<c8', 'fortran_order': False, 'shape': (2, 17, 3), }",
    "{'descr': '<f2', 'fortran_order': True, 'shape': (2, 17, 3), }", "{'descr': '>f8', 'fortran_order': False, 'shape': (1, 17, 3), }", "{'descr': '<f4',\\\n",
)  # fmt: skip
TYPES = ("<f4", "<f4", "<f8", ">f4", "<f2", "<i8", "|u1", "|b1", "<c16", "<U3", "|S2", "<M8[s]", "|V4")
SHAPES = {
    "pose": ((4, 2, 17, 3), (4, 17, 3), (4, 25, 3), (4, 133, 3)), "clip pose": ((4, 2, 17, 3), (4, 1, 25, 3)),
    "clip i3d": ((2, 2048),), "clip motion": ((4, 2, 219),),
}  # fmt: skip
ODD_SHAPES = (
    (),
    (0,),
    (1,),
    (4, 17),
    (0, 17, 3),
    (4, 0, 17, 3),
    (4, 65, 17, 3),
    (4, 2, 16, 3),
    (2, 2047),
    (4, 0, 219),
    (1,) * 32,
)


def clip_stream(into: Path, _out: Path, read: str, ndim: int) -> None:
    with refusing(ValueError, OSError, RuntimeError):  # as stream_files promises
        found = getattr(stream_files, read)(into / "array.npy")
    promise(found.dtype == np.float32 and found.ndim == ndim, "float32 of the declared axes")
    found.sum()  # mapped: what the header says must be there


def motion(into: Path, _out: Path) -> None:
    found = read_motion(into / "array.pkl")
    promise(
        found.dtype == np.float32 and found.ndim == 2 and found.shape[1] == 219 and len(found) > 0, "float32 (N, 219)"
    )
    promise(bool(np.isfinite(found).all()), "numbers are finite")


def keypoints(into: Path, _out: Path) -> None:
    found = read_keypoints(into / "array.pkl", 1)
    promise(found.dtype == np.float32 and found.ndim == 3 and found.shape[1:] == (17, 3), "float32 (N, 17, 3)")
    promise(bool(np.isfinite(found).all()), "numbers are finite")
    promise(bool(((found[..., 2] >= 0) & (found[..., 2] <= 1)).all()), "confidence within 0..1")


def beats(into: Path, _out: Path) -> None:
    for found in true_beats(into, ["clip"]).values():
        promise(
            isinstance(found, np.ndarray) and found.ndim == 1 and found.dtype.kind in "fiu",
            f"numbers (n,), found {getattr(found, 'dtype', '?')} {getattr(found, 'shape', '?')}",
        )
        promise(bool(np.isfinite(found).all() and (np.diff(found) > 0).all()), "beats ascend")


READERS = {
    "pose": partial(pose, name="array.npy"), "pose pickle": partial(pose, name="array.pkl"),
    "clip pose": partial(clip_stream, read="read_pose", ndim=4), "clip i3d": partial(clip_stream, read="read_i3d", ndim=2),
    "clip motion": partial(clip_stream, read="read_motion", ndim=3), "motion": motion, "keypoints": keypoints, "true beats": beats,
}  # fmt: skip


def _npy(values: np.ndarray) -> bytes:
    out = io.BytesIO()
    np.save(out, values)
    return out.getvalue()


def _npz(**arrays: np.ndarray) -> bytes:
    out = io.BytesIO()
    np.savez(out, **arrays)
    return out.getvalue()


@st.composite
def _array(draw, shapes: tuple[tuple[int, ...], ...]) -> np.ndarray:
    shape = draw(st.sampled_from(shapes)) if draw(st.integers(0, 3)) else draw(st.sampled_from(ODD_SHAPES))
    kind = np.dtype(draw(st.sampled_from(TYPES)))
    values = np.random.default_rng(draw(st.integers(0, 3))).uniform(0, 100, shape)
    with np.errstate(all="ignore"):
        if values.size and not draw(st.integers(0, 2)):
            values.flat[draw(st.integers(0, values.size - 1))] = float(
                draw(st.sampled_from([n for n in ODD_NUMBERS if isinstance(n, float)]))
            )
        if kind.kind in "USV":
            return np.zeros(shape, kind)
        return values.astype("<i8").astype(kind) if kind.kind == "M" else values.astype(kind)


@cache
def _pickles() -> dict[str, tuple[bytes, ...]]:
    dances = {
        "smpl_poses": np.zeros((4, 72)),
        "smpl_trans": np.ones((4, 3)),
        "smpl_scaling": np.array([93.7]),
        "smpl_loss": 0.1,
    }
    points = {"keypoints2d": np.full((9, 4, 17, 3), 0.5), "timestamps": np.arange(4), "det_scores": np.ones((9, 4))}
    return {
        name: tuple(pickle.dumps(content, protocol) for protocol in (0, 2, 4, 5))
        for name, content in {"motion": dances, "keypoints": points, "pose pickle": points}.items()
    }


@st.composite
def _odd_pickle(draw, reader: str) -> bytes:
    key = "smpl_trans" if reader == "motion" else "keypoints2d"
    content = pickle.loads(_pickles()[reader][2])
    content[key] = draw(
        st.one_of(
            _array(((4, 3), (9, 4, 17, 3))), st.sampled_from(ODD_NUMBERS), st.just([1, 2]), st.just(len), st.just(set())
        )
    )
    if reader == "motion" and draw(st.booleans()):
        content["smpl_scaling"] = np.array([draw(st.sampled_from((0.0, 1e-300, 1e39, -1.0, float("nan"))))])
    return pickle.dumps(content, draw(st.sampled_from((2, 4))))


@st.composite
def cases(draw) -> Case:
    reader = draw(st.sampled_from(tuple(READERS)))
    if reader in _pickles():
        content = draw(st.sampled_from(_pickles()[reader])) if draw(st.booleans()) else draw(_odd_pickle(reader))
    elif reader == "true beats":
        content = (
            _npz(beats=np.arange(4) / 2, downbeats=np.zeros(1))
            if draw(st.booleans())
            else _npz(**{draw(st.sampled_from(("beats", "x"))): draw(_array(((4,), (4, 2))))})
        )
        content = draw(rezipped(content)) if draw(st.booleans()) else content
    elif draw(st.integers(0, 2)):
        content = _npy(draw(_array(SHAPES[reader])))
    else:
        header = draw(st.sampled_from(HEADERS)).encode() + b"\n"
        content = (
            b"\x93NUMPY"
            + draw(st.sampled_from((b"\1\0", b"\2\0", b"\3\0", b"\\9\0")))
            + len(header).to_bytes(2, "little")
            + header
            + bytes(512)
        )
    if not draw(st.integers(0, 2)):
        content = draw(damaged(content))
    name = {"true beats": "clip.npz"}.get(reader, "array.pkl" if reader in _pickles() else "array.npy")
    return Case(reader, {name: content})
