"""Ranges over training seeds: what is run for each, what is kept, and how a run is held against them."""

import json
import sys

import pytest
import yaml

from benchmarks import seeds
from d2m_model.metrics.seed_ranges import compare, ranges_file, read_ranges, summarise
from dataset_tools.lib.core.errors import UserError
from dataset_tools.lib.core.layout import Layout
from tests.conftest import ROOT

SCRIPT = """
import argparse, json, pathlib, yaml
parser = argparse.ArgumentParser()
for name in ("stage", "corpus", "level", "root"): parser.add_argument(f"--{name}")
args = parser.parse_args()
params = yaml.safe_load(open(f"{args.root}/params.yaml"))
runs = pathlib.Path(args.root, "runs", args.corpus)
codec = float((runs / "vqvae" / "codec.txt").read_text())
out = runs / args.stage / (args.level or "")
out.mkdir(parents=True, exist_ok=True)
if args.stage == "d2m_gan":
    (out / "seed.txt").write_text(str(params["d2m_gan"]["seed"]))
if args.stage == "evaluate":
    assert not (runs / "tables").exists()
    value = lambda level: codec + float((runs / "d2m_gan" / level / "seed.txt").read_text()) / 10
    assert params["systems"] == [] and params["models"] == ["full"]
    systems = {f"{level}-full": {"kind": "model", "P4": {"beats_70ms": {"difference": value(level), "difference_low": value(level) - 0.1}}} for level in ("high", "low")}
    (out / "metrics.json").write_text(json.dumps({"systems": systems | {"silence": {"kind": "control"}}}))
"""


