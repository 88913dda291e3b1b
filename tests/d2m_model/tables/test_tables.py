"""The paper's numbers beside ours: rows, differences, intervals, and what is said of what was not run."""

import json

import pandas as pd
import pytest

from d2m_model.metrics.notes import baseline_note, control_note
from d2m_model.tables import __main__ as tables_command
from d2m_model.tables import stage as tables
from dataset_tools.lib.core.errors import UserError


def scores(hit, difference, kind="model"):
    p1 = {
        "coverage_micro": 90.0,
        "coverage_micro_low": 85.0,
        "coverage_micro_high": 95.0,
        "hit_micro": hit,
        "undefined": 0,
        "clips": 9,
    }
    p4 = {
        "own": 0.5,
        "other": 0.4,
        "difference": difference,
        "difference_low": difference - 0.05,
        "difference_high": difference + 0.05,
    }
    return {
        "kind": kind,
        "P1": p1,
        "P4": {"onsets_70ms": p4 | {"undefined": 1, "clips": 8}, "clips": 9},
        "genre": {"accuracy": 40.0},
    }


METRICS = {
    "systems": {
        "high-full": scores(80.0, 0.2),
        "VQ reconstruction high": scores(90.0, 0.3, "control"),
        "ground truth": scores(100.0, 0.5, "control"),
        "fixed click": scores(99.0, 0.01, "control"),
        "random training song": scores(70.0, -0.02, "control"),
    },
    "embedding": {"name": "demo", "label": "demo weights", "database": "train split"},
    "genre": {"database_segments": 7, "chance": 20.0, "majority": 25.0},
}
HEARD = {"coherence": {"high-full": {"mos": 3.25, "low": 3.0, "high": 3.5, "votes": 60}}, "quality": {}}
RESULTS = tables.Results(metrics=METRICS, opinions=HEARD)


def test_paper_rows_are_the_papers():
    paper = pd.read_csv(tables.PAPER, dtype=str, keep_default_na=False)
    assert paper.groupby("table").size().to_dict() == {"1": 8, "2": 6, "3": 6, "4": 6, "5": 12, "6": 8}
    low = paper[(paper.table == "1") & (paper.level == "low")].iloc[0]
    assert (low.coverage, low.hit, low.genre, low.coherence, low.quality) == ("92.3", "91.7", "26.7", "3.3", "3.7")


def test_every_number_has_its_cell():
    found = tables.cells(1, RESULTS)
    cell = lambda system, measure: found[(found.system == system) & (found.measure == measure)].iloc[0]
    hit = cell("high-full", "coverage")
    assert (hit.paper, hit.ours, hit.low, hit.high) == (88.2, 90.0, 85.0, 95.0) and hit.difference == pytest.approx(1.8)
    heard = cell("high-full", "coherence")
    assert (heard.paper, heard.ours, heard.low) == (3.5, 3.25, 3.0) and heard.difference == pytest.approx(-0.25)
    assert pd.isna(cell("high-full", "quality").ours) and cell("fixed click", "hit").ours == 99.0
    assert "Random JukeBox (ours: random training song)" in set(found.method)
    assert len(found) == 5 * (8 + 1), "eight rows of the paper, and the one control that stands for none of them"


def test_a_table_has_the_paper_ours_and_the_difference():
    table = tables.paper_table(2, RESULTS, 1).set_index("method")
    row = table.loc["High full"]
    assert (
        row["coverage: ours"] == "90.0 [85.0, 95.0]"
        and row["coverage: difference"] == "+1.6"
        and row["hit: paper"] == "82.3"
    )
    assert row["hit: difference"] == "-2.3" and row["P4 own − other: ours"] == "+0.200 [+0.150, +0.250]"
    assert table.loc["Low full", "hit: ours"] == "not run" and table.loc["Low full", "hit: difference"] == "–"
    assert {"ground truth", "fixed click", "VQ reconstruction high"} <= set(table.index) and "genre: ours" not in table
    assert (
        tables.paper_table(1, RESULTS, 1).set_index("method").loc["Ours (High)", "coherence: ours"] == "3.2 [3.0, 3.5]"
    )


