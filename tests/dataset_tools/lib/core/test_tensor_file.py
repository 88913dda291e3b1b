"""Files of torch.save from anyone: plain tensors are read, zip or older; what else a pickle or an archive can do is one line."""

import os
import pickle
import time
import zipfile
from collections import Counter, OrderedDict

import numpy as np
import pytest
import torch
from torch import nn

from dataset_tools.lib.core import limits
from dataset_tools.lib.core.errors import UserError
from dataset_tools.lib.core.tensor_file import LEGACY_MAGIC, meta_state_dict, read_tensors

KINDS = (
    torch.float32,
    torch.float64,
    torch.float16,
    torch.bfloat16,
    torch.int64,
    torch.int32,
    torch.int16,
    torch.int8,
    torch.uint8,
    torch.bool,
)


class Calls:
    """Pickles as a call of `what`."""

    def __init__(self, what, *arguments):
        self.told = what, arguments

    def __reduce__(self):
        return self.told


def state():
    tensors = {str(kind): torch.ones(2, 3).to(kind) for kind in KINDS}
    several = nn.Linear(2, 3).state_dict()  # an OrderedDict with torch's own notes
    plain = {
        "text": "ü\n",
        "whole": [1, -1, 10**12, 2**70],
        "part": 1.5,
        "none": None,
        "truth": [True, False],
        "pair": (1, (2, 3), ()),
    }
    shared = torch.arange(6.0)
    return {
        "tensors": tensors,
        "net": several,
        "parameter": nn.Parameter(torch.ones(2)),
        "view": shared[2:4],
        "all": shared,
        "empty": torch.empty(0, 3),
        "number": torch.tensor(2.5),
        "size": torch.Size([2]),
        "set": {1},
    } | plain


def same(found, expected):
    if isinstance(expected, torch.Tensor):
        return found.dtype == expected.dtype and torch.equal(found, expected)
    if isinstance(expected, dict):
        return list(found) == list(expected) and all(same(found[key], value) for key, value in expected.items())
    return found == expected


@pytest.mark.parametrize("as_zip", [True, False])
def test_plain_tensors_numbers_and_texts_are_read(tmp_path, as_zip):
    content = state()
    torch.save(content, tmp_path / "a.pt", _use_new_zipfile_serialization=as_zip)
    assert (tmp_path / "a.pt").read_bytes().startswith(b"PK" if as_zip else LEGACY_MAGIC)
    assert same(read_tensors(tmp_path / "a.pt"), content)


def nested(levels):
    """A tuple of which every part holds the one before twice: 2 to the power of `levels` ones to hash or to print."""
    pair = (1,)
    for _ in range(levels):
        pair = (pair, pair)
    return pair


def odd_contents(folder):
    with np.errstate(all="ignore"):
        quantised = torch.quantize_per_tensor(torch.ones(3), 0.1, 0, torch.quint8)
    yield "meta", {"a": torch.zeros(3, device="meta")}, "it holds more than tensors"
    yield "quantised", {"a": quantised}, "it holds more than tensors"
    yield "sparse", {"a": torch.ones(3).to_sparse()}, "it holds more than tensors"
    yield (
        "complex",
        {"a": torch.ones(3, dtype=torch.complex64)},
        "holds a tensor of torch.complex64 on 'cpu', not of plain real numbers",
    )
    yield "deep inside", {"a": [({"b": torch.ones(3, dtype=torch.complex128)},)]}, "holds a tensor of torch.complex128"
    yield "nan", {"a": torch.tensor([1.0, torch.nan])}, "holds NaN or infinite weights"
    yield "nan in half", {"a": torch.tensor([1.0, torch.inf]).half()}, "holds NaN or infinite weights"
    yield "above float32", {"a": torch.tensor([1e300], dtype=torch.float64)}, "holds NaN or infinite weights"
    yield (
        "stretched",
        {"a": torch.zeros(1).expand(10**9)},
        r"tensors larger than their numbers in the file: \(1000000000,\) of 4 bytes",
    )
    one = torch.zeros(1 << 20)
    yield "shared too often", {str(n): one[:] for n in range(1000)}, "tensors larger than their numbers"
    yield "bytes", {"a": bytearray(5)}, r"it holds more than tensors \((__builtin__|builtins)\.bytearray\)"
    yield (
        "gigabytes",
        {"a": Calls(bytearray, 10**11)},
        r"it holds more than tensors \((__builtin__|builtins)\.bytearray\)",
    )
    yield (
        "code",
        {"a": Calls(os.mkdir, str(folder / "ran"))},
        r"it holds more than tensors \((posix|nt)\.mkdir\), which would need code of its own to be read",
    )
    yield "a count", {"a": Counter("abc")}, r"it holds more than tensors \(collections\.Counter\)"
    yield "a number of numpy", {"a": np.float64(3)}, "it holds more than tensors"
    yield (
        "tuples without end",
        Calls(OrderedDict, [(nested(40), 1)]),
        f"tuples of over {limits.TENSOR_NEST} values in each other",
    )
    yield "a list of them", [nested(40)], f"tuples of over {limits.TENSOR_NEST} values in each other"


ODD = (
    "meta",
    "quantised",
    "sparse",
    "complex",
    "deep inside",
    "nan",
    "nan in half",
    "above float32",
    "stretched",
    "shared too often",
    "bytes",
    "gigabytes",
    "code",
    "a count",
    "a number of numpy",
    "tuples without end",
    "a list of them",
)


