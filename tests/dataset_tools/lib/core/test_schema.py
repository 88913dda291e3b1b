"""Records and their tables: every refusal is one line that names file, row, field, rule and value."""

from dataclasses import dataclass

import pytest

from dataset_tools.lib.core.accounting import check_frames
from dataset_tools.lib.core.errors import UserError
from dataset_tools.lib.core.schema import Clip, Row, Song, Video, read_records, write_records


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


def test_missing_file_and_unknown_status(tmp_path):
    with pytest.raises(UserError, match="file not found"):
        read_records(tmp_path / "videos.csv", Video)
    with pytest.raises(ValueError, match="status must be one of"):
        Row(id="a", status="fine")
