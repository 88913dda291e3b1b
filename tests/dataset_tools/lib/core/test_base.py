"""Records, parameters, paths and time: every refusal is one line that names file, row, field, rule and value."""

import os
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from dataset_tools.lib.core.accounting import check_frames
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
from dataset_tools.lib.core.params import load_params, read_corpus_name, read_names, require
from dataset_tools.lib.core.schema import Clip, Row, Song, Video, read_records, write_records
from dataset_tools.lib.core.timebase import samples_to_codes, seconds_to_frames, window_starts
from dataset_tools.lib.core.work_cache import item_key
from dataset_tools.lib.parallel.workers import run_all


def test_two_seconds_in_every_unit():
    assert seconds_to_frames(2) == 60 and seconds_to_frames(0.05) == 2 and seconds_to_frames(1 / 60) == 1
    assert [samples_to_codes(44100, level) for level in (0, 1, 2)] == [5512, 1378, 344]
    assert list(window_starts(59)) == [] and list(window_starts(60)) == [0] and list(window_starts(125)) == [0, 1, 2]


def test_records_survive_a_round_trip_sorted(tmp_path):
    clips = [Clip(clip_id=c, video_id="v", song_id="s", start=s, end=9.5) for c, s in (("b", 1.25), ("a", None))]
    write_records(tmp_path / "clips.csv", clips)
    assert read_records(tmp_path / "clips.csv", Clip) == sorted(clips, key=lambda c: c.clip_id)


def test_what_is_written_can_be_read_again(tmp_path):
    rows = [
        Row(id="a", status="failed", reason='x\0\r\n"é,;\ud800\u2028' + "y" * 20_000),
        Row(id="b", status="ok", reason="sep=;"),
    ]
    write_records(tmp_path / "rows.csv", rows)
    first, second = read_records(tmp_path / "rows.csv", Row)
    assert first.reason.startswith('x   "é,;  yyy') and len(first.reason) == 10_000 and second == rows[1]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("clip_id,song_id\na,s\n", "column 'video_id' is missing"),
        ("clip_id,video_id,song_id,start\na,v,s,soon\n", "row 2: start must be a finite number, found 'soon'"),
        ("clip_id,video_id,song_id,start,end\na,v,s,3,2\n", "row 2: end must be after start"),
        ("clip_id,video_id,song_id\na,v,s\na,v,s\n", "row 3: clip_id 'a' occurs twice"),
        ("clip_id,video_id,song_id\n../x,v,s\n", "row 2: clip_id must be letters"),
        ("", "no header"),
        ("clip_id,video_id,song_id\na,../v,s\n", "row 2: video_id must be letters"),
        ("clip_id,video_id,song_id,video_id\na,v,s,v\n", "column 'video_id' occurs twice"),
        ("clip_id,video_id,song_id,segments_2s,segments_2s\na,v,s,1,2\n", "column 'segments_2s' occurs twice"),
        ("clip_id,video_id,song_id\na,v,s,t\n", "row 2: 4 cells, but 3 columns"),
        ("clip_id,video_id,song_id,start\n\na,v,s,x\n", "row 3: start must be a finite number"),
        ("clip_id,video_id,song_id,start,end\na,v,s,0,1e6\n", "row 2: end must be 0 s to 86400 s, found 1000000.0"),
        ("clip_id,video_id,song_id,start,end\na,v,s,1e300,1e301\n", "row 2: start must be 0 s to 86400 s"),
        ("clip_id,video_id,song_id,start,end\na,v,s,0,4000\n", "a clip has 3600 s at most"),
        ("clip_id,video_id,song_id,start\na,v,s,1_5\n", "start must be a finite number, found '1_5'"),
        ("clip_id,video_id,song_id,start\na,v,s,nan\n", "start must be a finite number, found 'nan'"),
        (
            'clip_id,video_id,song_id,start\na,v,s,"1,5"\n',
            "start has a decimal comma in a comma-separated table, found '1,5'",
        ),
        ("clip_id,video_id,song_id,dancers\na,v,s,²\n", "dancers must be a whole number, found '²'"),
        ("clip_id,video_id,song_id,dancers\na,v,s," + "9" * 5000 + "\n", "dancers must be a whole number"),
        ("clip_id,video_id,song_id,dancers\na,v,s,-1\n", "dancers must be 1 to 64, found -1"),
        ('clip_id,video_id,song_id\na,v,"s\n' + "x" * 200_000, "is a quote not closed?"),
    ],
)
def test_bad_rows_are_named(tmp_path, text, message):
    (tmp_path / "clips.csv").write_text(text)
    with pytest.raises(UserError, match="clips.csv") as caught:
        read_records(tmp_path / "clips.csv", Clip)
    assert message in str(caught.value)


