"""Records, parameters, paths and time: every refusal is one line that names file, row, field, rule and value."""

import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

from dataset_tools.base.atomic import begin_folder, check_writable, keep_only, sweep, write_aside, write_text
from dataset_tools.base.errors import UserError, disk_trouble
from dataset_tools.base.layout import Layout
from dataset_tools.base.params import load_params, require
from dataset_tools.base.schema import Clip, Row, Video, read_records, write_records
from dataset_tools.base.timebase import samples_to_codes, seconds_to_frames, window_starts
from dataset_tools.base.work_cache import item_key
from dataset_tools.base.workers import run_all


def test_two_seconds_in_every_unit():
    assert seconds_to_frames(2) == 60 and seconds_to_frames(0.05) == 2 and seconds_to_frames(1 / 60) == 1
    assert [samples_to_codes(44100, level) for level in (0, 1, 2)] == [5512, 1378, 344]
    assert list(window_starts(59)) == [] and list(window_starts(60)) == [0] and list(window_starts(125)) == [0, 1, 2]


def test_records_survive_a_round_trip_sorted(tmp_path):
    clips = [Clip(clip_id=c, video_id="v", song_id="s", start=s, end=9.5) for c, s in (("b", 1.25), ("a", None))]
    write_records(tmp_path / "clips.csv", clips)
    assert read_records(tmp_path / "clips.csv", Clip) == sorted(clips, key=lambda c: c.clip_id)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("clip_id,song_id\na,s\n", "column 'video_id' is missing"),
        ("clip_id,video_id,song_id,start\na,v,s,soon\n", "row 2: start must be a float, found 'soon'"),
        ("clip_id,video_id,song_id,start,end\na,v,s,3,2\n", "row 2: end must be after start"),
        ("clip_id,video_id,song_id\na,v,s\na,v,s\n", "row 3: clip_id 'a' occurs twice"),
        ("clip_id,video_id,song_id\n../x,v,s\n", "row 2: must be letters"),
        ("", "no header"),
    ],
)
def test_bad_rows_are_named(tmp_path, text, message):
    (tmp_path / "clips.csv").write_text(text)
    with pytest.raises(UserError, match="clips.csv") as caught:
        read_records(tmp_path / "clips.csv", Clip)
    assert message in str(caught.value)


def test_a_file_of_another_encoding_is_named(tmp_path):
    (tmp_path / "clips.csv").write_bytes("clip_id,video_id,song_id\na,v,für\n".encode("latin-1"))
    with pytest.raises(UserError, match="not UTF-8"):
        read_records(tmp_path / "clips.csv", Clip)


def test_the_corpus_is_the_one_of_params(tmp_path):
    from dataset_tools.base.params import corpus_of

    assert corpus_of(tmp_path / "params.yaml") == "demo"
    (tmp_path / "params.yaml").write_text("corpus: mine\n")
    assert corpus_of(tmp_path / "params.yaml") == "mine"


def test_missing_file_and_unknown_status(tmp_path):
    with pytest.raises(UserError, match="file not found"):
        read_records(tmp_path / "videos.csv", Video)
    with pytest.raises(ValueError, match="status must be one of"):
        Row(id="a", status="fine")


@dataclass(frozen=True, kw_only=True)
class Params:
    seeds: tuple[int, ...] = (1,)
    rate: float = 0.5

    def __post_init__(self):
        require(0 < self.rate <= 1, f"rate must be in 0..1, found {self.rate}")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("other: {}\n", "section 'mine' is missing"),
        ("mine: {rat: 1}\n", "mine.rat is not a parameter; known: rate, seeds"),
        ("mine: {rate: 7}\n", "rate must be in 0..1, found 7"),
        ("mine: [\n", "not YAML"),
        ("mine: 3\n", "mine must be a mapping of parameters, found '3'"),
        ("mine: {rate: 1e-4}\n", "write 1.0e-4"),
        ("mine: {rate: fast}\n", "mine.rate must be a number, found 'fast'"),
    ],
)
def test_bad_params_are_named(tmp_path, text, message):
    (tmp_path / "params.yaml").write_text(text)
    with pytest.raises(UserError, match="params.yaml") as caught:
        load_params(tmp_path / "params.yaml", "mine", Params)
    assert message in str(caught.value)


def test_good_params(tmp_path):
    (tmp_path / "params.yaml").write_text("mine: {seeds: [3, 4]}\n")
    assert load_params(tmp_path / "params.yaml", "mine", Params) == Params(seeds=(3, 4))


def test_a_killed_write_leaves_the_old_file(tmp_path):
    path = tmp_path / "x.txt"
    path.write_text("old")
    with pytest.raises(RuntimeError), write_aside(path) as aside:
        aside.write_text("half")
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
            assert kind is UserError or "run again" in disk_trouble(caught.value)
    check_writable(tmp_path / "new" / "x.json")
    assert sorted(p.name for p in tmp_path.rglob("*")) == ["circle", "folder", "new"]


def test_what_killed_writers_left_is_removed(tmp_path):
    gone = subprocess.Popen(["true"])
    gone.wait()
    for name in ("a.npy", "b.npy", "notes.txt", f".c.{gone.pid}.part.npy", f".d.{os.getpid()}.part.npy", "rows.csv"):
        (tmp_path / name).touch()
    sweep(tmp_path)
    sweep(tmp_path / "none")
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted(
        ["a.npy", "b.npy", "notes.txt", "rows.csv", f".d.{os.getpid()}.part.npy"]
    )
    begin_folder(tmp_path, "rows.csv")
    keep_only(tmp_path, {"a.npy"}, ".npy")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.npy", "notes.txt"]


def test_keys_follow_version_content_and_params():
    assert item_key(1, "a", Params()) == item_key(1, "a", Params())
    assert len({item_key(1, "a", Params()), item_key(2, "a", Params()), item_key(1, "b", Params()), item_key(1, "a", Params(rate=1))}) == 4


def test_run_all_keeps_the_order():
    assert run_all(abs, [-3, 2, -1], 2, "abs") == [3, 2, 1]


def test_unknown_corpus_lists_the_known(tmp_path):
    (tmp_path / "manifests" / "mine").mkdir(parents=True)
    (tmp_path / "manifests" / "mine" / "clips.csv").write_text("clip_id\n")
    with pytest.raises(UserError, match="known here: mine"):
        Layout(root=tmp_path, corpus="yours").manifest  # noqa: B018
