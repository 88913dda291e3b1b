"""Times, dancers, addresses and names of columns are read as people and spreadsheets write them."""

import re

import openpyxl
import pytest

from dataset_tools.lib.core.errors import UserError
from dataset_tools.lib.core.manifest import load_manifest
from dataset_tools.sources.annotation_values import parse_dancers, parse_seconds, parse_times, parse_url
from dataset_tools.sources.annotations import import_annotations
from dataset_tools.sources.columns import assign_roles
from tests.dataset_tools.sources.test_annotations import clips_of, content, sheet


@pytest.mark.parametrize(
    "text, seconds",
    [("75", 75), ("75.5", 75.5), ("75,5", 75.5), ("1:15", 75), ("1:15.25", 75.25), ("01:02:03", 3723), ("75:00", 4500), ("0", 0)],
)  # fmt: skip
def test_times(text, seconds):
    assert parse_seconds(text) == seconds


@pytest.mark.parametrize(
    "text",
    ["", "soon", "inf", "nan", "-3", "1:75", "1:60:00", "1:5", "1:2:3:4", "1e99", "9" * 400, "2024-01-01 00:00:00", "75 s", "1m15s",
     "1'15", "\u0663", "1\uff1a15", "1:15 in the format h:ss"],
)  # fmt: skip
def test_what_is_no_time(text):
    with pytest.raises(ValueError, match="is not a time"):
        parse_seconds(text)


def test_a_comma_that_may_part_thousands_is_refused():
    with pytest.raises(ValueError, match="'1,234' may be thousands or milliseconds; write seconds with a point"):
        parse_seconds("1,234")


def test_start_and_end_of_a_row():
    for row in ({"start": "1:15", "end": "90.5"}, {"start": "75", "duration": "15.5"}, {"times": "1:15 - 1:30.5"}, {"times": "75–90.5"},
                {"start": "1:15", "end": "90.5", "duration": "15"}):  # fmt: skip
        assert parse_times(row) == (75, 90.5)
    assert parse_times({"url": "x"}) is None
    for row, words in (
        ({"start": "75"}, "it has start; give start and end"), ({"end": "75"}, "it has end;"), ({"duration": "15"}, "it has duration;"),
        ({"end": "75", "duration": "15"}, "it has end, duration;"), ({"start": "1", "end": "9", "times": "1-9"}, "it has start, end, times;"),
        ({"start": "1", "end": "9", "duration": "4"}, "start 1.0 s and duration 4 do not end at 9.0 s"), ({"times": "1:15"}, "not a range"),
        ({"times": "9-5"}, "its end 5.0 s is not 1.0 s or more after its start 9.0 s"), ({"start": "0.25", "end": "0.5"}, "is not 1.0 s or more"),
        ({"start": "1", "duration": "0:15-0:30"}, "'0:15-0:30' is not a time"), ({"times": "75 to 90"}, "not a range"),
    ):  # fmt: skip
        with pytest.raises(ValueError, match=words):
            parse_times(row)


def test_dancers_and_addresses():
    assert [parse_dancers(t) for t in ("1", "64")] == [1, 64]
    for text in ("0", "many", "1.5", "2.0", "1000", "duo", "2 dancers", "²", "-1"):
        with pytest.raises(ValueError, match="not a number of dancers"):
            parse_dancers(text)
    watch = "https://www.youtube.com/watch?v=-a1B2c3D4_5"
    forms = ("-a1B2c3D4_5", "https://youtu.be/-a1B2c3D4_5?t=9", "www.youtube.com/watch?v=-a1B2c3D4_5&list=x",
             "https://m.youtube.com/shorts/-a1B2c3D4_5", "http://youtube.com/embed/-a1B2c3D4_5", "HTTPS://YouTu.be/-a1B2c3D4_5#t=9",
             "https://music.youtube.com/watch?list=x&v=-a1B2c3D4_5")  # fmt: skip
    assert {parse_url(form) for form in forms} == {watch}
    for other in ("https://example.org/v.mp4", "https://youtu.be/-a1B2c3D4_5x", "https://www.youtube.com/playlist?list=-a1B2c3D4_5",
                  "https://www.youtube.com/watch?rv=-a1B2c3D4_5", "https://youtube.com.example.org/watch?v=-a1B2c3D4_5",
                  "https://example.org/?https://youtu.be/-a1B2c3D4_5"):  # fmt: skip
        assert parse_url(other) == other
    for text in (
        "file:///etc/passwd",
        "javascript:alert(1)",
        "../x.mp4",
        "https://",
        "http://[",
        "https://a b/",
        "watch it",
    ):
        with pytest.raises(ValueError, match=r"neither an http|Invalid"):
            parse_url(text)


