"""What a stage says where the one before it has not run, or has left nothing that is ok."""

import json

import pytest

from dataset_tools.audio import __main__ as audio
from dataset_tools.clips import __main__ as clips
from dataset_tools.clips.rows import ClipRow
from dataset_tools.download import __main__ as download
from dataset_tools.i3d import __main__ as i3d
from dataset_tools.lib.core.errors import UserError
from dataset_tools.lib.core.layout import Layout
from dataset_tools.lib.core.schema import read_records, write_records
from dataset_tools.pose import __main__ as pose
from dataset_tools.sources.check import ROWS
from dataset_tools.split import __main__ as split
from tests.helpers.builders import build_manifest

MISSING = {
    download: ("videos.csv", "sources"),
    clips: ("clips.csv", "sources"),
    pose: ("rows.csv", "clips"),
    i3d: ("rows.csv", "clips"),
    audio: ("rows.csv", "clips"),
    split: ("rows.csv", "clips"),
}


@pytest.fixture
def root(tmp_path):
    build_manifest(tmp_path, "tiny")
    sections = {
        "download": {},
        "clips": {},
        "pose": {"weights": "none.pkl"},
        "i3d": {"weights": "none.pt"},
        "audio": {},
        "split": {},
    }
    (tmp_path / "params.yaml").write_text(json.dumps({"corpus": "tiny"} | sections))
    return tmp_path


@pytest.mark.parametrize("stage", MISSING, ids=lambda stage: stage.__name__)
def test_a_table_that_is_missing_names_the_stage_to_run(root, stage):
    table, before = MISSING[stage]
    with pytest.raises(
        UserError, match=f"{before}/{table}: file not found; run python -m dataset_tools.{before} --corpus tiny first"
    ):
        stage.main(["--root", str(root), "--corpus", "tiny"])


@pytest.mark.parametrize("stage", [pose, i3d, audio, split], ids=lambda stage: stage.__name__)
def test_nothing_that_is_ok_is_said_before_any_weights_are_looked_for(root, stage):
    table = Layout(root=root, corpus="tiny").stage("clips") / "rows.csv"
    row = ClipRow(id="c1", status="failed", reason="video v1 was not downloaded", video_id="v1", song_id="s1")
    write_records(table, [row], ClipRow)
    with pytest.raises(UserError, match="clips/rows.csv: none of its 1 rows is ok.*; c1: video v1 was not downloaded"):
        stage.main(["--root", str(root), "--corpus", "tiny"])


@pytest.mark.parametrize("stage", ROWS)
def test_a_table_of_an_older_version_or_with_more_columns_is_read(tmp_path, stage):
    """Columns that came later have a default; those that the record does not have are passed over."""
    first = {"id": "c1", "status": "ok"} | ({"video_id": "v1", "song_id": "s1"} if stage == "clips" else {})
    table = tmp_path / "rows.csv"
    table.write_text(f"mine,{','.join(first)}\n7,{','.join(first.values())}\n")
    assert read_records(table, ROWS[stage]) == [ROWS[stage](**first)]
