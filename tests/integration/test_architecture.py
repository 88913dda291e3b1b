"""One name per stage, and imports that go one way: the folder tree is the pipeline diagram."""

import ast
import importlib
import re
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import pytest
import yaml

from d2m_model.baselines.params import SYSTEMS
from dataset_tools.lib.core.layout import COMMANDS, DATA_STAGES, MODEL_STAGES

ROOT = Path(__file__).resolve().parents[2]
OTHER_COMMANDS = {
    "sources": (
        "dataset_tools.sources.annotations",
        "dataset_tools.sources.check",
        "dataset_tools.sources.card",
        "dataset_tools.sources.new_corpus",
    ),
    "shards": ("dataset_tools.shards.released_layout", "dataset_tools.shards.tar_samples"),
    "generate": (
        "d2m_model.generate.own_beats",
        "d2m_model.generate.own_video",
        "d2m_model.generate.own_videos",
        "d2m_model.generate.pose_files",
    ),
    "rhythm": ("d2m_model.generate", "d2m_model.rhythm.own_dance"),
}
"""What a stage imports for what the pipeline does not run: --check, export, --video and --pose."""
MODULES = {s: f"dataset_tools.{s}" for s in DATA_STAGES} | {s: f"d2m_model.{s}" for s in MODEL_STAGES + COMMANDS}


def sources():
    return sorted([*ROOT.glob("dataset_tools/**/*.py"), *ROOT.glob("d2m_model/**/*.py")])


def imports_of(path: Path) -> set[str]:
    """Dotted names of everything that a file of the project imports, anywhere in it."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {a.name for a in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module} | {f"{node.module}.{a.name}" for a in node.names}
    return names


def test_the_packages_with_a_command_line_are_exactly_the_stages():
    for package, stages in (("dataset_tools", DATA_STAGES), ("d2m_model", MODEL_STAGES + COMMANDS)):
        modules = {p.stem for p in (ROOT / package).glob("*.py")} - {"__init__"}
        packages = {p.parent.name for p in (ROOT / package).glob("*/__main__.py")}
        assert packages == set(stages) and not modules


def test_dvc_stages_params_and_presets_use_the_same_names():
    pipeline = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]
    assert list(pipeline) == [*DATA_STAGES, *MODEL_STAGES]
    for word, stage in pipeline.items():
        assert stage["cmd"].startswith(f"python -m {MODULES[word]} --corpus ${{corpus}}")
        assert {p.split(".")[0] for p in stage["params"]} - {"levels", "variants", "models", "systems"} == {word}
    for preset in [ROOT / "params.yaml", *(ROOT / "presets").glob("*.yaml")]:
        values = yaml.safe_load(preset.read_text())
        assert set(values) == {"corpus", "levels", "variants", "models", "systems", *MODULES}, preset


def start_of(word: str) -> Path:
    """The file that the command of a stage starts."""
    return ROOT.joinpath(*MODULES[word].split("."), "__main__.py")


def file_of(name: str) -> Path | None:
    """The project's file that a dotted name is in, if it is of the project."""
    path = ROOT.joinpath(*name.split("."))
    return next((p for p in (path.with_suffix(".py"), path / "__init__.py") if p.is_file()), None)


def reached(paths: list[Path], without: tuple[str, ...]) -> set[Path]:
    """The files and all of the project that they import, directly or through others, not through `without`."""
    seen, todo = set(), list(paths)
    while todo:
        if (path := todo.pop()) not in seen:
            seen.add(path)
            names = {n for n in imports_of(path) if not any(n == w or n.startswith(w + ".") for w in without)}
            todo += [found for name in names if (found := file_of(name))]
    return seen


