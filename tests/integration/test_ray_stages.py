"""All data stages of a small demo corpus on a Ray cluster write the bytes that local processes write."""

import importlib
import json
import shutil

import pytest

from benchmarks.ray_stages import ray_on
from dataset_tools.lib.core.cluster import choose_cluster
from dataset_tools.lib.core.layout import DATA_STAGES, Layout
from dataset_tools.shards import __main__ as shards_command
from dataset_tools.shards.params import EXPORTS
from tests.conftest import ROOT

pytest.importorskip("ray")


@pytest.fixture(scope="module")
def on_ray():
    with ray_on(2):
        yield
    choose_cluster("")


def files(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_every_data_stage_and_export(pipeline, on_ray, tmp_path):
    local, cluster = Layout(root=pipeline, corpus="demo"), Layout(root=tmp_path, corpus="demo")
    shutil.copytree(ROOT / "manifests", tmp_path / "manifests")
    shutil.copy(ROOT / "presets" / "tiny.yaml", cluster.params)
    for stage in DATA_STAGES:
        command = importlib.import_module(f"dataset_tools.{stage}.__main__")
        assert command.main(["--root", str(tmp_path), "--cluster", "auto"]) == 0
        written, expected = files(cluster.stage(stage)), files(local.stage(stage))
        assert written.keys() == expected.keys() and len(written) > 1
        assert not [name for name, content in written.items() if content != expected[name]], stage
    assert len(json.loads(cluster.memo("download").read_text())[1]) > 1  # what its processes found out
    for kind in EXPORTS:
        for place, root in (("auto", tmp_path), ("local", pipeline)):
            out = tmp_path / f"{kind}-{place}"
            export = ["--root", str(root), "--cluster", place, "export", "--format", kind, "--out", str(out)]
            assert shards_command.main(export) == 0
        assert files(tmp_path / f"{kind}-auto") == files(tmp_path / f"{kind}-local")
