"""AIST++'s files: names, features of known rotations, and pickles that try something."""

import os
import pickle

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from dataset_tools.aist.annotations import motion_features, read_arrays, read_keypoints, read_motion
from dataset_tools.aist.names import GENRES, parse_name
from dataset_tools.base.errors import UserError


def dump(path, content, protocol=4):
    path.write_bytes(pickle.dumps(content, protocol=protocol))
    return path


def motion(count=120, **changes):
    rng = np.random.default_rng(0)
    content = {
        "smpl_poses": rng.normal(size=(count, 72)),
        "smpl_trans": rng.normal(size=(count, 3)) * 90,
        "smpl_scaling": np.array([90.0]),
        "smpl_loss": 0.1,
    }
    return content | changes


def test_name_says_genre_music_tempo_and_sequence():
    name = parse_name("gHO_sBM_c01_d20_mHO5_ch08")
    assert (name.genre, name.music, name.camera, name.tempo) == ("gHO", "mHO5", 1, 135)
    assert name.sequence == "gHO_sBM_cAll_d20_mHO5_ch08" and name.video(7) == "gHO_sBM_c07_d20_mHO5_ch08"
    assert parse_name("gBR_sFM_cAll_d04_mBR2_ch03").camera is None and parse_name("gBR_sFM_cAll_d04_mBR2_ch03").tempo == 100
    assert list(GENRES).index("gJB") == 9 and list(GENRES).index("gHO") == 5


@pytest.mark.parametrize("bad", ["gXX_sBM_c01_d04_mBR0_ch01", "gBR_sBM_c10_d04_mBR0_ch01", "../gBR_sBM_c01_d04_mBR0_ch01", ""])
def test_other_names_are_refused(bad):
    with pytest.raises(ValueError):
        parse_name(bad)


def test_features_are_translation_over_scaling_then_rotation_matrices():
    poses = np.zeros((2, 24, 3))
    poses[1, 23] = [0, 0, np.pi / 2]
    features = motion_features(poses, np.array([[90.0, 0, -45], [0, 0, 0]]), 90.0)
    assert features.shape == (2, 219) and features.dtype == np.float32
    assert features[0, :3].tolist() == [1, 0, -0.5]
    assert np.allclose(features[0, 3:].reshape(24, 3, 3), np.eye(3))
    assert np.allclose(features[1, -9:].reshape(3, 3), [[0, -1, 0], [1, 0, 0], [0, 0, 1]], atol=1e-7)


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_reads_every_pickle_protocol(tmp_path, protocol):
    content = motion()
    features = read_motion(dump(tmp_path / "m.pkl", content, protocol))
    again = features[7, 3:].reshape(24, 3, 3)
    assert np.allclose(Rotation.from_matrix(again).as_matrix(), Rotation.from_rotvec(content["smpl_poses"][7].reshape(24, 3)).as_matrix(), atol=1e-6)


def test_keypoints_of_one_camera_with_gaps(tmp_path):
    points = np.random.default_rng(1).uniform(0, 900, (9, 60, 17, 3))
    points[..., 2] = 0.7
    points[2, 5, 9] = np.nan
    path = dump(tmp_path / "k.pkl", {"keypoints2d": points, "det_scores": np.ones((9, 60)), "timestamps": np.arange(60)})
    seen = read_keypoints(path, camera=3)
    assert seen.shape == (60, 17, 3) and (seen[5, 9] == 0).all()
    assert np.allclose(seen[6], points[2, 6], rtol=1e-6)


class Hostile:
    def __init__(self, flag):
        self.flag = flag

    def __reduce__(self):
        return os.mkdir, (str(self.flag),)


@pytest.mark.parametrize("protocol", [0, 2, 4, 5])
def test_hostile_pickle_runs_nothing(tmp_path, protocol):
    path = dump(tmp_path / "h.pkl", motion(smpl_loss=Hostile(tmp_path / "ran")), protocol)
    with pytest.raises(UserError, match="h.pkl: refused, it names .*mkdir"):
        read_motion(path)
    assert not (tmp_path / "ran").exists()


def test_damaged_and_unfit_files_are_one_line(tmp_path):
    whole = dump(tmp_path / "whole.pkl", motion()).read_bytes()
    cut = tmp_path / "cut.pkl"
    for end in range(0, len(whole), len(whole) // 40):
        cut.write_bytes(whole[:end])
        with pytest.raises(UserError, match=r"cut.pkl: (not a readable|refused)"):
            read_motion(cut)
    with pytest.raises(UserError, match="missing; found smpl_trans"):
        read_arrays(dump(tmp_path / "a.pkl", {"smpl_trans": np.zeros(3)}), ("smpl_poses",))
    with pytest.raises(UserError, match="array of numbers, found str"):
        read_motion(dump(tmp_path / "b.pkl", motion(smpl_poses="zeros")))
    with pytest.raises(UserError, match=r"expected smpl_poses \(N, 24, 3\)"):
        read_motion(dump(tmp_path / "c.pkl", motion(smpl_poses=np.zeros((100, 72)))))
    with pytest.raises(UserError, match="not finite"):
        read_motion(dump(tmp_path / "d.pkl", motion(smpl_trans=np.full((120, 3), np.nan))))
    with pytest.raises(UserError, match="holds a list"):
        read_motion(dump(tmp_path / "e.pkl", [1, 2]))
    with pytest.raises(UserError, match="expected keypoints2d"):
        read_keypoints(dump(tmp_path / "f.pkl", {"keypoints2d": np.zeros((9, 60, 25, 3))}), 1)