def test_systems_of_others_have_a_row_in_table_1():
    more = tables.Results(
        metrics=METRICS | {"systems": METRICS["systems"] | {"CDCD": scores(91.0, 0.1, "baseline")}}, opinions={}
    )
    assert tables.paper_table(1, more, 1).set_index("method").loc["CDCD", "hit: ours"] == "91.0"
    assert "CDCD" not in set(tables.paper_table(2, more, 1).method)


def test_notes_say_how_to_run_what_is_missing():
    demo, tiktok = tables.note(6, "demo", RESULTS, 1), tables.note(2, "tiktok", RESULTS, 1)
    assert "high-no_fm" in demo and "`cp presets/demo-ablations.yaml params.yaml && dvc repro tables`" in demo
    assert (
        "name no_motion, no_visual, full in `variants` and high, low in `levels` of params.yaml and run `dvc repro tables`"
        in tiktok
    )
    assert "aistpp; ours is demo" in demo and "different music" not in tiktok
    assert "In the preset fixed, no_wav is full once more: it has none." in demo
    assert "d2m_model.listen" in tables.note(1, "demo", tables.Results(metrics=METRICS, opinions={}), 1)
    assert "d2m_model.listen" not in tables.note(1, "demo", RESULTS, 1)
    unheard = "Not run: dance2music, foley_music, cmt; name them in `systems` of params.yaml"
    assert unheard in tables.note(1, "demo", RESULTS, 1) and "Baselines: " not in tables.note(1, "demo", RESULTS, 1)


def test_baselines_have_their_rows_and_say_whether_they_beat_silence_and_noise():
    others = {"silence": scores(0.0, 0.0, "control"), "white noise": scores(10.0, 0.04, "control")}
    heard = {
        "dance2music": (0.08, "a search"),
        "cmt": (0.12, "by bars"),
        "unconditional_prior": (-0.2, "of codes"),
        "random_codes": (0.0, "of codes"),
    }
    baselines = {
        name: scores(50.0, difference, "baseline") | {"about": about} for name, (difference, about) in heard.items()
    }
    results = tables.Results(metrics=METRICS | {"systems": METRICS["systems"] | baselines | others}, opinions={})
    table = tables.paper_table(1, results, 1).set_index("method")
    assert table.loc["Dance2Music", "hit: ours"] == "50.0" and table.loc["Foley Music", "hit: ours"] == "not run"
    assert "Random JukeBox (ours: unconditional_prior)" in table.index and {
        "random_codes",
        "random training song",
    } <= set(table.index)
    assert "random_codes" not in set(tables.paper_table(2, results, 1).method)
    note = tables.note(1, "demo", results, 1)
    assert "Not run: foley_music; name it in `systems`" in note
    assert "silence is at +0.000 and white noise is at +0.040." in note
    assert "dance2music is at +0.080 [+0.030, +0.130] and does not beat silence or white noise: a search." in note
    assert "cmt is at +0.120 [+0.070, +0.170] and beats silence and white noise: by bars." in note
    assert "unconditional_prior is at -0.200" in note and "Baselines: " not in tables.note(2, "demo", results, 1)
    no_p4 = {"cmt": {"kind": "baseline", "about": "by bars"}}
    assert baseline_note(no_p4) == "Baselines: cmt: by bars." and baseline_note({}) == ""


