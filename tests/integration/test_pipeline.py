"""`dvc repro` from the manifest to the report, at its smallest size."""

import json

import pandas as pd
import pytest

from dataset_tools.lib.core.layout import DATA_STAGES, MODEL_STAGES
from tests.conftest import command


def test_every_stage_leaves_its_folder(pipeline):
    for word in DATA_STAGES:
        assert any((pipeline / "data/demo" / word).iterdir()), word
    for word in MODEL_STAGES:
        assert any((pipeline / "runs/demo" / word).iterdir()), word


def test_every_input_is_accounted_for(pipeline):
    clips = set(pd.read_csv(pipeline / "data/demo/sources/clips.csv").clip_id)
    for word in ("clips", "pose", "i3d", "audio", "shards"):
        rows = pd.read_csv(pipeline / "data/demo" / word / "rows.csv")
        assert set(rows.id) == clips, word
        assert (rows.status == "ok").mean() >= 0.9, rows[rows.status != "ok"]


def test_a_second_repro_does_nothing_and_says_so(pipeline):
    done = command(pipeline, "dvc", "repro")
    assert done.returncode == 0 and "up to date" in done.stdout and "Running stage" not in done.stdout


def test_the_summary_says_where_what_and_how(pipeline):
    log = (pipeline / "repro.log").read_text()
    assert "runs/demo/report/index.html" in log
    assert "fixed click" in log and "high-full" in log and "low-full" in log
    assert "python -m d2m_model.generate --video" in log


def test_metrics_have_every_system_and_control(pipeline):
    systems = json.loads((pipeline / "runs/demo/evaluate/metrics.json").read_text())["systems"]
    assert {
        "high-full",
        "low-full",
        "ground truth",
        "fixed click",
        "silence",
        "white noise",
        "random training song",
    } <= set(systems)
    truth, click = systems["ground truth"]["P4"]["onsets_70ms"], systems["fixed click"]["P4"]["onsets_70ms"]
    assert truth["own"] == pytest.approx(1) and truth["difference"] > click["difference"]
    shown = command(pipeline, "dvc", "metrics", "show", "--json")
    assert shown.returncode == 0, shown.stderr
    files = next(iter(json.loads(shown.stdout).values()))["data"]
    table = pd.read_csv(pipeline / "runs/demo/tables/systems.csv", dtype=str).set_index("system")
    for path, found in files.items():
        row = table.loc[next(n for n in table.index if path.endswith(f"/{n.replace(' ', '-')}.json"))]
        assert f"{found['data']['P1_hit']:.1f}" == row["P1 hit"].split()[0] and len(files) == len(table)
    drawn = command(pipeline, "dvc", "plots", "show", "-o", "plots")
    assert drawn.returncode == 0 and "P1_hit" in (pipeline / "plots/index.html").read_text()


def test_data_stages_give_the_same_bytes_again(pipeline, tmp_path):
    """Every stage up to shards, run again from scratch in another folder, ends in the same hashes."""
    import shutil

    again = tmp_path / "again"
    shutil.copytree(pipeline, again, ignore=shutil.ignore_patterns("data", "runs", "cache", "tmp", "dvc.lock"))
    done = command(again, "dvc", "repro", "shards")
    assert done.returncode == 0, done.stderr[-3000:]

    def locked(folder):
        import yaml

        stages = yaml.safe_load((folder / "dvc.lock").read_text())["stages"]
        return {name: [(o["path"], o["md5"]) for o in s["outs"]] for name, s in stages.items() if name in DATA_STAGES}

    assert locked(again) == locked(pipeline)
