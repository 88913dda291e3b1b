"""An annotation sheet of any shape fills a manifest in; nothing that was there is lost, nothing hostile gets through."""

import csv
import zipfile
from datetime import time, timedelta
from pathlib import Path

import openpyxl
import pytest

from dataset_tools.lib.core import schema
from dataset_tools.lib.core.errors import UserError
from dataset_tools.lib.core.manifest import find_missing_values, load_manifest
from dataset_tools.sources import __main__ as sources
from dataset_tools.sources.annotation_values import parse_dancers, parse_range, parse_seconds, parse_url
from dataset_tools.sources.annotations import import_annotations
from dataset_tools.sources.columns import detect_role
from dataset_tools.sources.spreadsheet import read_sheet
from tests.helpers.builders import build_manifest, tiktok_as_published

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture
def corpus(tmp_path):
    """A corpus of 4 clips, 0 and 2 of compilation a, 1 and 3 of b, whose urls, times and dancers are not known yet."""
    clips = [
        schema.Clip(clip_id=f"{'ab'[n % 2]}_{n // 2}_{n}", video_id="ab"[n % 2], song_id=str(n // 2)) for n in range(4)
    ]
    videos = [schema.Video(video_id=v, url="") for v in "ab"]
    return build_manifest(tmp_path, "mine", clips=clips, videos=videos)


def sheet(path, rows):
    """Write rows as .csv or .xlsx; a cell may be (value, number format)."""
    if path.suffix == ".csv":
        with open(path, "w", newline="") as handle:
            csv.writer(handle).writerows(rows)
        return path
    book = openpyxl.Workbook()
    for r, row in enumerate(rows, start=1):
        for c, cell in enumerate(row, start=1):
            value, style = cell if isinstance(cell, tuple) else (cell, "General")
            book.active.cell(r, c, value).number_format = style
    book.save(path)
    return path


def clips_of(folder):
    return {c.clip_id: (c.start, c.end, c.dancers) for c in load_manifest(folder).clips}


def content(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


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


def test_the_real_corpus_from_a_spreadsheet(tmp_path, capsys):
    folder = tiktok_as_published(tmp_path / "manifests" / "tiktok")
    with open(folder / "clips.csv", newline="") as handle:
        known = sorted(csv.DictReader(handle), key=lambda row: int(row["clip_id"].split("_")[2]))
    rows = [["The corpus"], ["Video link", "music ID", "Video ID", "Start time", "Length", "Dancers", "remarks"]]
    expected = {}
    for n, row in enumerate(known):
        start, seconds = 3 * n + 1, 2 * int(row["segments_2s"]) + 0.5
        shown = (time(*divmod(start, 60)), "h:mm") if start < 24 * 60 else (timedelta(minutes=start), "[h]:mm")
        link = f"https://youtu.be/video{int(row['video_id']):06d}?t={start}"
        rows.append([link, int(row["song_id"]), n, shown, seconds, 1 + n % 3, None])
        expected[row["clip_id"]] = (start, start + seconds, 1 + n % 3)
    rows += [
        ["https://youtu.be/video999999", 3, 999, 5, 9.0, 1, "gone"],
        ["https://youtu.be/video000000", 3, 0, 5, 9.0, 1, "?"],
    ]
    path = sheet(tmp_path / "sheet.xlsx", rows)
    before = content(folder)
    order = ["import-annotations", str(path), "--root", str(tmp_path)]
    assert sources.main([*order, "--dry-run"]) == 0
    assert content(folder) == before and "would fill in 445 clips.csv dancers, 445" in capsys.readouterr().out

    assert sources.main(order) == 0
    shown = capsys.readouterr().out
    assert (
        "'Video ID' as clip" in shown
        and "column 'remarks' is not used" in shown
        and "row 1 is above the header" in shown
    )
    assert "row 448: not used: clip '999' is not in clips.csv" in shown
    assert "row 449: not used: it says song '3', but clip 000000_0_0 belongs to song 0" in shown
    assert clips_of(folder) == expected and not find_missing_values(load_manifest(folder))
    assert load_manifest(folder).videos[7].url == "https://www.youtube.com/watch?v=video000007"
    with open(folder / "clips.csv", newline="") as handle:
        assert {r["clip_id"]: r["segments_2s"] for r in csv.DictReader(handle)} == {
            r["clip_id"]: r["segments_2s"] for r in known
        }

    after = content(folder)
    assert sources.main(order) == 0
    assert (
        content(folder) == after and "filled in nothing new; 1350 values were there already" in capsys.readouterr().out
    )


def test_nothing_is_lost_and_conflicts_are_listed(corpus, tmp_path, capsys):
    text = (corpus / "clips.csv").read_text().splitlines()
    lines = [
        text[0] + ",mood",
        text[1].replace(",,,,", ",1.5,4.0,2,") + ',"glad, loud"',
        *(line + "," for line in text[2:]),
    ]
    (corpus / "clips.csv").write_text("\n".join(lines) + "\n")
    path = sheet(
        tmp_path / "s.csv",
        [["clip", "start", "end", "dancers"], ["a_0_0", "1.5", "4", "3"], ["b_0_1", "0:07", "0:09", "1"],
         ["b_0_1", "0:08", "0:09", "1"], ["a_1_2", "5", "4", "1"], ["b_1_3", "1", "2", "lots"]],
    )  # fmt: skip
    order = ["import-annotations", str(path), "--root", str(tmp_path), "--corpus", "mine"]
    assert sources.main(order) == 1
    shown = capsys.readouterr().out
    assert "conflict: clips.csv a_0_0 dancers: '2' in the manifest is kept, row 2 says '3'" in shown
    assert "conflict: clips.csv b_0_1 start: the sheet has '7.0' (row 3) and '8.0' (row 4); none is taken" in shown
    assert "row 5: its times are not used: its end 4.0 s is not after its start 5.0 s" in shown
    assert "row 6: dancers is not used: 'lots' is not a number of dancers" in shown
    assert clips_of(corpus)["b_1_3"] == (1, 2, None) and clips_of(corpus)["a_0_0"] == (1.5, 4, 2)
    assert '"glad, loud"' in (corpus / "clips.csv").read_text()


def test_a_start_that_is_in_doubt_takes_its_end_along(corpus, tmp_path):
    """An end alone would be no valid manifest."""
    path = sheet(tmp_path / "s.csv", [["clip", "start", "end"], ["a_0_0", 1, 9], ["a_0_0", 2, 9], ["b_0_1", 1, 2]])
    import_annotations(corpus, path)
    assert clips_of(corpus)["a_0_0"] == (None, None, None) and clips_of(corpus)["b_0_1"] == (1, 2, None)


def test_replace_takes_the_sheets_values(corpus, tmp_path):
    import_annotations(corpus, sheet(tmp_path / "a.csv", [["clip", "start", "end"], ["a_0_0", 1, 2]]))
    other = sheet(tmp_path / "b.csv", [["clip", "start", "end"], ["a_0_0", 5, 6]])
    assert len(import_annotations(corpus, other).conflicts) == 2 and clips_of(corpus)["a_0_0"][:2] == (1, 2)
    import_annotations(corpus, other, replace=True)
    assert clips_of(corpus)["a_0_0"][:2] == (5, 6)


def test_ranges_order_and_values_given_once(corpus, tmp_path):
    rows = [["video", "song", "link", "time"], ["a", "0", "AAAAAAAAAAA", "0:01-0:02"], ["", "1", "", "0:03-0:04"],
            ["b", "0", "BBBBBBBBBBB", "0:05-0:06"], ["", "1", "", "0:07-0:08"], ["", "1", "", "0:09-0:10"]]  # fmt: skip
    path = sheet(tmp_path / "s.csv", rows)
    with pytest.raises(UserError, match=r"no column tells which clip .* add --by-order"):
        import_annotations(corpus, path)
    found = import_annotations(corpus, path, by_order=True, fill_down=True)
    assert clips_of(corpus) == {
        "a_0_0": (1, 2, None),
        "b_0_1": (5, 6, None),
        "a_1_2": (3, 4, None),
        "b_1_3": (None,) * 3,
    }
    assert "rows 5, 6: not used: video 'b', song '1' has 1 clips, but the sheet 2 rows for it" in found.notes
    assert [v.url[-11:] for v in load_manifest(corpus).videos] == ["A" * 11, "B" * 11]


def test_hyperlinks_give_the_address_behind_their_text(corpus, tmp_path):
    path = sheet(
        tmp_path / "s.xlsx",
        [["video", "clip", "start", "end"], *([v, c, 1, 2] for c, v in (("a_0_0", "a"), ("b_0_1", "B")))],
    )
    book = openpyxl.load_workbook(path)
    for row, link in ((2, "https://youtu.be/AAAAAAAAAAA?si=x"), (3, "file:///etc/passwd")):
        book.active.cell(row, 1).hyperlink = link
    book.save(path)
    found = import_annotations(corpus, path)
    assert found.used["hyperlinks"] == found.used["video"] == "video"
    assert [v.url for v in load_manifest(corpus).videos] == ["https://www.youtube.com/watch?v=AAAAAAAAAAA", ""]
    book.active["A1"] = "Link"
    book.active["A2"] = "watch it"
    book.active.cell(3, 1).hyperlink = "https://youtu.be/BBBBBBBBBBB"
    book.save(path)
    assert len(import_annotations(corpus, path).filled) == 1
    assert load_manifest(corpus).videos[1].url[-11:] == "B" * 11


def linked(path, rows, links):
    book = openpyxl.load_workbook(sheet(path, rows))
    for cell, link in links.items():
        book.active[cell].hyperlink = link
    book.save(path)
    return path


def test_links_of_songs_are_no_address_of_a_compilation(corpus, tmp_path):
    rows = [["video", "song", "clip", "start", "end"], ["a", "0", "a_0_0", 1, 2]]
    path = linked(tmp_path / "s.xlsx", rows, {"B2": "https://open.spotify.com/track/1"})
    assert "hyperlinks" not in import_annotations(corpus, path).used
    assert load_manifest(corpus).videos[0].url == ""


def test_a_list_of_compilations_may_have_its_addresses_as_links_alone(corpus, tmp_path):
    links = {"A2": "https://youtu.be/AAAAAAAAAAA", "A3": "https://youtu.be/BBBBBBBBBBB"}
    import_annotations(corpus, linked(tmp_path / "s.xlsx", [["Video"], ["a"], ["b"]], links))
    assert [v.url[-11:] for v in load_manifest(corpus).videos] == ["A" * 11, "B" * 11]
    with pytest.raises(UserError, match="names no url, start, end or dancers"):
        import_annotations(corpus, sheet(tmp_path / "t.xlsx", [["Video"], ["a"], ["b"]]))


def test_a_link_of_many_cells_is_of_each_and_one_of_none_is_left_out(tmp_path):
    path = linked(
        tmp_path / "s.xlsx", [["Video"], *(["a"],) * 9], {"A2": "https://youtu.be/AAAAAAAAAAA", "A6": "https://x.org/"}
    )
    changes = [(b'ref="A2"', b'ref="A2:A4"', [2, 3, 4, 6]), (b'ref="A6"', b'ref="no cell"', [2, 3, 4]), (b'ref="no cell"', b"", [2, 3, 4]),
               (b'ref="A2:A4"', b'ref="A:A"', [])]  # fmt: skip
    for old, new, rows in changes:
        with zipfile.ZipFile(path) as parts:
            held = {name: parts.read(name) for name in parts.namelist()}
        held["xl/worksheets/sheet1.xml"] = held["xl/worksheets/sheet1.xml"].replace(old, new)
        with zipfile.ZipFile(path, "w") as parts:
            for name, data in held.items():
                parts.writestr(name, data)
        found = read_sheet(path)
        assert [row for row, _ in found.links] == rows and len(found.rows) == 10


def test_numbers_of_compilations_and_equal_complaints(tmp_path):
    tiktok_as_published(tmp_path / "tiktok")
    rows = [["Compilation", "clip", "start", "end"], *([f"Comp {n // 4}", n, 30 * n, 30 * n + 29] for n in range(4))]
    path = sheet(
        tmp_path / "s.csv",
        [*rows, ["Comp 9", 4, 1, 29], *(["Comp 0", f"new{n}", 1, 2] for n in range(2)), ["", "", 1, 2]],
    )
    found = import_annotations(tmp_path / "tiktok", path, dry_run=True)
    assert len(found.filled) == 8
    assert found.notes[0] == "row 6: not used: it says video 'Comp 9', but clip 000000_0_4 belongs to video 000000"
    assert found.notes[1:3] == [f"row {n + 7}: not used: clip 'new{n}' is not in clips.csv" for n in range(2)]
    lengths = [["clip", "duration", "dancers"], *([n, 28, "crowd"] for n in (0, 1, 2, 5))]
    notes = import_annotations(
        tmp_path / "tiktok", sheet(tmp_path / "d.csv", [*lengths, [7, "", 1]]), dry_run=True
    ).notes
    assert notes == [
        "rows 2 to 5: dancers is not used: 'crowd' is not a number of dancers (1 to 64)",
        "rows 2 to 5: its times are not used: it has a duration, but no start",
    ]


def test_a_list_of_compilations(corpus, tmp_path):
    import_annotations(
        corpus, sheet(tmp_path / "s.csv", [["Compilation", "YouTube"], ["A", "AAAAAAAAAAA"], ["b", "BBBBBBBBBBB"]])
    )
    assert [v.url[-11:] for v in load_manifest(corpus).videos] == ["A" * 11, "B" * 11]


def test_columns_of_other_names(corpus, tmp_path):
    path = sheet(tmp_path / "s.csv", [["Nr", "von", "bis = Ende"], ["a_0_0", "1", "2"]])
    with pytest.raises(UserError, match="names no url, start, end or dancers .it has Nr, von, bis = Ende.; say which"):
        import_annotations(corpus, path)
    import_annotations(corpus, path, mapping=["nr=clip", "von=start", "bis = Ende=end"])
    assert clips_of(corpus)["a_0_0"] == (1, 2, None)
    for wrong, words in (
        ("von", "expected THEIRS=OURS"),
        ("von=begin", "OURS one of clip"),
        ("x=start", "no such column"),
    ):
        with pytest.raises(UserError, match=words):
            import_annotations(corpus, path, mapping=[wrong])
    twice = sheet(tmp_path / "t.csv", [["clip", "start", "begin", "end"], ["a_0_0", "1", "1", "2"]])
    with pytest.raises(UserError, match="'start' and 'begin' both look like start: say which with --map"):
        import_annotations(corpus, twice)


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


def test_other_sheets_of_the_file_are_named_where_the_first_is_of_no_use(corpus, tmp_path):
    for first, words in (
        ("read me", "names no url, .* or read another sheet with --sheet: data"),
        (None, "is empty; .* --sheet: data"),
    ):
        book = openpyxl.Workbook()
        book.active["A1"] = first
        book.create_sheet("data")
        book.save(tmp_path / "s.xlsx")
        with pytest.raises(UserError, match=words):
            import_annotations(corpus, tmp_path / "s.xlsx")


def test_an_implausible_length_is_pointed_out(tmp_path):
    tiktok_as_published(tmp_path / "tiktok")
    path = sheet(tmp_path / "s.csv", [["clip", "start", "end"], ["000000_0_0", 0, 9], ["000000_0_1", 20, 49]])
    notes = import_annotations(tmp_path / "tiktok", path, dry_run=True).notes
    assert notes == ["look at clip 000000_0_0: 9 s in the sheet, but 14 segments of 2 s were cut from it"]


def xlsx(path, parts):
    """An .xlsx with some of its parts replaced by hostile text."""
    plain = sheet(path.with_name("plain.xlsx"), [["clip", "start", "end"], ["a_0_0", 1, 2]])
    with zipfile.ZipFile(plain) as old, zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as new:
        for name in old.namelist():
            data = old.read(name).decode()
            new.writestr(name, parts[name](data) if name in parts else data)
    return path


SHEET1 = "xl/worksheets/sheet1.xml"
BOMB = "<!DOCTYPE x [<!ENTITY a 'ha'>" + "".join(
    f"<!ENTITY {chr(98 + n)} '{f'&{chr(97 + n)};' * 20}'>" for n in range(9)
) + "]>"  # fmt: skip


@pytest.mark.parametrize(
    "parts, words",
    [
        ({SHEET1: lambda data: " " * (65 << 20)}, "unpacks to .* at most"),
        (
            {SHEET1: lambda data: BOMB + data.replace("<v>1</v>", "<v>&j;</v>").replace('t="n"', 't="str"')},
            "not a readable .xlsx",
        ),
        ({"xl/styles.xml": lambda data: data + " " * (2 << 20)}, "its part xl/styles.xml unpacks to .* at most"),
        ({SHEET1: lambda data: data[:200]}, "not a readable .xlsx"),
        ({"xl/workbook.xml": lambda data: "<x/>"}, "not a readable .xlsx|no sheet"),
    ],
)
def test_hostile_spreadsheets_are_refused(corpus, tmp_path, parts, words):
    before = content(corpus)
    with pytest.raises(UserError, match=words):
        import_annotations(corpus, xlsx(tmp_path / "h.xlsx", parts))
    assert content(corpus) == before


def test_absurd_dimensions_and_formulas_do_no_harm(corpus, tmp_path):
    huge = {SHEET1: lambda data: data.replace("A1:C2", "A1:XFD1048576").replace('r="2"', 'r="1048576"')}
    assert read_sheet(xlsx(tmp_path / "h.xlsx", huge)).rows == ((1, ("clip", "start", "end")),)
    rows = [
        ["clip", "start", "end", "dancers"],
        ["a_0_0", 1, 2, '=WEBSERVICE("http://127.0.0.1:1/")'],
        ["b_0_1", "=1+1", 2, 1],
    ]
    found = import_annotations(corpus, sheet(tmp_path / "f.xlsx", rows))
    assert clips_of(corpus)["a_0_0"] == (1, 2, None)
    unsaved = "(a formula saved without its value: open the file in a spreadsheet, save it)"
    assert [note.split(" is not a ")[0] for note in found.notes] == [
        f"row 2: dancers is not used: '=WEBSERVICE(\"http://127.0.0.1:1/\") {unsaved}'", f"row 3: its times are not used: '=1+1 {unsaved}'",
    ]  # fmt: skip


@pytest.mark.parametrize(
    "name, data, words",
    [("s.csv", b"", "is empty"), ("s.csv", b"\0\1\2", "not a text file"), ("s.csv", b"a," + b"x" * 200_000, "not CSV: field larger"),
     ("s.xlsx", b"PK\3\4 no zip", "not a readable .xlsx"), ("s.xls", b"\xd0\xcf\x11\xe0", "neither .csv nor .xlsx"),
     ("s.csv", None, "file not found")],
)  # fmt: skip
def test_files_that_are_no_sheets(corpus, tmp_path, name, data, words):
    if data is not None:
        (tmp_path / name).write_bytes(data)
    with pytest.raises(UserError, match=words):
        import_annotations(corpus, tmp_path / name)


def test_cells_cannot_write_to_the_terminal(corpus, tmp_path, capsys):
    rows = [
        ["clip", "start", "end", "\x1b]0;owned\x07"],
        ["\x1b[2J" + "z" * 5000, "1", "2", ""],
        ["a_0_0", "1", "2", ""],
    ]
    sources.main(
        ["import-annotations", str(sheet(tmp_path / "s.csv", rows)), "--root", str(tmp_path), "--corpus", "mine"]
    )
    shown = capsys.readouterr().out
    assert "row 2: not used" in shown and "z" * 100 not in shown and all(map(str.isprintable, shown.splitlines()))


def test_other_encodings_and_separators(corpus, tmp_path):
    text = "clip;start;end;artist\na_0_0;1,5;2,5;Zoé\n"
    for number, encoding in enumerate(("utf-8-sig", "utf-16", "cp1252")):
        (tmp_path / "s.csv").write_bytes(text.encode(encoding))
        found = import_annotations(corpus, tmp_path / "s.csv")
        assert (found.same, len(found.filled)) == ((0, 3) if number == 0 else (3, 0))
    assert clips_of(corpus)["a_0_0"][:2] == (1.5, 2.5) and load_manifest(corpus).songs[0].artist == "Zoé"