def test_opinions_of_baselines_and_others_fill_their_cells():
    systems = METRICS["systems"] | {
        name: scores(50.0, 0.1, "baseline") for name in ("cmt", "unconditional_prior", "CDCD")
    }
    heard = {
        name: {"mos": mos, "low": None, "high": None}
        for name, mos in (("cmt", 2.5), ("unconditional_prior", 2.0), ("CDCD", 3.0))
    }
    opinions = {
        "coherence": heard,
        "quality": {"CDCD": {"mos": 3.4, "low": 3.0, "high": 4.0}},
        "split": "test",
        "raters": {"kept": 7},
    }
    results = tables.Results(metrics=METRICS | {"systems": systems, "split": "test"}, opinions=opinions)
    table = tables.paper_table(1, results, 1).set_index("method")
    assert table.loc["CMT", "coherence: ours"] == "2.5" and table.loc["CMT", "coherence: difference"] == "-0.5"
    assert table.loc["Random JukeBox (ours: unconditional_prior)", "coherence: ours"] == "2.0"
    assert table.loc["CDCD", "quality: ours"] == "3.4 [3.0, 4.0]" and table.loc["CMT", "quality: ours"] == "not run"
    note = tables.note(1, "demo", results, 1)
    assert (
        "mean opinion scores 1 to 5 of 7 raters" in note
        and "split" not in note.partition("Controls")[0].partition("Coherence")[2]
    )
    other = tables.Results(metrics=results.metrics, opinions=opinions | {"split": "val"})
    assert "on clips of the val split, where the other columns are of test" in tables.note(1, "demo", other, 1)


def test_the_controls_note_follows_the_numbers():
    note = control_note(METRICS)
    assert "the fixed click, which has not seen the dance, hits 99.0 %, no lower than 1 of 1 models" in note
    assert "between -0.020 and +0.010 and the ground truth is at +0.500; 1 of 1 models" in note and "high-full." in note
    assert "chance 20.0 %, always the commonest genre 25.0 %, ground truth 40.0 %" in note and "demo weights" in note
    better = METRICS["systems"] | {"high-full": scores(100.0, 0.02)}
    note = control_note(METRICS | {"systems": better})
    assert "below all 1 models" in note and "0 of 1 models are above" in note
    assert (
        control_note({"systems": {"high-full": {"kind": "model"}}})
        == "Controls: there are too few scores for a statement."
    )
    for protocol, f1 in (("P2", 98.0), ("P3", 30.0)):
        alone = {
            "high-full": {"kind": "model", protocol: {"F1": 60.0}},
            "fixed click": {"kind": "control", protocol: {"F1": f1}},
        }
        verdict = f"no lower than 1 of 1 models, so a {protocol} F1 up to there" if f1 > 60 else "below all 1 models."
        assert (
            f"Controls: in {protocol}'s F1, the fixed click, which has not seen the dance, is at {f1} %, {verdict}"
            in control_note({"systems": alone})
        )
    many = (
        METRICS["systems"]
        | {name: scores(50.0, 0.3) for name in ("high-d1", "high-d2")}
        | {"high-no_motion": scores(50.0, 0.0)}
    )
    assert (
        "3 of 4 models are above every one of them and above 0 with their whole interval over clips, all but high-no_motion."
        in control_note(METRICS | {"systems": many})
    )


def test_stage_writes_every_table_in_three_forms(tmp_path, capsys):
    (tmp_path / "manifests" / "demo").mkdir(parents=True)
    (tmp_path / "params.yaml").write_text("tables: {digits: 1}\n")
    with pytest.raises(UserError, match="evaluate"):
        tables_command.main(["--root", str(tmp_path)])
    for stage, name, content in (("evaluate", "metrics", METRICS), ("listen", "mos", HEARD)):
        folder = tmp_path / "runs/demo" / stage
        folder.mkdir(parents=True)
        (folder / f"{name}.json").write_text(json.dumps(content))
    assert tables_command.main(["--root", str(tmp_path), "--print", "tex"]) == 0
    assert "\\caption{Table 6: Losses}" in capsys.readouterr().out
    out = tmp_path / "runs/demo/tables"
    names = {p.stem for p in out.iterdir()}
    assert {f"table{n}" for n in range(1, 7)} | {"systems", "p1", "p4_onsets", "p4_tempo", "cells"} == names
    assert "High w/o motion" in (out / "table2.tex").read_text() and "| High full" in (out / "table2.md").read_text()
    tex = (out / "table6.tex").read_text()
    assert (
        "−" not in tex
        and "\\texttt{cp presets/demo-ablations.yaml params.yaml \\&\\& dvc repro tables}" in tex
        and "no\\_fm" in tex
    )
    assert pd.read_csv(out / "systems.csv").loc[0, "P4 own − other (onsets)"].startswith("+0.200")
    assert (out / "table1.md").read_text().count("Controls: ") == 1
    numbers = pd.read_csv(out / "cells.csv")
    assert numbers[
        (numbers.table == 6) & (numbers.system == "high-full") & (numbers.measure == "hit")
    ].difference.item() == pytest.approx(-4.7)
    (tmp_path / "runs/demo/listen/mos.json").write_text("{")
    with pytest.raises(UserError, match="not JSON"):
        tables_command.main(["--root", str(tmp_path)])