@dataclass(frozen=True, kw_only=True)
class Measured(Row):
    people: int | None = None
    song: str = ""
    value: float | None = None


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("../../x,ok,5", "id must be letters"), ("a,ok,-5", "people must be 0 to 64, found -5"), ("a,ok,65", "people must be"),
        ("a,ok,999999999999", "people must be"), ("a,ok,1e3", "people must be a whole number"), ("é,ok,5", "id must be letters"),
    ],
)  # fmt: skip
def test_ids_and_counts_of_any_table_are_checked(tmp_path, row, message):
    (tmp_path / "rows.csv").write_text(f"id,status,people\nb,ok,7\n{row}\n")
    with pytest.raises(UserError, match="rows.csv row 3: ") as caught:
        read_records(tmp_path / "rows.csv", Measured)
    assert message in str(caught.value)
    with pytest.raises(ValueError, match="id must be letters"):
        Row(id="../x", status="ok")


def test_a_cut_clip_has_a_length():
    check_frames(1)
    check_frames(108000)
    for frames in (None, 0, -5, 108001, 999999999999):
        with pytest.raises(
            UserError, match="clips/rows.csv gives it .* frames, but a clip has 1 to 108000; run the stage clips again"
        ):
            check_frames(frames)


@pytest.mark.parametrize("text", [
    "\ufeffid;status;value;song\r\na;ok;1,5;x,y\r\n\r\nb;failed;;\r\n", "id\tstatus\tvalue\tsong\na\tok\t1,5\tx,y\nb\tfailed\t\t\n",
    'id, status ,value,song,,\na,ok,1.5,"x,y",,\nb,failed\n', "sep=;\nid;status;value;song\na;ok;1.5;x,y\nb;failed\n",
])  # fmt: skip
def test_tables_of_any_region_are_taken(tmp_path, text):
    (tmp_path / "rows.csv").write_bytes(text.encode())
    first, second = read_records(tmp_path / "rows.csv", Measured)
    assert (
        (first.id, first.status, first.value, first.song) == ("a", "ok", 1.5, "x,y")
        and second.value is None
        and second.status == "failed"
    )


def test_equal_letters_are_equal_text(tmp_path):
    (tmp_path / "songs.csv").write_text("song_id,genre\na,caf\u00e9\nb,cafe\u0301\n")
    first, second = read_records(tmp_path / "songs.csv", Song)
    assert first.genre == second.genre
    for row, words in (
        ("a,x\ty,1", "genre must be one line"),
        ("a,x,-1", "tempo must be above 0"),
        ("a,x,0", "tempo"),
        ("a,x,1e9", "tempo"),
    ):
        (tmp_path / "songs.csv").write_text(f"song_id,genre,tempo\n{row}\n")
        with pytest.raises(UserError, match=words):
            read_records(tmp_path / "songs.csv", Song)


def test_a_file_of_another_encoding_is_named(tmp_path):
    (tmp_path / "clips.csv").write_bytes("clip_id,video_id,song_id\na,v,für\n".encode("latin-1"))
    with pytest.raises(UserError, match="not UTF-8"):
        read_records(tmp_path / "clips.csv", Clip)


def test_the_corpus_is_the_one_of_params(tmp_path):
    assert read_corpus_name(tmp_path / "params.yaml") == "demo"
    (tmp_path / "params.yaml").write_text("corpus: mine\n")
    assert read_corpus_name(tmp_path / "params.yaml") == "mine"
    for name in ("../../victim", "/tmp/x", "''", "a b", "é", "5", "~", "[a]", "'a\\nb'", "no"):
        (tmp_path / "params.yaml").write_text(f"corpus: {name}\n")
        with pytest.raises(UserError, match="params.yaml: corpus must be letters"):
            read_corpus_name(tmp_path / "params.yaml")
    (tmp_path / "params.yaml").write_text("[1]\n")
    with pytest.raises(UserError, match="must be a mapping of sections"):
        read_corpus_name(tmp_path / "params.yaml")


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


@pytest.mark.parametrize(
    ("text", "words"),
    [("[high, ../x]", "levels must be letters"), ("[high, high]", "must not repeat a name"), ("[middle]", "levels must be among high, low"),
     ("[]", "a list of names"), ("high", "a list of names"), ("[.nan]", "levels must be letters"), ("[[high]]", "levels must be letters")],
)  # fmt: skip
def test_lists_of_names(tmp_path, text, words):
    (tmp_path / "params.yaml").write_text(f"levels: {text}\n")
    with pytest.raises(UserError, match=words):
        read_names(tmp_path / "params.yaml", "levels")


