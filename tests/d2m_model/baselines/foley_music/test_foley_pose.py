"""The dance as Foley Music reads it."""

import numpy as np
import pytest
import torch

from d2m_model.baselines.foley_music.pose import (
    BONES,
    CENTRE,
    at_speed,
    in_mirror,
    partitions,
    random_move,
    resample_pose,
    window,
)
from tests.helpers.builders import bouncing_pose


@pytest.mark.parametrize("joints", [17, 25])
def test_the_skeleton_hangs_together_and_its_neighbours_are_shared_out(joints):
    graph = partitions(joints).numpy()
    assert graph.shape == (3, joints, joints)
    whole = graph.sum(axis=0)
    assert np.allclose(whole.sum(axis=0), 1) and (np.linalg.matrix_power(whole, joints) > 0).all()
    assert {(a, b) for a, b in np.argwhere(whole) if a < b} == {tuple(sorted(bone)) for bone in BONES[joints]}
    # The middle has nothing nearer to it; whoever takes from a nearer joint gives to it as a farther one.
    assert not graph[1][:, list(CENTRE[joints])].any()
    assert ((graph[1] > 0) == (graph[2] > 0).T).all()
    hand, elbow = (9, 7) if joints == 17 else (4, 3)
    assert graph[1][elbow, hand] > 0 and graph[2][hand, elbow] > 0 and graph[0][hand, hand] > 0


def test_30_frames_a_second_become_22():
    pose = np.zeros((90, 1, 17, 3), np.float32)
    pose[..., 2] = 1
    pose[:, 0, :, 0] = np.arange(90)[:, None] / 30
    found = resample_pose(pose)
    assert found.shape == (66, 17, 3)
    assert np.allclose(found[:, 0, 0], np.arange(66) / 22, atol=1e-5)
    assert len(resample_pose(pose[:1])) == 1


def test_a_dance_at_another_speed_and_in_a_mirror():
    pose = np.random.default_rng(0).normal(size=(40, 17, 3)).astype(np.float32)
    assert np.array_equal(at_speed(pose, 2.0), pose[::2]) and len(at_speed(pose, 0.5)) == 80
    flipped = in_mirror(pose)
    assert np.array_equal(flipped[:, 10], pose[:, 9] * [-1, 1, 1]) and np.array_equal(in_mirror(flipped), pose)


def test_a_window_does_not_know_where_and_how_large_the_body_is():
    pose = resample_pose(bouncing_pose(np.arange(0.1, 5, 0.5), 150))
    found, frames = window(pose, 0)
    assert found.shape == (132, 17, 3) and frames == 110 and not found[110:].any()
    moved = pose.copy()
    moved[..., :2] = 3 * moved[..., :2] + (100, -40)
    assert np.allclose(window(moved, 0)[0], found, atol=1e-4)
    later, rest = window(pose, 30)
    assert rest == 80 and np.allclose(np.diff(later[:80, 0, 1]), np.diff(found[30:110, 0, 1]), atol=1e-2)
    assert not window(np.zeros_like(pose), 0)[0].any()


def test_a_random_move_is_a_camera_that_turns_zooms_and_shifts_evenly():
    pose = torch.randn(4, 21, 17, 3, generator=torch.Generator().manual_seed(0))
    moved = random_move(pose, torch.Generator().manual_seed(1))
    assert torch.equal(moved[..., 2], pose[..., 2])
    assert torch.equal(moved, random_move(pose, torch.Generator().manual_seed(1)))

    def shape(x):  # distances within a body, up to its size
        apart = torch.cdist(x[..., :2], x[..., :2])
        return apart / apart.mean(dim=(2, 3), keepdim=True), apart.mean(dim=(2, 3))

    (kept, before), (got, after) = shape(pose), shape(moved)
    assert torch.allclose(kept, got, atol=1e-4)
    zoom = after / before
    assert (zoom > 0.9).all() and (zoom < 1.1).all() and zoom.std(dim=1).min() > 1e-3
    assert torch.allclose(zoom[:, 10], (zoom[:, 0] + zoom[:, -1]) / 2, atol=1e-4)
