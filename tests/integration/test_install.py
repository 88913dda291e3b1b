"""What pip gives: a wheel with all it needs, one command that works anywhere, and one line where an extra is missing."""

import ast
import os
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from importlib.metadata import packages_distributions
from pathlib import Path

import numpy as np
import pytest
import soundfile

from d2m import PACKAGES
from dataset_tools.lib.core.errors import EXTRAS, describe_missing_package, install_command
from tests.conftest import ROOT, command, environment
from tests.helpers.builders import beats_of, click_train

PARTS = ("dataset_tools", "d2m_model")
CORE = ("split", "shards", "evaluate", "tables")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    """The project's wheel, built without a network by the environment's setuptools, from a copy, for building leaves files."""
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    for part in PARTS:
        shutil.copytree(ROOT / part, source / part, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("d2m.py", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    done = command(folder, *"python -m pip wheel -q --no-index --no-deps --no-build-isolation -w . ./source".split())
    assert done.returncode == 0, done.stderr
    (made,) = folder.glob("*.whl")
    return made


@pytest.fixture(scope="module")
def bare(wheel, tmp_path_factory):
    """bare(*arguments) -> what a program did in a folder that is not the checkout, where the wheel is installed and no package of an extra."""
    folder = tmp_path_factory.mktemp("bare")
    done = command(folder, *"python -m pip install -q --no-index --no-deps --target site".split(), str(wheel))
    assert done.returncode == 0, done.stderr
    (folder / "absent").mkdir()
    for name in [name for names in EXTRAS.values() for name in names]:
        (folder / "absent" / f"{name}.py").write_text(
            f"raise ModuleNotFoundError(\"No module named '{name}'\", name='{name}')\n"
        )
    (folder / "here").mkdir()

    def run(*arguments: str) -> subprocess.CompletedProcess:
        env = environment() | {"PYTHONPATH": os.pathsep.join(str(folder / name) for name in ("absent", "site"))}
        return subprocess.run(
            [sys.executable, *arguments], cwd=folder / "here", env=env, capture_output=True, text=True, check=False
        )

    run.program = str(folder / "site" / "bin" / "d2m")
    return run


def test_the_wheel_has_every_file_of_the_packages_and_the_licence(wheel):
    names = set(zipfile.ZipFile(wheel).namelist())
    files = {
        p.relative_to(ROOT).as_posix()
        for part in PARTS
        for p in (ROOT / part).rglob("*")
        if p.is_file() and "__pycache__" not in p.parts
    }
    assert files | {"d2m.py"} == {name for name in names if ".dist-info/" not in name}
    (licence,) = [name for name in names if name.endswith("/LICENSE") and ".dist-info/" in name]
    assert zipfile.ZipFile(wheel).read(licence) == (ROOT / "LICENSE").read_bytes()


def test_the_command_lists_every_stage(bare):
    done = bare(bare.program, "--help")
    assert done.returncode == 0 and not done.stderr
    listed = dict(re.findall(r"^  (\w+) +(\S.*)$", done.stdout.split("order:\n")[1], re.MULTILINE))
    assert list(listed) == list(PACKAGES) and all(len(text) > 20 for text in listed.values())


def test_two_folders_are_scored_by_the_core_alone(bare, tmp_path):
    for folder, shift in (("generated", 0.02), ("reference", 0.0)):
        (tmp_path / folder).mkdir()
        for n in range(2):
            audio = click_train(beats_of(n, 3.0) + shift, 3 * 22050)
            soundfile.write(tmp_path / folder / f"c{n}.wav", audio.astype(np.float32), 22050)
    done = bare(
        bare.program, "evaluate", "--generated", str(tmp_path / "generated"), "--reference", str(tmp_path / "reference")
    )
    assert done.returncode == 0, done.stderr
    assert "2 clips" in done.stdout and "ground truth" in done.stdout and "generated" in done.stdout


def test_the_core_needs_no_extra(bare):
    done = bare(
        "-c",
        f"""
import webdataset
from d2m import main
for word in {CORE}:
    try:
        main([word, "--help"])
    except SystemExit as end:
        assert not end.code
""",
    )
    assert done.returncode == 0, done.stderr
    assert all(f".{word} " in done.stdout for word in CORE)


@pytest.mark.parametrize("how", ["program", "module"])
@pytest.mark.parametrize(("word", "package"), [("clips", "cv2"), ("vqvae", "torch")])
def test_a_missing_extra_is_one_line(bare, how, word, package, tmp_path):
    command = [bare.program, word] if how == "program" else ["-m", f"{PACKAGES[word]}.{word}"]
    for name in ("manifests", "params.yaml"):
        (tmp_path / name).symlink_to(ROOT / name)
    for made in ("data/demo/sources", "data/demo/shards"):  # what is missing is said before anything is imported
        (tmp_path / made).mkdir(parents=True)
    (tmp_path / "data/demo/sources/clips.csv").touch()
    done = bare(*command, "--root", str(tmp_path))
    line = f"error: the package {package} is not installed, which this needs; install it: {install_command(package)}\n"
    assert (done.returncode, done.stdout, done.stderr) == (2, "", line)


def test_other_errors_of_imports_are_shown(bare):
    assert (
        describe_missing_package(ModuleNotFoundError("no", name="json.no")) is None
        and describe_missing_package(ImportError("no", name="torch")) is None
    )
    done = bare("-m", "dataset_tools.nothing")
    assert done.returncode == 1 and "No module named dataset_tools.nothing" in done.stderr


def test_pyproject_names_every_package_that_is_imported():
    """In the core, or in the extra that the line about it names."""
    plain = lambda requirement: re.split(r"[\[<>=!~ ]", requirement)[0].lower().replace("_", "-")
    core = {plain(name) for name in PROJECT["project"]["dependencies"]}
    alone = {plain(name) for name in PROJECT["dependency-groups"]["alone"]}
    optional = {
        extra: {plain(name) for name in names} for extra, names in PROJECT["project"]["optional-dependencies"].items()
    }
    extra_of = {name: extra for extra, names in EXTRAS.items() for name in names}
    imported = set()
    for path in [p for part in PARTS for p in (ROOT / part).rglob("*.py")]:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = (
                [a.name for a in node.names]
                if isinstance(node, ast.Import)
                else [node.module]
                if isinstance(node, ast.ImportFrom)
                else []
            )
            imported |= {name.partition(".")[0] for name in names}
    known = packages_distributions()
    for name in sorted(imported - sys.stdlib_module_names - {*PARTS}):
        brought = {plain(d) for d in known.get(name, [name])}
        assert brought & (alone | optional[extra_of[name]] if name in extra_of else core), f"{name}: {brought}"