def test_missing_file_and_unknown_status(tmp_path):
    with pytest.raises(UserError, match="file not found"):
        read_records(tmp_path / "videos.csv", Video)
    with pytest.raises(ValueError, match="status must be one of"):
        Row(id="a", status="fine")


@dataclass(frozen=True, kw_only=True)
class Params:
    seeds: tuple[int, ...] = (1,)
    rate: float = 0.5
    also: tuple[str, ...] = ()
    most: int | None = None
    weights: str | tuple[str, ...] = ""
    others: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self):
        require(0 < self.rate <= 1, f"rate must be in 0..1, found {self.rate}")
        require(len(self.others) < 9, f"others must be few, found {self.others}")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("other: {}\n", "section 'mine' is missing"),
        ("mine: {rat: 1}\n", "mine.rat is not a parameter; known: also, most, others, rate, seeds, weights"),
        ("mine: {rate: 7}\n", "rate must be in 0..1, found 7"),
        ("mine: [\n", "not YAML"),
        ("mine: 3\n", "mine must be a mapping of parameters, found '3'"),
        ("mine: {rate: 1e-4}\n", "write 1.0e-4"),
        ("mine: {rate: fast}\n", "mine.rate must be a finite number, found 'fast'"),
        ("mine: {rate: .nan}\n", "mine.rate must be a finite number, found 'nan'"),
        ("mine: {rate: .inf}\n", "mine.rate must be a finite number, found 'inf'"),
        ("mine: {rate: " + "9" * 400 + "}\n", "more than 64 bits"),
        ("mine: {also: [.nan]}\n", "mine.also must be a list, each item a text, found '(nan,)'"),
        ("mine: {also: tiktok}\n", "mine.also must be a list, each item a text, found 'tiktok'"),
        ("mine: {seeds: [1, x]}\n", "mine.seeds must be a list, each item a whole number"),
        ("mine: {seeds: [true]}\n", "mine.seeds must be a list"),
        ("mine: {seeds: {a: 1}}\n", "mine.seeds must be a list"),
        ("mine: {most: 1.5}\n", "mine.most must be a whole number or null, found '1.5'"),
        ("mine: {weights: 3}\n", "mine.weights must be a text or a list, each item a text"),
        ("mine: {others: [a]}\n", "mine.others must be a mapping"),
        (
            "mine: {others: {" + "".join(f"k{n}: v, " for n in range(3000)) + "}}\n",
            "others must be few, found {'k0': 'v'",
        ),
        ("mine: {rate: [" + "x, " * 3000 + "x]}\n", "mine.rate must be a finite number"),
    ],
)
def test_bad_params_are_named(tmp_path, text, message):
    (tmp_path / "params.yaml").write_text(text)
    with pytest.raises(UserError, match="params.yaml") as caught:
        load_params(tmp_path / "params.yaml", "mine", Params)
    assert message in str(caught.value) and len(str(caught.value)) < 800


def test_good_params(tmp_path):
    (tmp_path / "params.yaml").write_text("mine: {most: null, weights: [a], others: {a: b}, rate: 1}\n")
    found = load_params(tmp_path / "params.yaml", "mine", Params)
    assert (
        found == Params(weights=("a",), others={"a": "b"}, rate=1) and type(found.rate) is int
    )  # keys of caches and summaries tell 1 from 1.0
    (tmp_path / "params.yaml").write_text("mine: {seeds: [3, 4]}\n")
    assert load_params(tmp_path / "params.yaml", "mine", Params) == Params(seeds=(3, 4))


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


def test_keys_follow_version_content_and_params():
    assert item_key(1, "a", Params()) == item_key(1, "a", Params())
    assert (
        len(
            {
                item_key(1, "a", Params()),
                item_key(2, "a", Params()),
                item_key(1, "b", Params()),
                item_key(1, "a", Params(rate=1)),
            }
        )
        == 4
    )


def test_run_all_keeps_the_order():
    assert run_all(abs, [-3, 2, -1], 2, "abs") == [3, 2, 1]


def test_unknown_corpus_lists_the_known(tmp_path):
    (tmp_path / "manifests" / "mine").mkdir(parents=True)
    (tmp_path / "manifests" / "mine" / "clips.csv").write_text("clip_id\n")
    with pytest.raises(UserError, match="known here: mine"):
        Layout(root=tmp_path, corpus="yours").manifest  # noqa: B018


def test_a_table_need_not_have_baselines(tmp_path):
    path = tmp_path / "params.yaml"
    path.write_text("systems: []\nlevels: []\n")
    assert read_names(path, "systems") == ()
    with pytest.raises(UserError, match=r"levels must be a list of names, found '\[\]'"):
        read_names(path, "levels")
