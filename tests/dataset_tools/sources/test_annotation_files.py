"""The file of an annotation sheet: links behind its cells, other sheets, encodings, and nothing hostile gets through."""

import zipfile

import openpyxl
import pytest

from dataset_tools.lib.core.errors import UserError
from dataset_tools.lib.core.manifest import load_manifest
from dataset_tools.sources import __main__ as sources
from dataset_tools.sources.annotations import import_annotations
from dataset_tools.sources.spreadsheet import read_sheet
from tests.dataset_tools.sources.test_annotations import clips_of, content, sheet


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