@pytest.mark.parametrize("what", ODD)
@pytest.mark.filterwarnings("ignore")
def test_what_is_no_plain_tensor_is_named_and_nothing_runs(tmp_path, what):
    content, rule = next((content, rule) for name, content, rule in odd_contents(tmp_path) if name == what)
    torch.save(content, tmp_path / "a.pt")
    began = time.process_time()
    with pytest.raises(UserError, match=rf"a\.pt: {rule}") as caught:
        read_tensors(tmp_path / "a.pt")
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 400 and not (tmp_path / "ran").exists()
    assert time.process_time() - began < 5


def test_lists_that_hold_themselves_or_nest_deep_are_walked_once(tmp_path):
    circle, deep = [torch.ones(2)], [torch.ones(2)]
    circle.append(circle)
    for _ in range(200):
        deep = [deep, deep]
    torch.save({"circle": circle, "deep": deep}, tmp_path / "a.pt")
    assert torch.equal(read_tensors(tmp_path / "a.pt")["circle"][0], torch.ones(2))


def test_a_caller_may_allow_names_stretched_tensors_and_nan(tmp_path):
    torch.save({"a": np.float64(3)}, tmp_path / "numpy.pt")
    known = {
        "numpy.dtype": np.dtype,
        "numpy._core.multiarray.scalar": np._core.multiarray.scalar,
        "_codecs.encode": None,
    }
    assert read_tensors(tmp_path / "numpy.pt", allow=known.get) == {"a": 3.0}
    torch.save({"a": torch.zeros(1).expand(10**7), "b": torch.tensor(torch.nan)}, tmp_path / "stretched.pt")
    found = read_tensors(tmp_path / "stretched.pt", expanded=True, finite=False)
    assert found["a"].shape == (10**7,) and found["b"].isnan()


def repacked(path, out, change, method=zipfile.ZIP_STORED):
    """The archive with its parts' bytes changed."""
    with zipfile.ZipFile(path) as known, zipfile.ZipFile(out, "w", method) as made:
        for part in known.infolist():
            made.writestr(part.filename, change(part.filename, known.read(part)))


def test_archives_that_lie(tmp_path):
    good = tmp_path / "good.pt"
    torch.save({"a": torch.arange(1000.0)}, good)
    keep = lambda name, data: data
    repacked(good, tmp_path / "packed.pt", keep, zipfile.ZIP_DEFLATED)
    repacked(good, tmp_path / "short.pt", lambda name, data: data[:40] if name.endswith("data/0") else data)
    repacked(good, tmp_path / "pickle.pt", lambda name, data: b"(" * 100 if name.endswith("data.pkl") else data)
    repacked(
        good,
        tmp_path / "steps.pt",
        lambda name, data: b"N" * (limits.TENSOR_STEPS + 10) if name.endswith("data.pkl") else data,
    )
    with zipfile.ZipFile(tmp_path / "other.pt", "w") as archive:
        archive.writestr("word/document.xml", "<a/>")
    whole = good.read_bytes()
    (tmp_path / "cut.pt").write_bytes(whole[: len(whole) // 2])
    for name, rule in (
        ("packed", "its parts are compressed, which torch.save does not do"), ("short", "not a readable file of torch.save"),
        ("pickle", "not a readable file of torch.save"), ("steps", f"a pickle of over {limits.TENSOR_STEPS} steps"),
        ("other", "not a readable file of torch.save"), ("cut", "not a readable file of torch.save"),
    ):  # fmt: skip
        with pytest.raises(UserError, match=rf"{name}\.pt: {rule}") as caught:
            read_tensors(tmp_path / f"{name}.pt")
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"PK",
        b"<html>404</html>",
        b"\x80\x02}q\x00.",
        LEGACY_MAGIC,
        LEGACY_MAGIC + b"\x80\x02.",
        pickle.dumps({"a": 1}),
        b"ustar" * 200,
        bytes(1000),
    ],
)
def test_other_files_are_one_line(tmp_path, content):
    (tmp_path / "a.pt").write_bytes(content)
    with pytest.raises(UserError, match=r"a\.pt: not a (readable )?file of torch\.save") as caught:
        read_tensors(tmp_path / "a.pt")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("seed", range(40))
@pytest.mark.parametrize("as_zip", [True, False])
@pytest.mark.filterwarnings("ignore")
def test_changed_bytes_are_one_line_or_plain_tensors(tmp_path, seed, as_zip):
    torch.save(
        {"state": OrderedDict(a=torch.ones(3), b=torch.zeros(2, 2)), "meta": [1, 2.5, "x"]},
        tmp_path / "a.pt",
        _use_new_zipfile_serialization=as_zip,
    )
    data, rng = bytearray((tmp_path / "a.pt").read_bytes()), np.random.default_rng(seed)
    for _ in range(int(rng.integers(1, 8))):
        data[int(rng.integers(min(len(data), 500)))] = int(rng.integers(256))
    (tmp_path / "a.pt").write_bytes(data)
    try:
        read_tensors(tmp_path / "a.pt")
    except UserError as err:
        assert "\n" not in str(err) and str(err).startswith(f"{tmp_path / 'a.pt'}: ")


def test_an_outline_costs_what_the_weights_do():
    stack = lambda depth, width: lambda: nn.Sequential(*(nn.Linear(width, width) for _ in range(depth)))
    made = meta_state_dict(stack(3, 4), {})
    assert {name: tuple(t.shape) for name, t in made.items()} == {
        f"{n}.{part}": shape for n in range(3) for part, shape in (("weight", (4, 4)), ("bias", (4,)))
    }
    assert all(t.device.type == "meta" for t in made.values())
    assert meta_state_dict(stack(2, 10**6), {})["0.weight"].shape == (10**6, 10**6)  # 4 TB
    with pytest.raises(ValueError, match="its sizes describe a network with far more than the 6 tensors in the file"):
        meta_state_dict(stack(10**7, 4), made)
    assert len(meta_state_dict(stack(3, 4), {})) == 6, "the count ends with the call"
