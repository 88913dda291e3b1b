"""Rhythm: beats of dances whose beats are known, and what the network sees of them."""

import os
from pathlib import Path

import numpy as np
import pytest
import torch

from d2m_model.metrics.p4_onsets import beat_f_measure
from d2m_model.rhythm import music_beats as trackers
from d2m_model.rhythm.augment import augment, in_mirror, missing
from d2m_model.rhythm.body import FROM_BODY25, pose_features, resample
from d2m_model.rhythm.data import RhythmData
from d2m_model.rhythm.model import RhythmModel, load_rhythm, save_rhythm
from d2m_model.rhythm.params import Params
from d2m_model.rhythm.scoring import is_regular
from d2m_model.rhythm.stage import beats_of_music, training_examples
from d2m_model.rhythm.training import train
from dataset_tools.lib.core.errors import UserError
from dataset_tools.pose.layouts import SOURCES
from tests.d2m_model.rhythm.conftest import SMALL
from tests.helpers.builders import beats_of, bouncing_pose, build_shards, nodding_motion


def dips(tempo: float, seconds: float, first: float = 0.4) -> tuple[np.ndarray, np.ndarray]:
    """(beats in seconds, pose (T, 17, 3)) of a dancer that dips at an even tempo that no training clip has."""
    beats = np.arange(first, seconds, 60 / tempo)
    return beats, bouncing_pose(beats, round(seconds * 30))[:, 0]


@pytest.mark.parametrize("tempo", [97.0, 113.0, 128.0])
def test_a_dancer_who_dips_at_a_tempo_has_its_beats(learnt, tempo):
    true, pose = dips(tempo, 10)
    found = learnt[1].beats_of(pose)
    assert beat_f_measure(true, found.beats) > 0.9
    assert abs(found.tempo / tempo - 1) < 0.02
    assert is_regular(found) and len(found.strength) == len(found.beats) and set(found.downbeats) <= set(found.beats)
    assert abs(sum(found.style.values()) - 1) < 1e-5 and set(found.style) == {"house", "hiphop"}


def test_half_bodies_other_rates_and_moving_cameras_keep_their_beats(learnt):
    true, pose = dips(110.0, 10)
    half = pose.copy()
    half[:, 11:] = 0
    wandering = pose.copy()
    wandering[..., 0] += np.linspace(0, 300, len(pose))[:, None]
    at_24 = resample(pose, 30 * 30 / 24)  # 24 frames a second of the same dance
    views = {"half": (half, 30), "camera": (wandering, 30), "24 fps": (at_24, 24), "no confidence": (pose[..., :2], 30)}
    for name, (seen, fps) in views.items():
        assert beat_f_measure(true, learnt[1].beats_of(seen, fps).beats) > 0.85, name


def test_nobody_has_no_beats(learnt):
    found = learnt[1].beats_of(np.zeros((90, 17, 3), np.float32))
    assert len(found.beats) == 0 and found.tempo is None


def test_motion_is_read_like_keypoints(tmp_path):
    shards = build_shards(tmp_path, clips=5, seconds=8, motion_rate=60)
    music = beats_of_music({"train": shards}, None, trackers.librosa_beats)
    net, _ = train(training_examples(shards, "motion", music), Params(stream="motion", **SMALL))
    true = np.arange(0.4, 8, 60 / 112)
    model = RhythmModel(net)
    assert beat_f_measure(true, model.beats_of_motion(nodding_motion(true, 240, 60)).beats) > 0.9
    with pytest.raises(UserError, match=r"reads the stream 'motion', and this dance is keypoints"):
        model.beats_of(np.ones((30, 17, 3)))


# What a dancer looks like through other eyes.


def test_body25_becomes_coco17():
    named = {source: joint for joint, source in enumerate(SOURCES["body25"]) if isinstance(source, int)}
    assert all(FROM_BODY25[joint] == named[joint] for joint in range(17))


def test_features_forget_place_size_and_camera():
    pose = torch.from_numpy(bouncing_pose(beats_of(1, 8), 240)[:, 0])
    pose[..., 2] = 1
    moved = pose * torch.tensor([2.0, 2.0, 1.0]) + torch.tensor([500.0, -80.0, 0.0])
    assert torch.allclose(pose_features(pose[None]), pose_features(moved[None]), atol=1e-4)
    # far away in time is out of sight: the first second does not depend on the last two
    assert torch.allclose(pose_features(pose[None])[:, :30], pose_features(pose[None, :180])[:, :30], atol=1e-4)


def test_alterations_keep_the_shape_and_the_mirror_is_its_own_inverse():
    pose = torch.from_numpy(np.stack([bouncing_pose(beats_of(n, 3), 90)[:, 0] for n in range(40)]))
    pose[..., 2] = 1
    rng = torch.Generator().manual_seed(0)
    changed = augment(pose, rng)
    assert changed.shape == pose.shape and torch.isfinite(changed).all()
    assert set(changed[..., 2].unique().tolist()) == {0.0, 1.0}
    assert torch.equal(in_mirror(in_mirror(pose)), pose)
    lost = missing(pose, rng)[..., 2].amax(dim=1) == 0
    assert lost.any() and not lost.all(dim=1).any(), "joints are lost, and never all of them"


def test_a_batch_depends_on_seed_and_step_alone(learnt):
    shards = build_shards(learnt[0], clips=5, seconds=8)
    examples = training_examples(shards, "pose", beats_of_music({"train": shards}, None, trackers.librosa_beats))
    data = RhythmData(examples, ["hiphop", "house"], "pose", 60)
    one, same, other = data.batch(1, 5, 4), data.batch(1, 5, 4), data.batch(1, 6, 4)
    assert all(torch.equal(a, b) for a, b in zip(one, same, strict=True))
    assert not torch.equal(one.features, other.features)
    # where the target is 1 there is a beat, and nowhere else: windows of 2 s have 2 to 6 of them
    peaks = ((one.targets[..., 0] > 0.7) & (one.known > 0)).sum(dim=1)
    assert 2 <= peaks.min() and peaks.max() <= 12


def test_a_file_of_another_kind_is_refused(tmp_path):
    torch.save({"a": 1}, tmp_path / "model.pt")
    with pytest.raises(UserError, match="not a checkpoint of this project"):
        load_rhythm(tmp_path / "model.pt")


def test_a_saved_rhythm_reads_the_same_beats(learnt, tmp_path):
    save_rhythm(tmp_path / "model.pt", learnt[1].net)
    pose = dips(100.0, 6)[1]
    assert np.array_equal(load_rhythm(tmp_path / "model.pt").beats_of(pose).beats, learnt[1].beats_of(pose).beats)


@pytest.mark.skipif(
    "D2M_POSES" not in os.environ, reason="D2M_POSES names a folder of tracks of real dancers and a model.pt"
)
def test_real_dancers_have_regular_beats():
    """Of tracks <name>.npy (T, 17, 3) at 30 fps, read by the rhythm model.pt beside them, five in six have a regular beat."""
    folder = Path(os.environ["D2M_POSES"])
    model, tracks = load_rhythm(Path(os.environ.get("D2M_RHYTHM", folder / "model.pt"))), sorted(folder.glob("*.npy"))
    regular = [is_regular(model.beats_of(np.load(track))) for track in tracks]
    assert tracks and sum(regular) >= len(tracks) * 5 / 6
