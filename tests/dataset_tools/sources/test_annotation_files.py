"""The file of an annotation sheet: links behind its cells, several sheets, encodings, and nothing hostile gets through."""

import zipfile

import openpyxl
import pytest

from dataset_tools.lib.core.errors import UserError
from dataset_tools.lib.core.manifest import load_manifest
from dataset_tools.sources import __main__ as sources
from dataset_tools.sources.annotations import import_annotations
from dataset_tools.sources.spreadsheet import read_sheet
from tests.dataset_tools.sources.test_annotations import clips_of, content, sheet


def cells_of(path):
    """{number of a row: its cells} without empty cells."""
    return {number: [*filter(None, cells)] for number, cells in read_sheet(path)}


def linked(path, rows, links):
    book = openpyxl.load_workbook(sheet(path, rows))
    for cell, link in links.items():
        book.active[cell].hyperlink = link
    book.save(path)
    return path


def test_a_link_behind_a_text_is_not_followed_and_the_text_is_no_address(corpus, tmp_path):
    rows = [["link", "clip", "start", "end"], ["watch it", "a_0_0", 1, 2]]
    found = import_annotations(corpus, linked(tmp_path / "s.xlsx", rows, {"A2": "https://youtu.be/AAAAAAAAAAA"}))
    assert load_manifest(corpus).videos[0].url == "" and clips_of(corpus)["a_0_0"] == (1, 2, None)
    assert found.notes == [
        "row 2: url is not used: 'watch it' is neither an http(s) address nor a YouTube id; write the address itself"
    ]


def test_a_link_of_the_whole_sheet_does_no_harm(tmp_path):
    path = linked(tmp_path / "s.xlsx", [["video"], ["a"]], {"A2": "https://youtu.be/AAAAAAAAAAA"})
    with zipfile.ZipFile(path) as parts:
        held = {name: parts.read(name) for name in parts.namelist()}
    assert b'ref="A2"' in held[SHEET1]
    held[SHEET1] = held[SHEET1].replace(b'ref="A2"', b'ref="A1:XFD1048576"')
    with zipfile.ZipFile(path, "w") as parts:
        for name, data in held.items():
            parts.writestr(name, data)
    assert cells_of(path) == {1: ["video"], 2: ["a"]}


def test_of_several_sheets_one_must_be_named(corpus, tmp_path):
    path = sheet(tmp_path / "s.xlsx", [["clip", "start", "end"], ["a_0_0", 1, 2]])
    book = openpyxl.load_workbook(path)
    book.create_sheet("old").append(["nothing"])
    book.save(path)
    for name in ("", "new"):
        with pytest.raises(UserError, match="say which sheet with --sheet; it has Sheet, old"):
            import_annotations(corpus, path, sheet=name)
    import_annotations(corpus, path, sheet="Sheet")
    assert clips_of(corpus)["a_0_0"] == (1, 2, None)
    with pytest.raises(UserError, match="a CSV file has no sheets"):
        import_annotations(corpus, sheet(tmp_path / "s.csv", [["clip"]]), sheet="Sheet")


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
        ({"xl/workbook.xml": lambda data: "<x/>"}, "not a readable .xlsx|it has none"),
    ],
)
def test_hostile_spreadsheets_are_refused(corpus, tmp_path, parts, words):
    before = content(corpus)
    with pytest.raises(UserError, match=words):
        import_annotations(corpus, xlsx(tmp_path / "h.xlsx", parts))
    assert content(corpus) == before


def test_absurd_dimensions_do_no_harm(tmp_path):
    huge = {SHEET1: lambda data: data.replace("A1:C2", "A1:XFD1048576").replace('r="2"', 'r="1048576"')}
    assert cells_of(xlsx(tmp_path / "h.xlsx", huge)) == {1: ["clip", "start", "end"]}


@pytest.mark.parametrize("formula", ["=1+1", '=WEBSERVICE("http://127.0.0.1:1/")'])
def test_a_formula_without_its_value_is_no_empty_cell(corpus, tmp_path, formula):
    before = content(corpus)
    rows = [["video", "clip", "start", "end"], ["a", "a_0_0", 1, 2], [formula, "b_0_1", 1, 2]]
    with pytest.raises(UserError, match="cell A3: a formula without its value; open the file in a spreadsheet, save"):
        import_annotations(corpus, sheet(tmp_path / "f.xlsx", rows), fill_down=True)
    assert content(corpus) == before


def test_the_saved_value_of_a_formula_is_read(corpus, tmp_path):
    saved = {
        SHEET1: lambda data: data.replace("<v>1</v>", "<f>0+1</f><v>1</v>").replace(
            "</row></sheetData>", '<c r="D2" t="str"><f>""</f><v></v></c></row></sheetData>'
        )
    }
    import_annotations(corpus, xlsx(tmp_path / "f.xlsx", saved))
    assert clips_of(corpus)["a_0_0"] == (1, 2, None)


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
    assert "row 2: not used" in shown and "z" * 120 not in shown and all(map(str.isprintable, shown.splitlines()))


def test_only_utf8_is_read(corpus, tmp_path):
    text = "clip;start;end;artist\na_0_0;1,5;2,5;Zoé\n"
    for encoding in ("utf-16", "cp1252"):
        (tmp_path / "s.csv").write_bytes(text.encode(encoding))
        with pytest.raises(UserError, match="s.csv: not UTF-8 text; save it as 'CSV UTF-8'"):
            import_annotations(corpus, tmp_path / "s.csv")
    (tmp_path / "s.csv").write_bytes(text.encode("utf-8-sig"))
    import_annotations(corpus, tmp_path / "s.csv")
    assert clips_of(corpus)["a_0_0"][:2] == (1.5, 2.5) and load_manifest(corpus).songs[0].artist == "Zoé"
