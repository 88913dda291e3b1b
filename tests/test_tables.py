"""The paper's numbers beside ours: rows, differences, intervals, and what is said of what was not run."""

import json

import pandas as pd
import pytest

from d2m_model import tables
from dataset_tools.base.errors import UserError

P1 = {"coverage_micro": 90.0, "coverage_micro_low": 85.0, "coverage_micro_high": 95.0, "hit_micro": 80.0, "hit_micro_low": 70.0, "hit_micro_high": 88.0}
P4 = {"own": 0.5, "other": 0.4, "difference": 0.1, "difference_low": 0.05, "difference_high": 0.15, "clips": 9}
SYSTEMS = {
    "high-full": {"kind": "model", "P1": P1, "P2": {"F1": 70.0}, "P3": {"F1": 30.0}, "P4": {"beats_70ms": P4, "onsets_70ms": P4}},
    "ground truth": {"kind": "control", "P1": P1, "P4": {"onsets_70ms": P4}},
}


def test_paper_rows_are_the_papers():
    paper = pd.read_csv(tables.PAPER, dtype=str, keep_default_na=False)
    assert paper.groupby("table").size().to_dict() == {"1": 8, "2": 6, "3": 6, "4": 6, "5": 12, "6": 8}
    low = paper[(paper.table == "1") & (paper.level == "low")].iloc[0]
    assert (low.coverage, low.hit, low.genre, low.coherence, low.quality) == ("92.3", "91.7", "26.7", "3.3", "3.7")


def test_table2_has_ours_the_difference_and_what_is_missing():
    table, missing = tables.paper_table(2, SYSTEMS, 1)
    row = table[table.method == "High full"].iloc[0]
    assert row["our coverage"] == "90.0 [85.0, 95.0]" and row["coverage − paper"] == "+1.6" and row["hit − paper"] == "-2.3"
    assert row["our P4 difference"] == "+0.100 [+0.050, +0.150]"
    assert table[table.method == "Low full"].iloc[0]["our hit"] == "not run"
    assert missing == ["high-no_motion", "high-no_visual", "low-no_motion", "low-no_visual", "low-full"]
    assert "Add full, no_motion, no_visual to `variants`" in tables.note(2, "demo", missing)
    assert "Add no_fm to `variants`" in tables.note(6, "demo", ["high-no_fm"])
    assert "tiktok" in tables.note(2, "demo", []) and "tiktok" not in tables.note(2, "tiktok", [])


def test_stage_writes_every_table_in_three_forms(tmp_path):
    (tmp_path / "manifests" / "demo").mkdir(parents=True)
    (tmp_path / "params.yaml").write_text("tables: {digits: 1}\n")
    with pytest.raises(UserError, match="evaluate"):
        tables.main(["--root", str(tmp_path)])
    folder = tmp_path / "runs/demo/evaluate"
    folder.mkdir(parents=True)
    (folder / "metrics.json").write_text(json.dumps({"systems": SYSTEMS}))
    assert tables.main(["--root", str(tmp_path)]) == 0
    out = tmp_path / "runs/demo/tables"
    assert len(list(out.iterdir())) == 3 * 7
    assert "High w/o motion" in (out / "table2.tex").read_text() and "| High full" in (out / "table2.md").read_text()
    assert pd.read_csv(out / "systems.csv").loc[0, "P4 own − other (beats)"].startswith("+0.100")
