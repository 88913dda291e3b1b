"""The stream `motion` of shards: where a corpus has it, window by window beside the pose; where it has not, nothing changes."""

import h5py
import numpy as np
import pytest

from dataset_tools.lib.core.errors import UserError
from dataset_tools.lib.shard_io.shard_check import validate_shard
from dataset_tools.lib.shard_io.shard_format import write_shard
from dataset_tools.lib.shard_io.shard_set import ShardSet
from tests.helpers.builders import beats_of, build_clip, build_shards, nodding_motion

ATTRS = {"corpus": "a", "split": "train", "pose_layout": "coco17", "pose_weights": "annotated", "i3d_weights": "none"}


def schema(path):
    with h5py.File(path) as shard:
        return shard.attrs["schema"], "motion_rate" in shard.attrs


def test_windows_of_motion_are_those_of_the_pose(tmp_path):
    shards = build_shards(tmp_path, clips=2, motion_rate=60)
    assert shards.info.motion_rate == 60 and schema(tmp_path / "train-00000.h5") == (b"d2m-shard/2", True)
    window, whole = shards.read("clip_001", 30, 60), nodding_motion(beats_of(1, 4), 120, 60)
    assert window.motion.shape == (60, 2, 219) and window.motion.dtype == np.float32
    np.testing.assert_array_equal(window.motion, whole[30:90])
    batch = shards.read_batch([("clip_000", 0), ("clip_001", 30)], 60)
    np.testing.assert_array_equal(batch.motion[1], whole[30:90])
    dips = whole[:, :, 1].ravel()  # lowest where the beats are, at 60 steps a second
    found = np.flatnonzero((dips[1:-1] < dips[:-2]) & (dips[1:-1] <= dips[2:])) + 1
    assert np.abs(found[:, None] / 60 - beats_of(1, 4)).min(axis=1).max() <= 0.5 / 60


def test_shards_without_it_are_as_before(tmp_path):
    shards = build_shards(tmp_path, clips=2)
    assert shards.info.motion_rate == 0 and schema(tmp_path / "train-00000.h5") == (b"d2m-shard/1", False)
    assert shards.read("clip_000", 0, 60).motion.shape == (60, 0, 219)
    assert shards.read_batch([("clip_000", 0), ("clip_001", 30)], 60).motion.shape == (2, 60, 0, 219)


def test_a_shard_has_motion_of_all_its_clips_or_of_none(tmp_path):
    for rate in (0, 60):
        with pytest.raises(ValueError, match=f"clip_000: .*motion in a shard of motion_rate {rate}"):
            write_shard(tmp_path / "train-00000.h5", [build_clip(0, motion_rate=60 - rate)], ATTRS, rate)
    write_shard(tmp_path / "train-00000.h5", [build_clip(0)], ATTRS)
    write_shard(tmp_path / "train-00001.h5", [build_clip(1, motion_rate=60)], ATTRS, 60)
    with pytest.raises(UserError, match="motion_rate differs from train-00000"):
        ShardSet(tmp_path, "train")


def spoil(path, change):
    with h5py.File(path, "r+") as shard:
        change(shard)


@pytest.mark.parametrize(
    "change, said",
    [
        (lambda s: s.attrs.__setitem__("motion_rate", 45), "motion_rate must be a multiple of 30"),
        (lambda s: s.attrs.__setitem__("motion_rate", 0), "motion_rate must be a multiple of 30"),
        (lambda s: s.attrs.__setitem__("motion_rate", 30), r"motion must be float32 \(120, 1, 219\)"),
        (lambda s: s.attrs.__delitem__("motion_rate"), "'motion_rate' is missing"),
        (lambda s: s["clip_000"].__delitem__("motion"), "must contain pose, audio, i3d, motion"),
        (lambda s: s.attrs.__setitem__("schema", np.bytes_(b"d2m-shard/1")), "must contain pose, audio, i3d, found"),
    ],
)
def test_motion_is_validated_on_open(tmp_path, change, said):
    path = tmp_path / "train-00000.h5"
    build_shards(tmp_path, clips=1, motion_rate=60)
    validate_shard(path, deep=True)
    spoil(path, change)
    with pytest.raises(UserError, match=said):
        validate_shard(path)
