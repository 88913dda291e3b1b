"""A corpus in packs: every stage reads them, and the shards have the same bytes as without packs."""

import base64
import shutil
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml

from dataset_tools.lib.core.layout import Layout
from dataset_tools.lib.core.packs import INDEX, is_stored, local_file
from tests.conftest import command
from tests.helpers.object_store import SECRETS, object_store

PACKED = {"clips": ".mp4", "pose": ".npy", "i3d": ".npy", "audio": ".wav"}
"""Stage with packs -> suffix of its files."""


@pytest.fixture(scope="module")
def packed(pipeline, tmp_path_factory) -> Path:
    """The corpus of `pipeline`, its data stages run again into packs, with an empty cache."""
    folder = tmp_path_factory.mktemp("packed") / "again"
    shutil.copytree(pipeline, folder, ignore=shutil.ignore_patterns("data", ".dvc", "tmp", "dvc.lock"))
    for word in ("sources", "download"):
        shutil.copytree(pipeline / "data/demo" / word, folder / "data/demo" / word)
    params = yaml.safe_load((folder / "params.yaml").read_text())
    for word in PACKED:
        params[word]["pack"] = 3
    (folder / "params.yaml").write_text(yaml.safe_dump(params))
    for word in (*PACKED, "split", "shards"):
        done = command(folder, "python", "-m", f"dataset_tools.{word}")
        assert done.returncode == 0, done.stderr
    return folder


def test_the_tables_and_the_shards_have_the_same_bytes(pipeline, packed):
    for word, suffix in PACKED.items():
        folder = packed / "data/demo" / word
        assert {path.suffix for path in folder.iterdir()} == {".tar", ".csv"}
        assert (folder / "rows.csv").read_bytes() == (pipeline / "data/demo" / word / "rows.csv").read_bytes()
        assert all(is_stored(folder / path.name) for path in (pipeline / "data/demo" / word).glob(f"*{suffix}"))
    for word in ("split", "shards"):
        names = {path.name for path in (pipeline / "data/demo" / word).iterdir()}
        assert names == {path.name for path in (packed / "data/demo" / word).iterdir()}
        for name in names:
            assert (packed / "data/demo" / word / name).read_bytes() == (
                pipeline / "data/demo" / word / name
            ).read_bytes(), name


def check(folder: Path) -> list[str]:
    """What `sources --check --deep` finds, without that the small corpus lacks parts of the manifest's videos."""
    done = command(folder, "python", "-m", "dataset_tools.sources", "--check", "--deep")
    assert "files opened" in done.stdout, done.stderr
    return [line for line in done.stdout.splitlines() if "error: " in line and "but its video" not in line]