@pytest.mark.parametrize("word", DATA_STAGES + MODEL_STAGES)
def test_dvc_runs_a_stage_again_when_its_code_changes_and_only_then(word):
    deps = [ROOT / d for d in yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"][word]["deps"]]
    systems = [file_of(m) for m in SYSTEMS.values()] if word == "baselines" else []  # imported by name
    code = {p for p in reached([start_of(word), *systems], OTHER_COMMANDS.get(word, ())) if p.name != "__init__.py"}
    lacking = {p for p in code if not any(p == dep or dep in p.parents for dep in deps)}
    assert not lacking, (
        f"dvc.yaml: {word} imports {sorted(str(p.relative_to(ROOT)) for p in lacking)}, but has no such deps"
    )
    named = {dep for dep in deps if dep.suffix == ".py" or (dep / "__init__.py").is_file()}
    needless = {dep for dep in named if not any(p == dep or dep in p.parents for p in code)}
    assert not needless, f"dvc.yaml: {word} imports nothing of {sorted(str(p.relative_to(ROOT)) for p in needless)}"
    others = {dep for dep in named if dep.is_dir() and dep != start_of(word).parent}
    loose = {dep for dep in others if any(p not in code and p.name != "__init__.py" for p in dep.rglob("*.py"))}
    assert not loose, (
        f"dvc.yaml: {word} imports only some of {sorted(str(p.relative_to(ROOT)) for p in loose)}; name the files"
    )


def test_params_is_the_demo_preset():
    assert (ROOT / "params.yaml").read_text() == (ROOT / "presets" / "demo.yaml").read_text()


@pytest.mark.parametrize("preset", sorted(p.name for p in (ROOT / "presets").glob("*.yaml")))
@pytest.mark.parametrize("word", MODULES)
def test_presets_are_accepted_by_every_stage(preset, word):
    import importlib

    from dataset_tools.lib.core.params import load_params

    load_params(ROOT / "presets" / preset, word, importlib.import_module(f"{MODULES[word]}.params").Params)


@pytest.mark.parametrize("preset", sorted(p.name for p in (ROOT / "presets").glob("*.yaml")))
def test_presets_name_systems_and_their_sections(preset):
    from d2m_model.baselines.stage import system_module
    from dataset_tools.lib.core.params import load_params, read_names

    assert set(read_names(ROOT / "presets" / preset, "systems")) <= set(SYSTEMS)
    for name in SYSTEMS:
        load_params(ROOT / "presets" / preset, f"baselines.{name}", system_module(name).Params)


@pytest.mark.parametrize("preset", sorted(p.name for p in (ROOT / "presets").glob("*.yaml")))
def test_a_baseline_runs_again_for_its_own_parameters_and_the_shared_ones(preset):
    """DVC watches what dvc.yaml names, and stops where a preset lacks one of them."""
    from d2m_model.baselines.params import Params

    values = yaml.safe_load((ROOT / "presets" / preset).read_text())
    watched = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]["baselines"]["params"]
    assert watched == [*(f"baselines.{f.name}" for f in fields(Params)), "baselines.${item.system}"]
    for system in values["systems"]:
        keys = {name.replace("${item.system}", system).removeprefix("baselines.") for name in watched}
        assert keys <= set(values["baselines"]), (preset, system)


def test_every_stage_has_a_test_and_a_mention():
    text = (ROOT / "docs" / "architecture.md").read_text()
    for word in MODULES:
        assert ROOT.joinpath("tests", *MODULES[word].split("."), f"test_{word}.py").exists(), word
        assert f"| `{word}" in text


def test_imports_go_one_way():
    for path in sources():
        names, where = imports_of(path), path.relative_to(ROOT)
        inside = where.parts[0] + ("." + where.parts[1] if len(where.parts) > 2 else "")
        inner = {f"{m}.{part}" for m in MODULES.values() for part in ("__main__", "stage") if m != inside}
        assert not names & inner, f"{where}: the inside of another stage's package"
        if where.parts[0] == "dataset_tools":
            assert not any(n.startswith("d2m_model") for n in names), where
        forbidden = {
            "dataset_tools.lib": ("dataset_tools.demo", *MODULES.values()),
            "d2m_model.nets": ("d2m_model.training", *MODULES.values()),
            "d2m_model.losses": ("d2m_model.training", *MODULES.values()),
            "d2m_model.metrics": ("d2m_model.training", *MODULES.values()),
            "d2m_model.checkpoints": ("d2m_model.training", *MODULES.values()),
            "d2m_model.training": tuple(MODULES.values()),
        }.get(inside, ())
        for name in names:
            assert not any(name == f or name.startswith(f + ".") for f in forbidden), f"{where} imports {name}"


READERS = {
    "dataset_tools/lib/core/array_file.py", "dataset_tools/lib/core/tensor_file.py", "dataset_tools/lib/audio/audio_file.py", "dataset_tools/lib/core/json_file.py",
    "dataset_tools/lib/midi.py", "dataset_tools/lib/aist/array_pickle.py", "dataset_tools/sources/spreadsheet.py",
    "d2m_model/studio/project_file.py",
}  # fmt: skip
"""Where files of others are opened, each format by one reader with its limits."""
OWN = {
    "d2m_model/demo/",
    "dataset_tools/demo/",
    "dataset_tools/lib/parallel/orphans.py",
    "dataset_tools/lib/parallel/ray_actor.py",
    "dataset_tools/lib/parallel/ray_cluster.py",
    "dataset_tools/lib/parallel/worker_process.py",
}
"""Recipes and processes that read back what they have just written themselves."""
OPENING = re.compile(
    r"\b(torch\.load|np\.load|soundfile\.(SoundFile|read|info|blocks)|zipfile\.ZipFile|pickle\.(load|loads|Unpickler)|mido\.MidiFile|wavfile\.read)\b"
)


