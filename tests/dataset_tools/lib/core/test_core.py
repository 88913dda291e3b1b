"""Time, the command line, paths and whole files: every refusal is one line that says what to do."""

import os
import subprocess
from pathlib import Path

import pytest

from dataset_tools.lib.core.atomic import (
    atomic_write,
    check_writable,
    keep_only,
    prepare_folder,
    remove_partial_files,
    write_text,
)
from dataset_tools.lib.core.cli import layout_of, run, stage_parser
from dataset_tools.lib.core.errors import UserError, describe_disk_error
from dataset_tools.lib.core.layout import Layout
from dataset_tools.lib.core.timebase import samples_to_codes, seconds_to_frames, window_starts
from dataset_tools.lib.parallel.workers import run_all


def test_two_seconds_in_every_unit():
    assert seconds_to_frames(2) == 60 and seconds_to_frames(0.05) == 2 and seconds_to_frames(1 / 60) == 1
    assert [samples_to_codes(44100, level) for level in (0, 1, 2)] == [5512, 1378, 344]
    assert list(window_starts(59)) == [] and list(window_starts(60)) == [0] and list(window_starts(125)) == [0, 1, 2]


def test_a_message_cannot_write_to_the_terminal(capsys):
    def main():
        raise UserError("a\x1b[2Jb\nc\ud800 é")

    with pytest.raises(SystemExit) as ended:
        run(main)
    assert ended.value.code == 2 and capsys.readouterr().err == "error: a [2Jb c é\n"


@pytest.mark.parametrize(
    ("args", "told"),
    [
        (["--nope"], "unrecognized arguments: --nope; see `python -m x --help`"),
        (
            ["--level", "mid"],
            "argument --level: invalid choice: 'mid' (choose from 'high', 'low'); see `python -m x --help`",
        ),
        (["--count", "a\x1b\nb"], "argument --count: invalid int value: 'a\\x1b\\nb'; see `python -m x --help`"),
        (["a\x1b\nb"], "unrecognized arguments: a b; see `python -m x --help`"),
        (["--level"], "argument --level: expected one argument; see `python -m x --help`"),
        (["--corpus", ""], "--corpus is empty; give it a value or leave it out; see `python -m x --help`"),
        (["--root", " "], "--root is empty; give it a value or leave it out; see `python -m x --help`"),
        (["--level="], "--level is empty; give it a value or leave it out; see `python -m x --help`"),
        (["--count", "1", ""], "an argument is empty; give it a value or leave it out; see `python -m x --help`"),
    ],
)
def test_a_mistake_on_the_command_line_is_one_line(args, told, capsys):
    parser = stage_parser("x", "")
    parser.add_argument("--level", choices=["high", "low"])
    parser.add_argument("--count", type=int)
    with pytest.raises(SystemExit) as ended:
        parser.parse_args(args)
    assert ended.value.code == 2 and capsys.readouterr() == ("", f"error: {told}\n")
    assert parser.parse_args(["--count=1", "--level", "low"]).count == 1


def test_a_mistake_in_a_command_of_a_command_points_to_its_own_help(capsys):
    parser = stage_parser("x", "")
    parser.add_subparsers().add_parser("export").add_argument("--out")
    with pytest.raises(SystemExit) as ended:
        parser.parse_args(["export", "--out"])
    assert (
        ended.value.code == 2
        and capsys.readouterr().err == "error: argument --out: expected one argument; see `python -m x export --help`\n"
    )


@pytest.mark.parametrize("name", ["../../victim", "/tmp/x", ".", "a/b", "é", "a b", "a\nb"])
def test_no_layout_leads_out_of_its_root(tmp_path, name):
    with pytest.raises(UserError, match="corpus must be letters"):
        Layout(root=tmp_path, corpus=name)
    with pytest.raises(UserError, match="corpus must be letters"):
        layout_of(stage_parser("x", "").parse_args(["--corpus", name, "--root", str(tmp_path)]))


def test_a_killed_write_leaves_the_old_file(tmp_path):
    path = tmp_path / "x.txt"
    path.write_text("old")
    with pytest.raises(RuntimeError), atomic_write(path) as temporary:
        temporary.write_text("half")
        raise RuntimeError
    assert path.read_text() == "old" and list(tmp_path.iterdir()) == [path]


def test_where_no_file_can_be_is_said_before_and_leaves_nothing(tmp_path):
    (tmp_path / "folder").mkdir()
    (tmp_path / "circle").symlink_to("circle")
    for path, kind, message in (
        (tmp_path / "folder", UserError, "folder: is a folder; name a file"),
        (Path("/dev/null"), UserError, "/dev/null: is a device"),
        (Path("/proc/self/fd/0"), UserError, "/proc/self/fd/0: is a device"),
        (Path("/proc/x.json"), UserError, "/proc/x.json: no file can be made in /proc"),
        (Path("/proc/none/x.json"), UserError, "no file can be made in /proc/none"),
        (tmp_path / ("x" * 300), OSError, "File name too long"),
        (tmp_path / "circle" / "y" / "x", OSError, "Too many levels of symbolic links"),
    ):
        for write in (check_writable, lambda path: write_text(path, "text")):
            with pytest.raises(kind, match=message) as caught:
                write(path)
            assert kind is UserError or "run again" in describe_disk_error(caught.value)
    check_writable(tmp_path / "new" / "x.json")
    assert sorted(p.name for p in tmp_path.rglob("*")) == ["circle", "folder", "new"]


def test_what_killed_writers_left_is_removed(tmp_path):
    gone = subprocess.Popen(["true"])
    gone.wait()
    for name in ("a.npy", "b.npy", "notes.txt", f".c.{gone.pid}.part.npy", f".d.{os.getpid()}.part.npy", "rows.csv"):
        (tmp_path / name).touch()
    remove_partial_files(tmp_path)
    remove_partial_files(tmp_path / "none")
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted(
        ["a.npy", "b.npy", "notes.txt", "rows.csv", f".d.{os.getpid()}.part.npy"]
    )
    prepare_folder(tmp_path, "rows.csv")
    keep_only(tmp_path, {"a.npy"}, ".npy")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.npy", "notes.txt"]


def test_run_all_keeps_the_order():
    assert run_all(abs, [-3, 2, -1], 2, "abs") == [3, 2, 1]


def test_unknown_corpus_lists_the_known(tmp_path):
    (tmp_path / "manifests" / "mine").mkdir(parents=True)
    (tmp_path / "manifests" / "mine" / "clips.csv").write_text("clip_id\n")
    with pytest.raises(UserError, match="known here: mine"):
        Layout(root=tmp_path, corpus="yours").manifest  # noqa: B018


@pytest.mark.parametrize(("corpus", "command"), [("demo", "make repro"), ("mine", "dvc repro")])
def test_a_missing_result_is_refused_with_the_command_that_makes_all(tmp_path, corpus, command):
    with pytest.raises(UserError, match=rf"run {command} first, .* -m d2m_model\.rhythm --corpus {corpus}$"):
        Layout(root=tmp_path, corpus=corpus).require("rhythm")