def test_the_check_opens_every_file_and_finds_what_is_wrong(packed, tmp_path):
    assert check(packed) == []
    damaged = tmp_path / "damaged"
    shutil.copytree(packed, damaged, ignore=shutil.ignore_patterns("runs", ".cache"))
    name = pd.read_csv(damaged / "data/demo/pose" / INDEX).iloc[0]
    with open(damaged / "data/demo/pose" / name.pack, "r+b") as pack:
        pack.seek(int(name.offset) + int(name.bytes) // 2)
        pack.write(b"damage")
    rows = (damaged / "data/demo/audio/packs.csv").read_text().splitlines(keepends=True)
    (damaged / "data/demo/audio/packs.csv").write_text("".join(rows[:1] + rows[2:]))
    lines = check(damaged)
    assert len(lines) == 2, lines
    assert f"data/demo/audio/{rows[1].partition(',')[0]}: " in lines[0] and "this file is missing" in lines[0]
    assert f"{name['name']} is damaged: its bytes are not those of packs.csv" in lines[1]
    done = command(damaged, "python", "-m", "dataset_tools.shards")
    table = pd.read_csv(damaged / "data/demo/shards/rows.csv").set_index("id")
    assert done.returncode == 2 and set(table.status) == {"dropped", "ok"}
    assert "is damaged" in table.reason[name["name"].removesuffix(".npy")]


def test_those_who_show_clips_read_them(packed, tmp_path):
    """report, listen, studio, --overlay, and the baseline that watches videos."""
    from d2m_model.baselines.cmt.video import read_motion
    from d2m_model.listen import stage as listen
    from d2m_model.listen.params import Params as ListenParams
    from d2m_model.report.stage import clip_card
    from d2m_model.studio.jobs import Jobs
    from d2m_model.studio.params import Params
    from d2m_model.studio.stage import clips_of
    from dataset_tools.lib.core.params import load_params
    from dataset_tools.lib.core.timebase import SAMPLE_RATE
    from dataset_tools.lib.shard_io.shard_set import ShardSet
    from tests.d2m_model.studio.conftest import CHANGE, client_of

    layout = Layout(root=packed, corpus="demo")
    test = [clip["id"] for clip in clips_of(layout, Params().split)]
    path = packed / f"data/demo/clips/{test[0]}.mp4"
    assert len(read_motion(path).speed) > 100
    done = command(packed, "python", "-m", "dataset_tools.pose", "--overlay", test[0], "--out", str(tmp_path / "o.mp4"))
    assert done.returncode == 0 and (tmp_path / "o.mp4").stat().st_size > 1000, done.stderr
    jobs = Jobs(layout, Params())
    answer = client_of(jobs).post("/api/jobs/from-clip", json={"clip": test[0]}, headers=CHANGE)
    assert answer.status_code == 201, answer.text
    with local_file(path) as video:
        data = video.read_bytes()
    assert (jobs.all()[0].folder / "video.mp4").read_bytes() == data
    _, files = listen.prepare(layout, load_params(layout.params, "listen", ListenParams))
    assert any(name.endswith(".mp4") for name in files.values())
    assert all((layout.stage("listen") / "media" / name).is_file() for name in files.values())
    entry = next(clip for clip in ShardSet(layout.stage("shards"), "test").clips if clip.clip_id == test[0])
    scores = pd.DataFrame(columns=["clip_id", "system", "own", "other"])
    card = clip_card(entry, np.zeros(SAMPLE_RATE, np.float32), {}, {}, None, scores, {"video": path, "controls": {}})
    assert base64.b64decode(card["video"]) == data


def clone(folder: Path, origin: Path) -> Path:
    """What git would clone: code, parameters and dvc.lock, without data."""
    shutil.copytree(origin, folder, ignore=shutil.ignore_patterns("data", "runs", ".dvc"))
    assert command(folder, "dvc", "init", "--no-scm", "-q").returncode == 0
    return folder


def dvc(folder: Path, *args: str) -> str:
    done = command(folder, "dvc", *args)
    assert done.returncode == 0, f"dvc {' '.join(args)}: {done.stdout[-2000:]} {done.stderr[-2000:]}"
    return done.stdout


@pytest.mark.parametrize("kind", ["folder", "s3"])
def test_a_corpus_goes_through_a_remote(packed, tmp_path, kind):
    """`dvc push`, then `dvc pull` into a clone: every file is there, and no stage has anything to do."""
    origin = tmp_path / "origin"
    shutil.copytree(packed, origin, ignore=shutil.ignore_patterns("runs", ".cache", ".dvc"))
    dvc(origin, "init", "--no-scm", "-q")
    dvc(origin, "commit", "--force", "--quiet", "--with-deps", "shards")
    with object_store(tmp_path, "corpora") if kind == "s3" else nullcontext() as store:
        address = "s3://corpora/d2m" if kind == "s3" else str(tmp_path / "remote")
        there = clone(tmp_path / "clone", origin)
        for folder in (origin, there):
            dvc(folder, "remote", "add", "--default", "far", address)
            if store:
                dvc(folder, "remote", "modify", "far", "endpointurl", store.address)
        assert "files pushed" in dvc(origin, "push", "--with-deps", "shards")
        dvc(there, "pull", "--with-deps", "shards")
    stages = "sources", "download", "clips", "pose", "i3d", "audio", "split", "shards"
    for word in stages:
        files = sorted(path.name for path in (origin / "data/demo" / word).rglob("*") if path.is_file())
        assert files == sorted(path.name for path in (there / "data/demo" / word).rglob("*") if path.is_file())
    assert "up to date" in dvc(there, "status", *stages)
    assert "Running stage" not in dvc(there, "repro", "shards")
    if store:
        settings = (there / ".dvc/config").read_text() + (there / "dvc.lock").read_text()
        assert not any(secret in settings for secret in SECRETS.values())