def test_files_of_others_are_opened_by_their_readers():
    direct = {
        f"{name}: {found[0]}"
        for path in sources()
        if (name := path.relative_to(ROOT).as_posix()) not in READERS and not any(name.startswith(own) for own in OWN)
        for found in OPENING.finditer(re.sub(r'"""[\s\S]*?"""|#.*', "", path.read_text(encoding="utf-8")))
    }
    assert not direct, f"use the readers of dataset_tools.lib: {sorted(direct)}"


def test_training_imports_little_at_module_level():
    """d2m_model's training stages run on a bare CUDA machine: torch, numpy, h5py, pandas, pyyaml and tqdm."""
    allowed = {
        "torch",
        "numpy",
        "h5py",
        "pandas",
        "yaml",
        "tqdm",
        "d2m_model",
        "dataset_tools",
    } | sys.stdlib_module_names
    folders = ("training", "nets", "losses", "vqvae", "synthesizer", "d2m_gan", "rhythm")
    for path in (file for folder in folders for file in (ROOT / "d2m_model" / folder).rglob("*.py")):
        for node in ast.parse(path.read_text()).body:
            names = (
                [a.name for a in node.names]
                if isinstance(node, ast.Import)
                else [node.module]
                if isinstance(node, ast.ImportFrom)
                else []
            )
            for name in names:
                assert name.split(".")[0] in allowed, f"{path.name} imports {name} at module level"


def test_files_stay_readable():
    long = {str(p.relative_to(ROOT)): n for p in sources() if (n := len(p.read_text().splitlines())) > 400}
    assert not long, f"over 400 lines: {long}"


def test_benchmarks_are_run_as_modules():
    """`python -m benchmarks.x` from the root, as each says; as a file it would not find the packages."""
    for path in ROOT.glob("benchmarks/*.py"):
        text = path.read_text()
        assert "sys.path" not in text, path.name
        assert '__name__ == "__main__"' not in text or f"python -m benchmarks.{path.stem}" in ast.get_docstring(
            ast.parse(text)
        ), path.name


@pytest.mark.parametrize("word", MODULES)
def test_help_names_the_command(word, capsys):
    """Each runs its `main` when called as a module; that this ends in exit codes and lines, the next test sees."""
    module = importlib.import_module(f"{MODULES[word]}.__main__")
    assert re.search(r'\nif __name__ == "__main__":\n    (cli\.)?run\(main\)\n$', start_of(word).read_text())
    with pytest.raises(SystemExit) as ended:
        module.main(["--help"])
    assert not ended.value.code and re.match(rf"usage: python -m {re.escape(MODULES[word])}\b", capsys.readouterr().out)


@pytest.mark.parametrize("word", MODULES)
def test_a_mistaken_option_is_one_line(word, capsys):
    module = importlib.import_module(f"{MODULES[word]}.__main__")
    with pytest.raises(SystemExit) as ended:
        module.main(["--no-such-option"])
    told = capsys.readouterr().err
    assert (
        ended.value.code == 2
        and told.startswith("error: ")
        and told.endswith(f"; see `python -m {MODULES[word]} --help`\n")
        and told.count("\n") == 1
    )


def test_parsers_are_made_in_one_place():
    """Whose mistakes are one line: `lib.core.cli`."""
    for path in [
        f for part in ("dataset_tools", "d2m_model", "benchmarks", "tests/fuzz") for f in (ROOT / part).rglob("*.py")
    ]:
        assert path == ROOT / "dataset_tools/lib/core/cli.py" or "ArgumentParser(" not in path.read_text(), path


def test_unknown_corpus_is_one_line(tmp_path):
    (tmp_path / "manifests").mkdir()
    for word in ("sources", "clips", "evaluate"):
        done = subprocess.run(
            [sys.executable, "-m", MODULES[word], "--corpus", "nope", "--root", str(tmp_path)],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
        )
        assert (
            done.returncode == 2
            and len(done.stderr.strip().splitlines()) == 1
            and "unknown corpus 'nope'" in done.stderr
        )