def test_codes_rhythm_and_seeds_have_their_tables_and_the_range_its_command(tmp_path, capsys):
    (tmp_path / "manifests" / "demo").mkdir(parents=True)
    (tmp_path / "params.yaml").write_text("tables: {digits: 1}\nd2m_gan: {steps: 4, seed: 2}\n")
    model = scores(80.0, 0.2) | {
        "seed": 2,
        "codes": {"level": "high", "hum_ratio": 1.25, "copied_seconds": 0.5},
        "novelty": {"novelty": 0.9},
    }
    model["P4"]["onset_ratio"] = 1.1
    model |= {
        "fad": {
            "fad": 5.0,
            "fad_low": 4.0,
            "fad_high": 6.0,
            "coded": 3.0,
            "coded_level": "high",
            "patches": 9,
            "reference_patches": 9,
        },
        "kad": {"kad": 2.5},
    }
    read = {"own": 0.95, "other": 0.25, "difference": 0.7, "clips": 9}
    metrics = METRICS | {
        "rhythm": {"beats": read, "downbeats": read | {"own": 0.8}},
        "systems": METRICS["systems"] | {"high-full": model},
    }
    (tmp_path / "runs/demo/evaluate").mkdir(parents=True)
    (tmp_path / "runs/demo/evaluate/metrics.json").write_text(json.dumps(metrics))
    assert tables_command.main(["--root", str(tmp_path)]) == 0
    out = tmp_path / "runs/demo/tables"
    assert pd.read_csv(out / "codes.csv", dtype=str).iloc[0].tolist() == [
        "high-full",
        "high",
        "1.25",
        "1.10",
        "0.90",
        "0.50",
    ]
    assert (
        pd.read_csv(out / "rhythm.csv", dtype=str)["own"].tolist() == ["0.950", "0.800"]
        and "9 clips" in (out / "rhythm.md").read_text()
    )
    row = pd.read_csv(out / "systems.csv", dtype=str).set_index("system").loc["high-full"]
    assert (row["FAD"], row["FAD coded"], row["KAD"]) == ("5.00 [4.00, 6.00]", "3.00", "2.50")
    for name in ("systems", "table1"):
        assert "Training seed 2: high-full." in (out / f"{name}.md").read_text()
    assert "coded and decoded at the system's level, high" in (out / "systems.md").read_text()
    capsys.readouterr()
    assert tables_command.main(["--root", str(tmp_path), "--compare"]) == 0
    assert "python -m benchmarks.seeds --corpus demo" in capsys.readouterr().out
    folder = tmp_path / "benchmarks/results"
    folder.mkdir(parents=True)
    known = {
        "P4_onsets": {"mean": 0.1, "min": 0.05, "max": 0.15, "runs": 2},
        "FAD": {"mean": 5.0, "min": 4.0, "max": 6.0, "runs": 2},
    }
    runs = [{"machine": "P", "seed": seed, "stages": ["d2m_gan"], "scores": {}} for seed in (0, 1)]
    ranges = {"runs": runs, "params": {"d2m_gan": {"steps": 4}}, "systems": {"high-full": known}}
    (folder / "seeds-demo.json").write_text(json.dumps(ranges))
    assert tables_command.main(["--root", str(tmp_path), "--compare"]) == 0
    assert "1 of 2 scores are OUTSIDE the measured range: high-full P4_onsets." in capsys.readouterr().out
