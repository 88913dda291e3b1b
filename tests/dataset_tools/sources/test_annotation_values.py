"""Times, dancers, addresses and names of columns are read as people and spreadsheets write them."""

import openpyxl
import pytest

from dataset_tools.lib.core.errors import UserError
from dataset_tools.lib.core.manifest import load_manifest
from dataset_tools.sources.annotation_values import parse_dancers, parse_range, parse_seconds, parse_url
from dataset_tools.sources.annotations import import_annotations
from dataset_tools.sources.columns import detect_role
from tests.dataset_tools.sources.test_annotations import clips_of, content, sheet
from tests.helpers.builders import tiktok_as_published


@pytest.mark.parametrize(
    "text, seconds",
    [("75", 75), ("75.5", 75.5), ("75,5 s", 75.5), ("1:15", 75), ("1:15.25", 75.25), ("01:02:03", 3723), ("1m15s", 75),
     ("2 min 5 sec", 125), ("1h", 3600), ("75:00", 4500), ("0", 0)],
)  # fmt: skip
def test_times(text, seconds):
    assert parse_seconds(text) == seconds


@pytest.mark.parametrize(
    "text", ["", "soon", "inf", "nan", "-3", "1:75", "1:2:3:4", "1e99", "9" * 400, "2024-01-01 00:00:00"]
)
def test_what_is_no_time(text):
    with pytest.raises(ValueError, match="is not a time"):
        parse_seconds(text)


def test_ranges_dancers_and_addresses():
    assert (
        parse_range("1:15 - 1:30.5") == (75, 90.5)
        and parse_range("75 to 90") == (75, 90)
        and parse_range("0:05–0:10") == (5, 10)
    )
    assert [parse_dancers(t) for t in ("1", "2.0", "3 dancers", "Solo", "duet")] == [1, 2, 3, 1, 2]
    for text in ("0", "many", "1.5", "1000"):
        with pytest.raises(ValueError, match="not a number of dancers"):
            parse_dancers(text)
    watch = "https://www.youtube.com/watch?v=-a1B2c3D4_5"
    forms = ("-a1B2c3D4_5", "https://youtu.be/-a1B2c3D4_5?t=9", "www.youtube.com/watch?v=-a1B2c3D4_5&list=x",
             "https://m.youtube.com/shorts/-a1B2c3D4_5", "http://youtube.com/embed/-a1B2c3D4_5")  # fmt: skip
    assert {parse_url(form) for form in forms} == {watch}
    assert parse_url("https://example.org/v.mp4") == "https://example.org/v.mp4"
    for text in ("file:///etc/passwd", "javascript:alert(1)", "../x.mp4", "https://", "http://[", "https://a b/"):
        with pytest.raises(ValueError, match=r"neither an http|Invalid"):
            parse_url(text)


@pytest.mark.parametrize(
    "name, role",
    [("Start Time (s)", "start"), ("startTime", "start"), ("END", "end"), ("# of dancers", "dancers"), ("music ID", "song"),
     ("Video Link", "url"), ("YouTube", "url"), ("duration", "duration"), ("clip_id", "clip"), ("video ID", "unclear"),
     ("start frame", ""), ("song title", "song_title"), ("music link", ""), ("remarks", ""), ("No. of ppl", "dancers"),
     ("No. of views", ""), ("no.", "unclear"), ("Time stamps", "times")],
)  # fmt: skip
def test_names_of_columns(name, role):
    assert detect_role(name) == role


def test_minutes_that_a_spreadsheet_took_for_hours(corpus, tmp_path):
    rows = [
        ["clip", "start", "end"],
        *([c, f"{n}:10:00", f"{n}:40:00"] for n, c in enumerate(("a_0_0", "b_0_1", "a_1_2"))),
    ]
    found = import_annotations(corpus, sheet(tmp_path / "s.csv", rows))
    assert clips_of(corpus)["b_0_1"][:2] == (70, 100) and "read as minutes:seconds" in found.notes[0]


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
            assert "row 2: its times are not used" in str(err), name
        assert content(corpus) == before


def test_a_sheet_and_a_manifest_of_a_region_with_decimal_commas(corpus, tmp_path):
    for path in corpus.glob("*.csv"):
        path.write_text(path.read_text().replace(",", ";"))
    (tmp_path / "s.csv").write_text("sep=;\nclip;start;end;song title\na_0_0;75,5;90;Caf\u00e9, live\n")
    import_annotations(corpus, tmp_path / "s.csv")
    (row,) = [line for line in (corpus / "clips.csv").read_text().splitlines() if line.startswith("a_0_0;")]
    assert "75.5" in row.split(";") and "90.0" in row.split(";")
    assert [c.start for c in load_manifest(corpus).clips if c.clip_id == "a_0_0"] == [75.5]


def test_links_tell_the_start_where_no_column_does(corpus, tmp_path):
    links = [
        "https://youtu.be/AAAAAAAAAAA?t=75",
        "https://www.youtube.com/watch?v=BBBBBBBBBBB&t=1m5s",
        "https://youtu.be/AAAAAAAAAAA",
    ]
    rows = [["link", "clip", "duration"], *zip(links, ("a_0_0", "b_0_1", "a_1_2"), ("0:10", "12", "9"), strict=True)]
    found = import_annotations(corpus, sheet(tmp_path / "s.csv", rows))
    times = clips_of(corpus)
    assert times["a_0_0"][:2] == (75, 85) and times["b_0_1"][:2] == (65, 77) and times["a_1_2"][:2] == (None, None)
    assert "it is taken from the row's link" in found.notes[0]
    rows = [["link", "clip", "start", "end"], [links[0], "a_1_2", "90", "99"]]
    import_annotations(corpus, sheet(tmp_path / "t.csv", rows))
    assert clips_of(corpus)["a_1_2"][:2] == (90, 99)


def test_one_moment_of_clips_that_end_differently_is_no_start(corpus, tmp_path):
    """The address as copied from a browser that stood at 1:15."""
    rows = [
        ["link", "clip", "end"],
        *(["https://youtu.be/AAAAAAAAAAA?t=75", clip, end] for clip, end in (("a_0_0", 90), ("b_0_1", 105))),
    ]
    rows.append(["https://youtu.be/AAAAAAAAAAA?t=200", "a_1_2", 210])
    import_annotations(corpus, sheet(tmp_path / "s.csv", rows))
    assert [clips_of(corpus)[clip][:2] for clip in ("a_0_0", "b_0_1", "a_1_2")] == [
        (None, None),
        (None, None),
        (200, 210),
    ]


def test_numbers_that_went_through_a_table_of_floats(tmp_path):
    tiktok_as_published(tmp_path / "tiktok")
    path = sheet(
        tmp_path / "s.csv", [["video ID", "music ID", "clip", "start", "end"], ["1.0", "1.0", "21.0", "30.0", "44.5"]]
    )
    import_annotations(tmp_path / "tiktok", path)
    assert clips_of(tmp_path / "tiktok")["000001_1_21"] == (30, 44.5, None)
