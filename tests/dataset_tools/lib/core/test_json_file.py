"""JSON of anyone: what it takes in memory is known before it is parsed."""

import json
import os

import pytest

from d2m_model.rhythm.beats_file import read_beats
from dataset_tools.lib.core import limits
from dataset_tools.lib.core.errors import UserError
from dataset_tools.lib.core.json_file import parse_json, read_json

PLAIN = {"a": [1, 2.5, None, True, "ü [ { ,", {"b": []}], "c": {}}


@pytest.mark.parametrize("coding", ["utf-8", "utf-8-sig", "utf-16"])
def test_json_is_read(tmp_path, coding):
    (tmp_path / "a.json").write_bytes(json.dumps(PLAIN, ensure_ascii=False).encode(coding))
    assert read_json(tmp_path / "a.json") == PLAIN


@pytest.mark.parametrize(
    ("data", "rule"),
    [
        (b"", "not JSON"), (b"{", "not JSON"), (b"\xff\x00\xff", "not JSON"), (b"nothing", "not JSON"), (b"9" * 5000, "not JSON"),
        (b"[" * 100 + b"]" * 100, "nested more than 64 deep"), (b"[" * 4000 + b"]" * 4000, "nested more than 64 deep"),
        (b'{"a":' * 900 + b"1" + b"}" * 900, "nested more than 64 deep"),
        (b"[" + b"[]," * ((1 << 22) + 2) + b"0]", "over 4194304 lists"), (b"[" + b"{}," * ((1 << 20) + 2) + b"0]", "over 1048576 objects"),
        (b"[" + b"0," * ((1 << 24) + 2) + b"0]", "over 16777216 values"),
    ],
)  # fmt: skip
def test_what_is_no_json_or_too_much_is_one_line(tmp_path, data, rule):
    with pytest.raises(UserError, match=f"where: {rule}") as caught:
        parse_json(data, "where")
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 300


def test_size_and_kind_of_file(tmp_path):
    (tmp_path / "a.json").write_bytes(b"[" + b" " * 100 + b"]")
    with pytest.raises(UserError, match=r"a\.json: \d+ bytes; such a file may have at most 100"):
        read_json(tmp_path / "a.json", 100)
    os.mkfifo(tmp_path / "pipe.json")
    (tmp_path / "circle.json").symlink_to("circle.json")
    (tmp_path / "folder.json").mkdir()
    for name in ("pipe", "circle", "folder", "none"):
        with pytest.raises(UserError, match=rf"{name}\.json: "):
            read_json(tmp_path / f"{name}.json")


@pytest.mark.parametrize(
    "text",
    [
        '{"beats": [0.5, 1], "fps": ' + "[" * 60 + "]" * 60 + "}", '{"beats": ' + "[" * 60 + "]" * 60 + "}", '{"beats": [1e999]}', '{"beats": [NaN]}',
        '{"beats": [0.5, 1], "style": {"a": ' + "[" * 60 + "]" * 60 + "}}", '{"beats": {"0": 1}}', '{"beats": [0.5, true]}', '{"beats": [1, 0.5]}', '{"beats": [-1, 1]}',
        '{"beats": [0.5, 1], "tempo": 1e999}', '{"beats": [0.5, 1], "seconds": "2"}', '{"beats": [0.5, 1], "strength": [2, 1]}', '{"beats": [0.5, 1], "downbeats": 7}',
        "[0.5, 1]", '"beats"', "null",
    ],
)  # fmt: skip
def test_beats_that_are_none_are_one_line(tmp_path, text):
    (tmp_path / "b.json").write_text(text)
    with pytest.raises(UserError, match=r"b\.json: ") as caught:
        read_beats(tmp_path / "b.json")
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 400


def test_the_limits_hold_the_largest_pose_that_is_read():
    """An hour of one dancer at 60 frames a second, 25 joints."""
    frames = 216_000
    assert frames * 25 * 3 <= limits.JSON_VALUES and 2 * frames <= limits.JSON_DICTS and 2 * frames <= limits.JSON_LISTS
