"""Arrays of anyone's .npy and .npz files: what fits its bytes is read as written, everything else is one line, at once."""

import io
import os
import resource
import struct
import zipfile
import zlib

import numpy as np
import pytest

from dataset_tools.lib.core import limits
from dataset_tools.lib.core.array_file import read_npy, read_npz
from dataset_tools.lib.core.errors import UserError


def npy(header: str | bytes, data: bytes = bytes(64), version: bytes = b"\x01\x00") -> bytes:
    text = header if isinstance(header, bytes) else header.encode()
    return b"\x93NUMPY" + version + struct.pack("<H" if version[0] == 1 else "<I", len(text)) + text + data


def of(shape: str, descr: str = "'<f4'") -> bytes:
    return npy(f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}}}\n")


def bytes_of(array: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


@pytest.mark.parametrize("kind", ["?", "i1", ">i4", "u8", "f2", "<f4", ">f8"])
@pytest.mark.parametrize("shape", [(), (0,), (3,), (2, 3, 4), (0, 17, 3)])
@pytest.mark.parametrize("order", ["C", "F"])
def test_numbers_are_read_as_numpy_wrote_them(tmp_path, kind, shape, order):
    array = np.asarray(np.arange(np.prod(shape)).reshape(shape).astype(kind), order=order)
    np.save(tmp_path / "a.npy", array)
    np.savez_compressed(tmp_path / "a.npz", a=array, b=array, other=np.array(["text"]))
    for found in (read_npy(tmp_path / "a.npy"), read_npz(tmp_path / "a.npz", ("a",), ("b", "none"))["b"]):
        assert found.dtype == array.dtype and found.shape == array.shape and np.array_equal(found, array)
    assert set(read_npz(tmp_path / "a.npz", (), ("none",))) == set()


BAD = {
    "unclosed": of("(4, 17, 3"),
    "brackets": of("(" * 5000 + ")" * 5000),
    "minus signs": of("(" + "-" * 9000 + "1,)"),
    "no dict": npy("7\n"),
    "a call": npy("__import__('os').mkdir('ran')\n"),
    "nothing": npy(""),
    "not text": npy(b"\xff\xfe\x00\x01"),
    "text in the shape": of("('3',)"),
    "truth in the shape": of("(True, False, 10**9)"),
    "negative": of("(-4, 17, 3)"),
    "two negatives": of("(-2, -2)"),
    "vast": of("(99999999999999999999999, 17, 3)"),
    "vast and empty": of(f"({10**30}, 0)"),
    "beyond int64": of("(4611686018427387904, 17, 3)"),
    "more than there is": of("(999,)"),
    "many axes": of("(" + "1," * 60 + ")"),
    "objects": of("(1,)", "'|O'"),
    "text": of("(1,)", "'<U4'"),
    "bytes": of("(1,)", "'|S4'"),
    "nothing each": of("(9999999999,)", "'|V0'"),
    "records": of("(1,)", "[('a', '<f4')]"),
    "a nest of records": of("(1,)", "[('a', " * 40 + "'<f4'" + ")]" * 40),
    "complex": of("(1,)", "'<c8'"),
    "dates": of("(1,)", "'<M8[s]'"),
    "no such type": of("(1,)", "'<f3'"),
    "version 3": npy("{'descr': '<f4', 'fortran_order': False, 'shape': (1,)}\n", version=b"\x03\x00"),
    "version 9": npy("{'descr': '<f4', 'fortran_order': False, 'shape': (1,)}\n", version=b"\x09\x00"),
    "a header of gigabytes": b"\x93NUMPY\x02\x00\xff\xff\xff\xff{",
    "cut in the header": bytes_of(np.ones(3))[:40],
    "cut in the magic": b"\x93NUM",
    "empty": b"",
    "a pickle": b"\x80\x04K\x01.",
    "a page": b"<html>404</html>",
}


@pytest.mark.parametrize("name", BAD)
@pytest.mark.parametrize("packed", [False, True])
def test_odd_headers_are_one_line_at_once(tmp_path, monkeypatch, recwarn, name, packed):
    monkeypatch.chdir(tmp_path)
    if packed:
        with zipfile.ZipFile("a.npz", "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("a.npy", BAD[name])
    else:
        (tmp_path / "a.npy").write_bytes(BAD[name])
    with pytest.raises(UserError, match=r"a\.np[yz]: ") as caught:
        read_npz(tmp_path / "a.npz", ("a",)) if packed else read_npy(tmp_path / "a.npy")
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 400
    assert not (tmp_path / "ran").exists() and not recwarn.list


def damaged_archives():
    buffer = io.BytesIO()
    np.savez_compressed(buffer, a=np.arange(1000.0))
    good = buffer.getvalue()
    yield "cut", good[: len(good) // 2]
    yield "no archive", b"PK\x03\x04" + bytes(100)
    yield "a wrong sum", good.replace(good[60:64], b"\x00\x01\x02\x03", 1)
    yield "another method", good.replace(struct.pack("<H", 8) + good[10:14], struct.pack("<H", 99) + good[10:14])
    flags = bytearray(good)
    for place in (6, good.index(b"PK\x01\x02") + 8):
        flags[place] |= 1
    yield "a password", bytes(flags)
    for method, what in ((zipfile.ZIP_BZIP2, "bzip2"), (zipfile.ZIP_LZMA, "lzma")):
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w", method) as archive:
            archive.writestr("a.npy", bytes_of(np.ones(3)))
        yield what, buffer.getvalue()


ARCHIVES = dict(damaged_archives())


@pytest.mark.parametrize("name", ARCHIVES)
def test_damaged_archives_are_one_line(tmp_path, name):
    (tmp_path / "a.npz").write_bytes(ARCHIVES[name])
    with pytest.raises(UserError, match=r"a\.npz: ") as caught:
        read_npz(tmp_path / "a.npz", ("a",))
    assert "\n" not in str(caught.value)


def test_what_is_missing_is_named(tmp_path):
    np.savez(tmp_path / "a.npz", beats=np.ones(2))
    with pytest.raises(UserError, match=r"a\.npz: 'keypoints' is missing; found beats"):
        read_npz(tmp_path / "a.npz", ("keypoints",))


def test_a_part_that_unpacks_to_gigabytes_is_refused_before_it_is_unpacked(tmp_path):
    """3 GB of zeros in 3 MB: the archive says how much, and that is believed only where it is little."""
    size, block, packer = 3 << 30, bytes(1 << 24), zlib.compressobj(9, zlib.DEFLATED, -15)
    data = (
        b"".join(packer.compress(block) for _ in range(4)) + packer.flush()
    )  # 64 MB are enough: it must not be unpacked
    name = b"a.npy"
    local = struct.pack("<4s5H3L2H", b"PK\x03\x04", 20, 0, 8, 0, 0, 0, len(data), size, len(name), 0) + name
    central = (
        struct.pack("<4s6H3L5H2L", b"PK\x01\x02", 20, 20, 0, 8, 0, 0, 0, len(data), size, len(name), 0, 0, 0, 0, 0, 0)
        + name
    )
    end = struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, 1, 1, len(central), len(local) + len(data), 0)
    (tmp_path / "a.npz").write_bytes(local + data + central + end)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(UserError, match=f"{size} bytes of arrays; at most {limits.ARRAY_BYTES} are unpacked"):
        read_npz(tmp_path / "a.npz", ("a",))
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 40 << 10  # KB


def test_pipes_folders_and_circles_are_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe.npy")
    (tmp_path / "folder.npy").mkdir()
    (tmp_path / "circle.npy").symlink_to(tmp_path / "circle.npy")
    (tmp_path / "zero.npy").symlink_to("/dev/zero")
    for name, rule in (
        ("pipe", "a pipe, socket or device, not a file"), ("folder", "a folder, not a file"), ("zero", "a pipe, socket or device, not a file"),
        ("circle", "Too many levels of symbolic links"), ("none", "file not found"),
    ):  # fmt: skip
        for read in (read_npy, lambda path: read_npz(path, ("a",))):
            with pytest.raises(UserError, match=rf"{name}\.npy: {rule}"):
                read(tmp_path / f"{name}.npy")
