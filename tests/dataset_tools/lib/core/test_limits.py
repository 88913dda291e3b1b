"""Foreign files within limits: what is no file, too large, too deep or grows when read is one line, and at once."""

import os
import time

import pytest

from dataset_tools.lib.core.csv_file import detect_separator, iterate_rows
from dataset_tools.lib.core.errors import UserError
from dataset_tools.lib.core.limits import CELL, MAX_SHOWN, check_regular_file, printable, read_bytes
from dataset_tools.lib.core.names import check_name, find_file, is_outside
from dataset_tools.lib.core.yaml_file import read_yaml

FANNED = "a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"a{n}: &a{n} [{','.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 12)
)
MERGED = "a0: &a0 {x: 1}\n" + "".join(f"a{n}: &a{n} {{<<: [{','.join([f'*a{n - 1}'] * 10)}]}}\n" for n in range(1, 12))


def test_what_is_no_file_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "circle").symlink_to("circle")
    (tmp_path / "zeros").symlink_to("/dev/zero")
    (tmp_path / "large").write_bytes(bytes(11))
    for name, words in (
        ("pipe", "a pipe, socket or device, not a file"), ("circle", "Too many levels"), ("zeros", "a pipe, socket or device, not a file"), (".", "a folder"),
        ("none", "file not found"), ("x" * 300, "too long"), ("a\0b", "not a valid file name"), ("large", "11 bytes; such a file may have at most 10"),
    ):  # fmt: skip
        said = set()
        for reader in (read_bytes, check_regular_file):
            with pytest.raises(UserError, match=words) as caught:
                reader(tmp_path / name, 10)
            said.add(str(caught.value))
        assert len(said) == 1 and not {"\n", "\0"} & set(said.pop()), "both say it in the same words"
    assert read_bytes(tmp_path / "large", 11) == bytes(11)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a: \xff", "not UTF-8"), ("a: !!timestamp y", "'y' can't be read as timestamp"), ("a: !!int ''", "can't be read as int"),
        ("a: " + "9" * 5000, "can't be read as int"), ("a: 0x" + "f" * 5000, "more than 64 bits"), ("[" * 3000, "nested deeper"),
        ("a: &x [*x]", "inside the value that it refers to"), (FANNED, "aliases expand to more"), (MERGED, "aliases expand to more"),
        ("a: 1\na: 2\n", "key 'a' occurs twice"), ("a: !!python/name:os.system", "not YAML"), ("a: 1\n---\nb: 2", "not YAML"),
        ('a: "\\ud800"', "half a character"), ("a: !!binary aGk=", "neither text"), ("a: 2020-01-01\nb: !!timestamp 2020-01-01", "neither text"),
        ("? {b: 1}\n: 2", "not YAML"), ("a: !!set {b, c}", "neither text"), ("#" + "x" * 300_000, "such a file may have at most"),
    ],
)  # fmt: skip
def test_yaml_that_is_refused(tmp_path, text, words):
    (tmp_path / "x.yaml").write_bytes(text.encode("latin-1"))
    start = time.process_time()
    with pytest.raises(UserError, match=words) as caught:
        read_yaml(tmp_path / "x.yaml")
    assert str(caught.value).startswith(f"{tmp_path / 'x.yaml'}") and len(str(caught.value)) < 3 * MAX_SHOWN + len(
        str(tmp_path)
    )
    assert time.process_time() - start < 5


def test_yaml_that_is_taken(tmp_path):
    (tmp_path / "x.yaml").write_text(
        "common: &c {seed: 1}\na: {<<: *c, seed: 2}\nb: [*c, 2026-13-45, .nan, 1.5, yes, null, é]\n"
    )
    found = read_yaml(tmp_path / "x.yaml")
    assert (
        found["a"] == {"seed": 2}
        and found["b"][0] == {"seed": 1}
        and found["b"][1] == "2026-13-45"
        and found["b"][3:] == [1.5, True, None, "é"]
    )
    (tmp_path / "x.yaml").write_text("")
    assert read_yaml(tmp_path / "x.yaml") is None


@pytest.mark.parametrize(
    "name",
    [
        "",
        ".",
        "..",
        "../x",
        "/etc",
        "a/b",
        "a\\b",
        "a\n",
        "\na",
        "a\0",
        "-rf",
        ".hidden",
        "é",
        "e\u0301",
        "a b",
        "x" * 122,
        5,
        None,
        True,
    ],
)
def test_what_is_no_name(name):
    with pytest.raises(ValueError, match="song must be letters") as caught:
        check_name(name, "song")
    assert str(caught.value).isprintable()


def test_names():
    assert [check_name(name) for name in ("a", "A-1.b_c", "_x", "000001_1_21", "x" * 121)]


def test_files_are_found_however_their_letters_are_composed(tmp_path):
    (tmp_path / "Dossie\u0301").mkdir()
    (tmp_path / "Dossie\u0301" / "u\u0308.mp4").touch()
    (tmp_path / "out.mp4").symlink_to("../elsewhere.mp4")
    (tmp_path / "circle").symlink_to("circle")
    assert find_file(tmp_path, "Dossi\u00e9/\u00fc.mp4") == tmp_path / "Dossie\u0301" / "u\u0308.mp4"
    (tmp_path / "Dossie\u0301" / "\u00fc.mp4").touch()
    assert find_file(tmp_path, "Dossi\u00e9/\u00fc.mp4").name == "\u00fc.mp4", "the name as it is comes first"
    for name in ("\u00fc.mp4", "circle", "circle/x", "x" * 300, "é" * 300, "a\0b", "."):
        assert find_file(tmp_path, name) is None
        assert not is_outside(tmp_path, name)
    assert is_outside(tmp_path, "../x") and is_outside(tmp_path, "/etc/passwd") and is_outside(tmp_path, "out.mp4")


def test_what_parts_the_cells():
    assert (
        detect_separator("clip;start\na;1,5\nb;2,5\n") == ";"
        and detect_separator("clip\tstart\na\t1,5\nb\t2,5\n") == "\t"
    )
    assert (
        detect_separator("A list; of, clips\nclip,title\na,x; y; z\nb,z\n") == ","
        and detect_separator("one\ntwo\n") == ","
    )
    assert detect_separator("sep=;\na,b\n") == ";" and detect_separator("video_id;url\n", ("url", "video_id")) == ";"
    long = "a,b\n" + "x" * (CELL - 1) + "," + "y" * CELL + "\n"
    assert detect_separator(long) == "," and len(list(iterate_rows(long, ","))) == 2
    with pytest.raises(ValueError, match="row 1: a cell of .*a quote not closed"):
        list(iterate_rows('a,"' + "x" * (CELL + 1), detect_separator('a,"' + "x" * (CELL + 1))))


def test_a_value_in_a_message_is_short_and_one_line():
    assert (
        printable("a\nb\x1b[31m") == "a b [31m"
        and len(printable("x" * 10**6)) == MAX_SHOWN
        and printable({"a": 1}) == "{'a': 1}"
    )
