"""Every stage from `sources` to `report` on a small AIST++ as its users have it, with the preset's settings scaled down."""

import os
import pickle

import numpy as np
import pandas as pd
import pytest
import yaml

from d2m_model.baselines import __main__ as baselines
from d2m_model.d2m_gan import __main__ as d2m_gan
from d2m_model.evaluate import __main__ as evaluate
from d2m_model.generate import __main__ as generate
from d2m_model.prior import __main__ as prior
from d2m_model.report import __main__ as report
from d2m_model.rhythm import __main__ as rhythm
from d2m_model.synthesizer import __main__ as synthesizer
from d2m_model.tables import __main__ as tables
from d2m_model.vqvae import __main__ as vqvae
from dataset_tools.audio import __main__ as audio
from dataset_tools.clips import __main__ as clips
from dataset_tools.demo.render.skeleton import DOFS
from dataset_tools.download import __main__ as download
from dataset_tools.i3d import __main__ as i3d
from dataset_tools.lib.aist.names import GENRES
from dataset_tools.lib.core.layout import PROJECT, Layout
from dataset_tools.lib.shard_io.shard_set import ShardSet
from dataset_tools.pose import __main__ as pose
from dataset_tools.shards import __main__ as shards
from dataset_tools.sources import __main__ as sources
from dataset_tools.split import __main__ as split
from tests.helpers.aist_set import smpl_poses, write_set

TRAIN = [f"{genre}_sBM_c01_d04_m{genre[1:]}1_ch01" for genre in GENRES]
TEST = ["gBR_sBM_c01_d04_mBR0_ch02", "gHO_sBM_c01_d20_mHO5_ch02"]
VAL = ["gBR_sBM_c01_d05_mBR0_ch03", "gHO_sBM_c01_d21_mHO5_ch03"]
BAD = "gPO_sBM_c01_d10_mPO2_ch04"
SECONDS = {"train": 2.1, "val": 2.1, "test": 4.2}
KEPT = {
    "sources": ("annotated",), "clips": ("crop",), "pose": ("weights", "max_people"), "split": ("strategy",),
    "d2m_gan": ("preset", "stream"), "evaluate": ("segments",),
}  # fmt: skip
"""What the tiny run takes from presets/aistpp.yaml."""


class Hostile:
    def __init__(self, flag):
        self.flag = flag

    def __reduce__(self):
        return os.mkdir, (str(self.flag),)


def tiny_params(**changes) -> str:
    """presets/aistpp.yaml at the size of presets/tiny.yaml, one level."""
    tiny, own = (yaml.safe_load((PROJECT / "presets" / f"{name}.yaml").read_text()) for name in ("tiny", "aistpp"))
    made = {k: v | {n: own[k][n] for n in KEPT.get(k, ())} if isinstance(v, dict) else v for k, v in tiny.items()}
    for word in ("sources", "clips", "pose", "i3d", "audio"):
        made[word] = {
            k: v for k, v in made[word].items() if k not in ("render", "seed", "videos", "clips_per_video", "min_ok")
        } | {"workers": 1}
    made["download"]["min_ok"] = made["clips"]["min_ok"] = made["pose"]["min_ok"] = made["i3d"]["min_ok"] = 0.9
    made["shards"]["max_clips"] = 8
    for word, values in changes.items():
        made[word] |= values
    return yaml.safe_dump(made | {"corpus": "aistpp", "levels": ["high"], "systems": ["dance2music"]})


@pytest.fixture(scope="module")
def layout(tmp_path_factory):
    root = tmp_path_factory.mktemp("aist")
    videos = dict.fromkeys([*TRAIN, BAD], "train") | dict.fromkeys(VAL, "val") | dict.fromkeys(TEST, "test")
    write_set(root, "aistpp", videos, SECONDS)
    hostile = root / "external" / "aistpp" / "motions" / f"{BAD.replace('_c01_', '_cAll_')}.pkl"
    hostile.write_bytes(pickle.dumps(pickle.loads(hostile.read_bytes()) | {"smpl_loss": Hostile(root / "ran")}))
    (root / "params.yaml").write_text(tiny_params())
    order = ["--corpus", "aistpp", "--root", str(root)]
    for stage in (
        sources,
        download,
        clips,
        pose,
        i3d,
        audio,
        split,
        shards,
        vqvae,
        synthesizer,
        rhythm,
        prior,
        d2m_gan,
        generate,
    ):
        assert stage.main(order) == 0, stage.__name__
    assert baselines.main([*order, "--system", "dance2music"]) == 0
    assert generate.main([*order, "--variant", "full"]) == 0
    for stage in (evaluate, tables, report):
        assert stage.main(order) == 0, stage.__name__
    return Layout(root=root, corpus="aistpp")


