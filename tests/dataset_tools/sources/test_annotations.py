"""An annotation sheet of any shape fills a manifest in: nothing that was there is lost, and what is in doubt is named."""

import csv
from datetime import time, timedelta

import openpyxl
import pytest

from dataset_tools.lib.core import schema
from dataset_tools.lib.core.errors import UserError
from dataset_tools.lib.core.manifest import find_missing_values, load_manifest
from dataset_tools.sources import __main__ as sources
from dataset_tools.sources.annotations import import_annotations
from tests.helpers.builders import build_manifest, tiktok_as_published


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


def test_the_real_corpus_from_a_spreadsheet(tmp_path, capsys):
    folder = tiktok_as_published(tmp_path / "manifests" / "tiktok")
    with open(folder / "clips.csv", newline="") as handle:
        known = sorted(csv.DictReader(handle), key=lambda row: int(row["clip_id"].split("_")[2]))
    rows = [["Video link", "music ID", "Video ID", "Start time", "Length", "Dancers", "remarks"]]
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
    order = ["import-annotations", str(path), "--root", str(tmp_path), "--map", "Video ID=clip"]
    assert sources.main([*order, "--dry-run"]) == 0
    assert content(folder) == before and "would fill in 445 clips.csv dancers, 445" in capsys.readouterr().out

    assert sources.main(order) == 0
    shown = capsys.readouterr().out
    assert "'Video ID' as clip" in shown and "column 'remarks' is not used" in shown
    assert "row 447: not used: clip '999' is not in clips.csv" in shown
    assert "row 448: not used: it says song '3', but clip 000000_0_0 belongs to song 0" in shown
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
    assert "row 5: its times are not used: its end 4.0 s is not 1.0 s or more after its start 5.0 s" in shown
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
    before = content(corpus)
    with pytest.raises(UserError, match="--by-order with 5 rows for 4 clips; each clip needs one row"):
        import_annotations(corpus, path, by_order=True, fill_down=True)
    swapped = [rows[0], rows[1], rows[3], rows[2], rows[4]]
    with pytest.raises(
        UserError, match=r"row 3: --by-order: it says video 'b', but clip a_1_2 belongs to video a; put"
    ):
        import_annotations(corpus, sheet(path, swapped), by_order=True, fill_down=True)
    with pytest.raises(UserError, match="row 3: --by-order: it says video '', but"):
        import_annotations(corpus, sheet(path, rows[:-1]), by_order=True)
    assert content(corpus) == before
    import_annotations(corpus, sheet(path, rows[:-1]), by_order=True, fill_down=True)
    assert clips_of(corpus) == {
        "a_0_0": (1, 2, None),
        "b_0_1": (5, 6, None),
        "a_1_2": (3, 4, None),
        "b_1_3": (7, 8, None),
    }
    assert [v.url[-11:] for v in load_manifest(corpus).videos] == ["A" * 11, "B" * 11]


def test_numbers_of_compilations_and_equal_complaints(tmp_path):
    tiktok_as_published(tmp_path / "tiktok")
    rows = [["Compilation", "clip", "start", "end"], *([n // 4, n, 30 * n, 30 * n + 29] for n in range(4))]
    path = sheet(
        tmp_path / "s.csv",
        [*rows, ["Comp 9", 4, 1, 29], *([0, f"new{n}", 1, 2] for n in range(2)), ["", "", 1, 2]],
    )
    found = import_annotations(tmp_path / "tiktok", path, dry_run=True)
    assert len(found.filled) == 8
    assert found.notes[0] == "row 6: not used: it says video 'Comp 9', but clip 000000_0_4 belongs to video 000000"
    several = "is not in clips.csv, or several clips there end in this number"
    assert found.notes[1:3] == [f"row {n + 7}: not used: clip 'new{n}' {several}" for n in range(2)]
    lengths = [["clip", "duration", "dancers"], *([n, 28, "crowd"] for n in (0, 1, 2, 5))]
    notes = import_annotations(
        tmp_path / "tiktok", sheet(tmp_path / "d.csv", [*lengths, [7, "", 1]]), dry_run=True
    ).notes
    assert notes == [
        "row 2, 3, 4, 5: dancers is not used: 'crowd' is not a number of dancers (1 to 64)",
        "row 2, 3, 4, 5: its times are not used: it has duration; give start and end, start and duration, or times alone",
    ]


def test_a_list_of_compilations_names_no_clips(corpus, tmp_path):
    rows = [["Compilation", "YouTube"], ["A", "AAAAAAAAAAA"], ["b", "BBBBBBBBBBB"]]
    with pytest.raises(UserError, match="no column tells which clip"):
        import_annotations(corpus, sheet(tmp_path / "s.csv", rows))


def test_a_title_above_the_names_is_refused(corpus, tmp_path):
    rows = [["The corpus"], ["clip", "start", "end"], ["a_0_0", 1, 2]]
    with pytest.raises(
        UserError, match="row 1 names no url, .* in The corpus with .* or delete the rows above the names"
    ):
        import_annotations(corpus, sheet(tmp_path / "s.csv", rows))


def test_a_number_at_the_end_of_several_clips_names_none(tmp_path):
    clips = [schema.Clip(clip_id=f"{video}_0_1", video_id=video, song_id="0") for video in "ab"]
    folder = build_manifest(tmp_path, "twice", clips=clips, videos=[schema.Video(video_id=v, url="") for v in "ab"])
    rows = [["clip", "start", "end"], ["1", 1, 2], ["B_0_01", 3, 4]]
    import_annotations(folder, sheet(tmp_path / "s.csv", rows))
    assert clips_of(folder) == {"a_0_1": (None, None, None), "b_0_1": (3, 4, None)}


def test_columns_of_other_names(corpus, tmp_path):
    path = sheet(tmp_path / "s.csv", [["Tanz", "von", "bis = Ende"], ["a_0_0", "1", "2"]])
    with pytest.raises(
        UserError, match="row 1 names no url, start, end or dancers; say which .* Tanz, von, bis = Ende"
    ):
        import_annotations(corpus, path)
    import_annotations(corpus, path, mapping=["tanz=clip", "von=start", "bis = Ende=end"])
    assert clips_of(corpus)["a_0_0"] == (1, 2, None)
    for wrong, words in (
        ("von", "expected THEIRS=OURS"),
        ("von=begin", "OURS one of clip"),
        ("x=start", "no such column"),
    ):
        with pytest.raises(UserError, match=words):
            import_annotations(corpus, path, mapping=[wrong])
    twice = sheet(tmp_path / "t.csv", [["clip", "start", "Start time", "end"], ["a_0_0", "1", "1", "2"]])
    with pytest.raises(UserError, match="'start' and 'Start time' both look like start: say which with --map"):
        import_annotations(corpus, twice)


def test_an_implausible_length_is_pointed_out(tmp_path):
    tiktok_as_published(tmp_path / "tiktok")
    path = sheet(tmp_path / "s.csv", [["clip", "start", "end"], ["000000_0_0", 0, 9], ["000000_0_1", 20, 49]])
    notes = import_annotations(tmp_path / "tiktok", path, dry_run=True).notes
    assert notes == ["look at clip 000000_0_0: 9 s in the sheet, but 14 segments of 2 s were cut from it"]


def test_a_result_that_is_no_valid_manifest_is_not_written(corpus, tmp_path):
    before = content(corpus)
    with pytest.raises(UserError, match="not changed, because the result would not .* a clip has 3600 s at most"):
        import_annotations(corpus, sheet(tmp_path / "s.csv", [["clip", "start", "end"], ["a_0_0", "0:01", "1:30:01"]]))
    assert content(corpus) == before