@pytest.mark.parametrize(
    "name, role",
    [("Start Time (s)", "start"), ("start_time", "start"), ("END", "end"), ("# of dancers", "dancers"), ("music ID", "song"),
     ("Video Link", "url"), ("YouTube", "url"), ("duration", "duration"), ("clip_id", "clip"), ("song title", "song_title"),
     ("Time", "times"), ("Number of dancers", "dancers"), ("remarks", ""), ("views", ""), ("Dancer", "")],
)  # fmt: skip
def test_names_of_columns(tmp_path, name, role):
    roles, unused = assign_roles(tmp_path, [name], {})
    assert (list(roles), unused) == (([role], []) if role else ([], [name]))


@pytest.mark.parametrize(
    "name",
    [
        "video ID",
        "no.",
        "Song No.",
        "clipId",
        "Names",
        "Track",
        "music link",
        "Dance",
        "start frame",
        "Start (ms)",
        "startTime",
        "to",
    ],
)
def test_a_column_that_may_tell_clips_or_times_is_asked_about(tmp_path, name):
    with pytest.raises(UserError, match=f"{re.escape(repr(name))} may tell clips or times; say what each column is"):
        assign_roles(tmp_path, ["clip", name], {})
    assert assign_roles(tmp_path, ["clip", name], {name: "song"}) == ({"clip": 0, "song": 1}, [])
    assert assign_roles(tmp_path, ["clip", name], {name: "ignore"}) == ({"clip": 0}, [name])


def test_minutes_that_a_spreadsheet_took_for_hours_are_refused(corpus, tmp_path):
    rows = [
        ["clip", "start", "end"],
        *([c, f"{n}:10:00", f"{n}:40:00"] for n, c in enumerate(("a_0_0", "b_0_1", "a_1_2"))),
    ]
    before = content(corpus)
    with pytest.raises(UserError, match="row 2: '0:10:00', as all h:mm:ss of the sheet, ends in :00; write minutes"):
        import_annotations(corpus, sheet(tmp_path / "s.csv", rows))
    assert content(corpus) == before
    import_annotations(corpus, sheet(tmp_path / "s.csv", [*rows, ["b_1_3", "0:00:01", "0:00:05"]]))
    assert clips_of(corpus)["b_0_1"][:2] == (4200, 6000), "hours, if any time has seconds"


def test_fractions_of_a_day_and_times_that_a_format_hides_are_not_read(corpus, tmp_path):
    def days(text):
        minutes, seconds = text.split(":")
        return (
            3600 * int(minutes) + 60 * int(seconds)
        ) / 86400  # typed as minutes and seconds, kept as hours and minutes

    for name, cells, number_format in (
        ("general", [(days("1:15"), days("1:30"))], "General"), ("rounded", [(0.052, 0.063)], "0.000"), ("over", [(days("24:30"), days("25:10"))], "General"),
        ("hidden", [(days("24:30"), days("25:10"))], "h:mm"), ("beside", [(days("1:15"), days("1:30")), ("2:00", "2:30")], "General"), ("half", [(0.25, 0.5)], "General"),
    ):  # fmt: skip
        path = sheet(
            tmp_path / f"{name}.xlsx", [["clip", "start", "end"], *([f"a_0_{n}", *row] for n, row in enumerate(cells))]
        )
        book = openpyxl.load_workbook(path)
        for row in book.active.iter_rows(min_row=2, min_col=2):
            for cell in row:
                cell.number_format = number_format
        book.save(path)
        before = content(corpus)
        try:
            found = import_annotations(corpus, path, dry_run=True)
            assert not [key for key in found.filled if key[1] == "a_0_0"], name
            assert any("row 2: its times are not used" in note for note in found.notes)
        except UserError as err:
            assert re.search("row 2: (its times are not used|(start|end) '.*' may be a fraction of a day)", str(err)), (
                name
            )
        assert content(corpus) == before


def test_a_sheet_and_a_manifest_of_a_region_with_decimal_commas(corpus, tmp_path):
    for path in corpus.glob("*.csv"):
        path.write_text(path.read_text().replace(",", ";"))
    (tmp_path / "s.csv").write_text("sep=;\nclip;start;end;song title\na_0_0;75,5;90;Caf\u00e9, live\n")
    import_annotations(corpus, tmp_path / "s.csv")
    (row,) = [line for line in (corpus / "clips.csv").read_text().splitlines() if line.startswith("a_0_0;")]
    assert "75.5" in row.split(";") and "90.0" in row.split(";")
    assert [c.start for c in load_manifest(corpus).clips if c.clip_id == "a_0_0"] == [75.5]


def test_the_moment_at_which_a_link_begins_is_no_start(corpus, tmp_path):
    rows = [["link", "clip", "duration"], ["https://youtu.be/AAAAAAAAAAA?t=75", "a_0_0", "0:10"]]
    found = import_annotations(corpus, sheet(tmp_path / "s.csv", rows))
    assert clips_of(corpus)["a_0_0"] == (None, None, None) and load_manifest(corpus).videos[0].url[-11:] == "A" * 11
    assert "row 2: its times are not used: it has duration; give start and end" in found.notes[0]
