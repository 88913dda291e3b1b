"""What is wrong is said where it is, in words that tell what to do."""

import shutil

import openpyxl
import pytest

from dataset_tools.download import stage as download
from dataset_tools.download.errors import describe_non_video
from dataset_tools.download.params import Params
from dataset_tools.lib.core.errors import UserError
from dataset_tools.lib.core.manifest import how_to_fill, load_manifest
from dataset_tools.lib.core.params import SECTIONS, load_params
from dataset_tools.lib.core.yaml_file import read_yaml
from dataset_tools.sources import __main__ as sources
from dataset_tools.sources.spreadsheet import read_sheet
from tests.dataset_tools.download.test_download import QUICK, run
from tests.helpers.builders import build_manifest
from tests.helpers.film_site import corpus
from tests.helpers.footage import numbered_video, tone


@pytest.fixture(scope="module")
def film(tmp_path_factory):
    """16 s with audio."""
    return numbered_video(tmp_path_factory.mktemp("film") / "film.mp4", 5, 16, tone(16, 8000), 8000)


@pytest.fixture
def checked(tmp_path, capsys, film):
    """Write files into a manifest and check it: (exit code, what was said)."""
    folder = build_manifest(tmp_path, "tiny")
    (folder / "media").mkdir()
    for name in ("video_0", "video_1"):
        shutil.copy(film, folder / "media" / f"{name}.mp4")
    (tmp_path / "params.yaml").write_text("sources: {}\n")

    def check(**files):
        for name, text in files.items():
            (folder / name.replace("_", ".")).write_text(text)
        code = sources.main(["--corpus", "tiny", "--root", str(tmp_path), "--check"])
        return code, capsys.readouterr().out

    return check


GOOD = "0123456789abcdef" * 4


@pytest.mark.parametrize("text, code, said", [
    (f"id,sha256\nvideo_0,{GOOD}\nvideo_1,{GOOD.upper()}\n", 0, "0 errors"), ("id,sha256\nvideo_0,\n", 0, "0 errors"),
    ("id,sha256\nvideo_0,abc\n", 1, "checksums.csv row 2: sha256 must be 64 hexadecimal digits or empty, found 'abc'"),
    (f"id,sha256\nvideo_9,{GOOD}\n", 0, "checksums.csv: 1 ids without a video (video_9)"), ("sha256\nx\n", 1, "column 'id' is missing"),
])  # fmt: skip
def test_checksums_are_checked(checked, text, code, said):
    found = checked(checksums_csv=text)
    assert found[0] == code and said in found[1]


@pytest.mark.parametrize(
    "text, code", [("title: x\n", 0), ("titel: x\n", 1), ("known_problems: 3\n", 1), ("a: [\n", 1)]
)
def test_the_card_is_checked(checked, text, code):
    found, said = checked(card_yaml=text)
    assert found == code and ("card.yaml" in said) == bool(code)


def test_a_malformed_checksum_is_no_changed_file(tmp_path):
    layout = corpus(tmp_path, {"v": "http://127.0.0.1:9/film.mp4"})
    (layout.manifest / "checksums.csv").write_text(f"id,sha256\nv,{GOOD[:-1]}\n")
    with pytest.raises(UserError, match=r"checksums.csv row 2: sha256 must be 64 hexadecimal digits"):
        download.download(layout, QUICK)
    assert not layout.stage("download").exists()


def test_bytes_that_are_no_film_are_shown(tmp_path):
    assert str(describe_non_video(bytes(5000))) == "not a video: it starts with the bytes 00 00 00 00 00 00 00 00"
    assert str(describe_non_video(b"")) == "not a video: it is empty"
    layout = corpus(tmp_path, {"v": "../../../manifests/c/films/v.mp4", "w": "../../../manifests/c/films/w.mp4"})
    (layout.manifest / "films").mkdir()
    (layout.manifest / "films" / "v.mp4").write_bytes(bytes(5000))
    rows = run(layout)
    assert rows["v"].reason.endswith("; replace manifests/c/films/v.mp4")
    assert rows["w"].reason.startswith("no such file: manifests/c/films/w.mp4;")


def test_tabs_and_unknown_sections_of_params(tmp_path):
    path = tmp_path / "params.yaml"
    path.write_text("clips:\n\tworkers: 2\n")
    with pytest.raises(
        UserError, match=r"params.yaml line 2: not YAML: .*cannot start any token; indent with spaces, not with tabs$"
    ):
        read_yaml(path)
    path.write_text("clipz: {}\n")
    with pytest.raises(UserError, match=r"section 'download' is missing; it has 'clipz', which is not a section"):
        load_params(path, "download", Params)
    path.write_text("download: {}\nclipz: {workers: 2}\n")
    with pytest.raises(UserError, match=r"section 'clipz' is not known; did you mean clips\? known: corpus, levels"):
        load_params(path, "download", Params)


def test_every_section_of_the_presets_is_known(request):
    """But for `cluster` and `storage`, which are about machines and not about a corpus."""
    presets = (request.config.rootpath / "presets").glob("*.yaml")
    assert set().union(*(read_yaml(path) for path in presets)) | {"cluster", "storage"} == set(SECTIONS)


def test_times_of_clips_are_seconds(tmp_path):
    folder = build_manifest(tmp_path, "tiny")
    lines = (folder / "clips.csv").read_text().splitlines()
    at, cells = lines[0].split(",").index("start"), lines[1].split(",")
    cells[at] = "0:00:01"
    (folder / "clips.csv").write_text("\n".join([lines[0], ",".join(cells), *lines[2:]]) + "\n")
    with pytest.raises(UserError, match=r"start must be a finite number, found '0:00:01'; write seconds, such as 75.5"):
        load_manifest(folder)


def test_a_formula_without_its_value_is_named(tmp_path):
    book = openpyxl.Workbook()
    for row in (["clip", "start", "end"], ["a", 1.5, "=B2+10"], ["b", "plain", 3]):
        book.active.append(row)
    book.save(tmp_path / "sheet.xlsx")
    with pytest.raises(
        UserError, match=r"sheet.xlsx cell C2: a formula without its value; open the file in a spreadsheet"
    ):
        read_sheet(tmp_path / "sheet.xlsx")


def test_nobody_is_sent_to_a_readme_that_is_not_there(tmp_path):
    assert "README" not in how_to_fill(tmp_path) and "import-annotations FILE" in how_to_fill(tmp_path)
    (tmp_path / "README.md").write_text("here")
    assert how_to_fill(tmp_path).startswith("the README.md of the manifest's folder says")