def test_a_hostile_pickle_costs_its_own_clip_and_runs_nothing(layout):
    assert not (layout.root / "ran").exists()
    rows = pd.read_csv(layout.stage("clips") / "rows.csv").set_index("id")
    assert list(rows.index[rows.status != "ok"]) == [BAD] and len(rows) == 15


def test_shards_hold_the_motion_of_every_part(layout):
    sets = {part: ShardSet(layout.stage("shards"), part) for part in ("train", "val", "test")}
    assert {part: len(found.clips) for part, found in sets.items()} == {"train": 10, "val": 2, "test": 2}
    assert {c.genre for c in sets["train"].clips} == set(GENRES)
    for part, found in sets.items():
        frames = round(SECONDS[part] * 30)
        assert found.info.motion_rate == 60 and {c.frames for c in found.clips} == {frames}
        for clip in found.clips:
            window = found.read(clip.clip_id)
            rotations = window.motion[..., 3:].reshape(frames, 2, 24, 3, 3)
            np.testing.assert_allclose(
                rotations @ rotations.swapaxes(-1, -2), np.broadcast_to(np.eye(3), rotations.shape), atol=1e-5
            )
            # The pelvis goes up and down in the keypoints as in the motion: 170 cm are 0.7 of 1080 px, here 144.
            hips, root = window.pose[:, 0, 11:13, 1].mean(axis=1), window.motion[:, 0, 1] * 95 / 170
            np.testing.assert_allclose(hips - hips.mean(), -(root - root.mean()) * 0.7 * 144, atol=0.1)


def test_the_published_numbers_stand_beside_ours_over_segments_of_2_s(layout):
    metrics = yaml.safe_load((layout.stage("evaluate") / "metrics.json").read_text())
    assert metrics["genre"]["classes"] == 10 and metrics["genre"]["chance"] == 10
    for summary in metrics["systems"].values():
        assert summary["P1"]["segments"] == summary["genre"]["segments"] == 4  # two clips of 4.2 s
    cells = pd.read_csv(layout.stage("tables") / "cells.csv")
    ours = cells[(cells.table == 1) & (cells.system == "high-full") & (cells.measure == "genre")].iloc[0]
    assert ours.paper == 24.4 and 0 <= ours.ours <= 100
    note = (layout.stage("tables") / "table1.md").read_text()
    assert (
        "pooled over 4 segments of 2 s" in note
        and "retrieval of 4 segments" in note
        and "The paper measured" not in note
    )
    assert (layout.stage("report") / "index.html").stat().st_size > 10_000


def test_the_validation_part_goes_through_every_stage(layout):
    order = ["--corpus", "aistpp", "--root", str(layout.root)]
    part = {"split": "val"}
    (layout.root / "params.yaml").write_text(
        tiny_params(generate=part, baselines=part, evaluate=part, d2m_gan={"measure_every": 4})
    )
    assert d2m_gan.main(order) == 0
    for variant in ("prior", "full"):
        assert generate.main([*order, "--variant", variant]) == 0
    assert baselines.main([*order, "--system", "dance2music"]) == 0
    for stage in (evaluate, tables, report):
        assert stage.main(order) == 0
    assert {path.stem for path in (layout.stage("generate") / "high-full").glob("*.wav")} == set(VAL)
    assert "P4_difference" in pd.read_csv(layout.stage("d2m_gan") / "high-full" / "curves.csv")
    assert set(pd.read_csv(layout.stage("evaluate") / "per_clip.csv").clip_id) == set(VAL)


def test_the_lifted_body_stands_as_the_dancer_does():
    """Arms that hang are a quarter turn down from SMPL's T-pose, and the whole body turns with its root."""
    angles = np.zeros((1, len(DOFS)))
    angles[0, DOFS.index("yaw")] = 90
    turns = smpl_poses(angles).reshape(24, 3)
    np.testing.assert_allclose(turns[0], [0, np.pi / 2, 0], atol=1e-9)
    np.testing.assert_allclose(turns[[16, 17]], [[0, 0, -np.pi / 2], [0, 0, np.pi / 2]], atol=1e-9)
    assert not np.delete(turns, [0, 16, 17], axis=0).any()