@pytest.fixture
def root(tmp_path, monkeypatch):
    """A corpus whose stages are one small program: P4 is what the shared codec says plus a tenth of the seed."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "stage.py").write_text(SCRIPT)
    command = "python stage.py --corpus ${corpus} --stage "
    stages = {
        "vqvae": {"cmd": "python -c 1/0"},
        "d2m_gan": {"matrix": {"level": "${levels}"}, "cmd": command + "d2m_gan --level ${item.level}"},
        "generate": {"matrix": {"level": "${levels}"}, "cmd": command + "generate --level ${item.level}"},
        "evaluate": {"cmd": command + "evaluate"},
    }
    (tmp_path / "dvc.yaml").write_text(yaml.safe_dump({"stages": stages}, sort_keys=False))
    (tmp_path / "params.yaml").write_text(
        "corpus: demo\nlevels: [high, low]\nmodels: [prior, full]\nsystems: [cmt]\nvqvae: {width: 8}\nd2m_gan: {steps: 4}\nevaluate: {}\n"
    )
    for folder in ("data", "manifests/demo", "runs/demo/vqvae", "runs/demo/d2m_gan", "runs/demo/tables"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "runs/demo/vqvae/codec.txt").write_text("0.2")
    return tmp_path


def test_each_seed_is_trained_over_the_same_codec(root, monkeypatch):
    arguments = ["--root", str(root), "--stages", "d2m_gan", "--seeds", "0", "2"]
    assert seeds.main(arguments) == 0
    found = json.loads((root / ranges_file("demo")).read_text())
    assert found["systems"]["high-full"]["P4_beats"] == {"mean": 0.3, "min": 0.2, "max": 0.4, "runs": 2}
    assert found["systems"]["high-full"]["P4_beats_low"]["min"] == 0.1
    assert set(found["systems"]) == {"high-full", "low-full"}, "what no training seed changes has no range"
    assert (
        [(r["seed"], r["machine"]) for r in found["runs"]] == [(0, seeds.machine()), (2, seeds.machine())]
        and found["runs"][0]["stages"] == ["d2m_gan"]
        and not found["codec"]
    )
    assert found["params"] == {"vqvae": {"width": 8}, "d2m_gan": {"steps": 4}}
    assert not list((root / "runs/demo/d2m_gan").iterdir()), "the corpus's own runs are as they were"
    (root / "stage.py").write_text("raise SystemExit(3)")
    assert seeds.main(arguments) == 0, "what has been measured is not trained again"
    with pytest.raises(UserError, match="seed 1: `python stage.py .* --level high` ended with exit 3"):
        seeds.main(["--root", str(root), "--stages", "d2m_gan", "--seeds", "0", "1"])
    assert [r["seed"] for r in json.loads((root / ranges_file("demo")).read_text())["runs"]] == [0, 2]
    (root / "stage.py").write_text(SCRIPT)
    monkeypatch.setattr(seeds, "machine", lambda: "another")
    assert seeds.main([*arguments[:-2], "5"]) == 0
    found = json.loads((root / ranges_file("demo")).read_text())
    assert [r["seed"] for r in found["runs"] if r["machine"] == "another"] == [5] and len(found["runs"]) == 3, (
        "another machine adds its runs"
    )
    assert found["systems"]["high-full"]["P4_beats"]["max"] == 0.7
    for wrong, message in (
        (["--stages", "generate"], "generate is no stage that trains"),
        (["--corpus", "none"], "run `make repro` first"),
    ):
        with pytest.raises(UserError, match=message):
            seeds.main(["--root", str(root), *wrong])


def test_other_stages_of_a_seed_are_added_to_it():
    first = seeds.merge_run({"machine": "P 9", "seed": 0}, ["prior"], {"high-prior": {"FAD": 2.0}})
    both = seeds.merge_run(first, ["d2m_gan"], {"high-full": {"FAD": 20.0}})
    assert both == {
        "machine": "P 9",
        "seed": 0,
        "stages": ["prior", "d2m_gan"],
        "scores": {"high-prior": {"FAD": 2.0}, "high-full": {"FAD": 20.0}},
    }
    found = summarise([both["scores"], {"high-prior": {"FAD": 4.0}}])
    assert (
        found["high-prior"]["FAD"] == {"mean": 3.0, "min": 2.0, "max": 4.0, "runs": 2}
        and found["high-full"]["FAD"]["runs"] == 1
    )


def metrics(p4, seed=0):
    return {
        "systems": {
            "high-full": {"kind": "model", "seed": seed, "P4": {"beats_70ms": {"difference": p4}}, "fad": {"fad": 5.0}}
        }
    }


def test_a_run_is_held_against_the_range(tmp_path):
    layout = Layout(root=tmp_path, corpus="demo")
    layout.params.write_text("vqvae: {width: 8}\nd2m_gan: {steps: 4, seed: 7, threads: 3}\n")
    assert "No ranges over training seeds have been measured for demo" in compare(
        metrics(0.3), read_ranges(tmp_path / "none.json"), layout
    )
    scores = [{"high-full": {"P4_beats": value, "FAD": 5.0}} for value in (0.2, 0.4)]
    runs = [
        {"machine": "P 9", "seed": seed, "stages": ["d2m_gan"], "scores": found} for seed, found in enumerate(scores)
    ]
    ranges = {"runs": runs, "params": {"vqvae": {"width": 8}, "d2m_gan": {"steps": 4}}, "systems": summarise(scores)}
    inside, outside = compare(metrics(0.4), ranges, layout), compare(metrics(0.41), ranges, layout)
    assert (
        "trainings of d2m_gan that were measured (seeds 0, 1 on P 9)" in inside
        and "0.300 [0.200, 0.400] of 2" in inside
        and "OUTSIDE" not in inside
    )
    assert inside.endswith("All 2 scores are inside the measured range.") and "other settings" not in inside
    *_, found, meaning = outside.split("\n")
    assert (
        found == "1 of 2 scores are OUTSIDE the measured range: high-full P4_beats."
        and "up to 67 % of its scores a little outside" in meaning
    )
    layout.params.write_text("vqvae: {width: 16}\nd2m_gan: {steps: 4}\n")
    assert "other settings: vqvae of params.yaml differ" in compare(metrics(0.3), ranges, layout)
    other = {"systems": {"low-full": metrics(0.3)["systems"]["high-full"]}}
    assert compare(other, ranges, layout).endswith("No system of this run has been measured.")


def test_a_damaged_file_of_ranges_is_one_line(tmp_path):
    path = tmp_path / "x.json"
    by_seed, part = (
        '{"runs": {"0": {}}, "params": {}, "systems": {}}',
        '{"runs": [{"seed": 0}], "params": {}, "systems": {}}',
    )
    of_runs = "has no runs with machine, scores, seed, stages; run"
    for text, message in (
        ("{", "has no JSON"),
        ('{"runs": []}', "has no params, systems; run"),
        (by_seed, of_runs),
        (part, of_runs),
    ):
        path.write_text(text)
        with pytest.raises(UserError, match=message):
            read_ranges(path)


def test_the_ranges_that_the_project_has_measured_are_read(tmp_path):
    """`make repro` ends with this comparison."""
    layout, found = Layout(root=tmp_path, corpus="demo"), read_ranges(ROOT / ranges_file("demo"))
    layout.params.write_text((ROOT / "params.yaml").read_text())
    run = found["runs"][0]["scores"]["high-prior"]
    here = {
        "systems": {
            "high-prior": {
                "kind": "model",
                "P4": {"beats_70ms": {"difference": run["P4_beats"]}},
                "fad": {"fad": run["FAD"]},
            }
        }
    }
    assert compare(here, found, layout).endswith("All 2 scores are inside the measured range.")


def test_the_pipelines_commands_are_understood():
    pipeline, params = (
        yaml.safe_load((seeds.Path(__file__).resolve().parents[3] / name).read_text())
        for name in ("dvc.yaml", "params.yaml")
    )
    found = seeds.commands(pipeline, params, "d2m_gan")
    assert (
        found[1] == ["-m", "d2m_model.d2m_gan", "--corpus", "demo", "--level", "low", "--variant", "full", "--resume"]
        and len(found) == 2
    )
    assert (
        seeds.commands(pipeline, params, "evaluate") == [["-m", "d2m_model.evaluate", "--corpus", "demo"]]
        and sys.executable
    )
