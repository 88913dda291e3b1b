"""The renderer: what it draws is where its keypoints say, and visibility tells what one can see."""

from dataclasses import replace

import numpy as np
import pytest

from dataset_tools.demo.render import skeleton as sk
from dataset_tools.demo.render.figure import Appearance
from dataset_tools.demo.render.lens import Lens
from dataset_tools.demo.render.props import OCCLUDERS, Occluder
from dataset_tools.demo.render.scene import FRAMINGS, PAN_MARGIN, Dancer, Scene, render
from dataset_tools.demo.render.skeleton import DOFS, Body
from dataset_tools.demo.scene import main
from dataset_tools.demo.train.training_frames import dance_frames, random_frame, random_motion

WIDTH, HEIGHT, SCALE = 204, 360, 200.0


def studio(place=(102.0, 340.0), **look) -> Scene:
    """One dancer in red and green before a blue wall, seen straight on."""
    red, green, skin = (np.array(rgb, float) for rgb in ((220, 20, 20), (20, 200, 20), (230, 180, 140)))
    clothes = Appearance(skin, np.zeros(3), red, green, red, red, np.zeros(2), **look)
    wall = np.full((HEIGHT + 2 * PAN_MARGIN, WIDTH + 2 * PAN_MARGIN, 3), (0, 0, 255), np.uint8)
    return Scene(WIDTH, HEIGHT, wall, np.eye(3), (Dancer(Body(), clothes, np.array(place), SCALE),))


def pose(**degrees) -> np.ndarray:
    angles = np.zeros((1, len(DOFS)))
    for name, value in degrees.items():
        angles[0, DOFS.index(name)] = value
    return angles


def test_every_joint_lies_on_the_drawn_dancer():
    image, keypoints = render(studio(), pose(lab=60, rab=100, rel=40))
    assert (keypoints[0, :, 2] == 2).all()
    for x, y, _ in keypoints[0]:
        red, green, blue = image[round(y), round(x)].astype(int)
        assert blue < max(red, green, 30), "a joint on the blue wall"
    x, y, _ = keypoints[0, sk.LKNEE]
    assert image[round(y), round(x)].argmax() == 1, "green trousers at the knee"
    x, y = keypoints[0, [sk.LSHOULDER, sk.RSHOULDER, sk.LHIP, sk.RHIP], :2].mean(axis=0)
    assert image[round(y), round(x)].argmax() == 0, "a red shirt on the chest"


def test_keypoints_are_the_projected_joints():
    scene = studio()
    _, keypoints = render(scene, pose(lab=90))
    joints = sk.forward(Body(), pose(lab=90)[0]).joints[:17]
    np.testing.assert_allclose(keypoints[0, :, 0], 102 + SCALE * joints[:, 0])
    np.testing.assert_allclose(keypoints[0, :, 1], 340 - SCALE * joints[:, 1])


def test_something_before_the_wrist_makes_it_occluded():
    scene = studio()
    _, seen = render(scene, pose(lab=90))
    x, y, _ = seen[0, sk.LWRIST]
    box = Occluder(round(x) - 4, round(y) - 4, np.zeros((9, 9, 3), np.uint8), np.ones((9, 9), bool))
    image, covered = render(replace(scene, occluders=(box,)), pose(lab=90))
    assert seen[0, sk.LWRIST, 2] == 2 and covered[0, sk.LWRIST, 2] == 1
    np.testing.assert_array_equal(covered[0, :, :2], seen[0, :, :2])
    assert not image[round(y), round(x)].any()


def test_the_dancers_own_body_occludes():
    _, keypoints = render(studio(), pose(yaw=90))  # the left side is turned away
    assert keypoints[0, [sk.LSHOULDER, sk.RSHOULDER], 2].tolist() == [1, 2]


def test_a_nearer_dancer_occludes():
    front = studio().dancers[0]
    back = replace(front, place=front.place - (0, 30))
    scene = replace(studio(), dancers=(front, back))
    _, keypoints = render(scene, np.repeat(pose(), 2, axis=0))
    assert (keypoints[0, :, 2] == 2).all()
    assert keypoints[1, [sk.LKNEE, sk.RKNEE], 2].tolist() == [1, 1]


def test_out_of_frame_is_zero():
    _, keypoints = render(studio(place=(102.0, 420.0)), pose())  # the floor is 60 px below the picture
    np.testing.assert_array_equal(keypoints[0, [sk.LANKLE, sk.RANKLE]], np.zeros((2, 3)))
    assert keypoints[0, sk.NOSE, 2] == 2


def test_turned_away_face_does_not_exist():
    _, keypoints = render(studio(), pose(yaw=180))
    assert keypoints[0, [sk.NOSE, sk.LEYE, sk.REYE], 2].tolist() == [0, 0, 0]
    assert keypoints[0, [sk.LEAR, sk.LSHOULDER, sk.RANKLE], 2].tolist() == [2, 2, 2]


def test_pan_moves_dancer_and_room_together():
    scene = studio()
    scene.background[:, PAN_MARGIN + 20 : PAN_MARGIN + 24] = 255
    panned = replace(scene, pan=(6.0, 8.0, 0.0))
    (image, keypoints), (moved, shifted) = render(scene, pose(), 2.0), render(panned, pose(), 2.0)
    np.testing.assert_allclose(shifted[0, :, 0], keypoints[0, :, 0] - 6.0)
    np.testing.assert_array_equal(moved[:, 14:18], image[:, 20:24])


@pytest.mark.parametrize("size", [(204, 360), (270, 360), (360, 360), (257, 257)])
def test_random_scenes_of_every_size_framing_and_occluder(size):
    for framing in FRAMINGS:
        for seed, occluder in enumerate((None, *OCCLUDERS)):
            rng = np.random.default_rng(seed)
            scene = Scene.random(rng, *size, dancers=1 + seed % 3, framing=framing, occluder=occluder, moving=True)
            angles = np.concatenate([random_motion(rng, np.zeros(1)) for _ in scene.dancers])
            image, keypoints = render(scene, angles, 1.3)
            assert image.shape == (size[1], size[0], 3) and image.dtype == np.uint8
            assert keypoints.shape == (len(scene.dancers), 17, 3) and set(np.unique(keypoints[..., 2])) <= {0, 1, 2}
            assert (keypoints[..., :2] >= -0.5).all() and (keypoints[..., :2] <= np.array(size) - 0.5).all()


def test_corpus_dancers_are_half_to_most_of_the_frame_tall():
    for seed in range(30):
        scene = Scene.random(np.random.default_rng(seed), WIDTH, HEIGHT, 1 + seed % 3)
        tall = [dancer.scale * dancer.body.height / HEIGHT for dancer in scene.dancers]
        assert all(0.499 < t < 0.851 for t in tall)
        assert scene.dancers[0].place[1] == max(dancer.place[1] for dancer in scene.dancers)


def test_same_seed_same_bytes():
    def frame(seed):
        image, people = random_frame(np.random.default_rng(seed), 193)
        return image.tobytes() + b"".join(person.tobytes() for person in people)

    assert frame(5) == frame(5) != frame(6)
    again = [list(dance_frames(2, seed=1)) for _ in range(2)]
    np.testing.assert_array_equal(again[0][1][0], again[1][1][0])


def test_a_lens_is_one_camera_and_only_its_grain_flickers():
    image = np.random.default_rng(0).integers(0, 256, (40, 50, 3)).astype(np.uint8)
    lens = replace(Lens.random(np.random.default_rng(1), strong=True), grain=0.0)
    rng = np.random.default_rng(2)
    np.testing.assert_array_equal(lens.expose(rng, image), lens.expose(rng, image))
    noisy = replace(lens, grain=4.0)
    assert (noisy.expose(rng, image) != noisy.expose(rng, image)).any()


def test_training_frames_hold_full_turns_and_zero_to_three_dancers():
    rng = np.random.default_rng(0)
    people = [random_frame(rng, 129)[1] for _ in range(150)]
    assert {len(p) for p in people} == {0, 1, 2, 3}
    seen = np.array([k for p in people for k in p])[..., 2]
    assert 0.2 < (seen[:, sk.NOSE] == 0).mean() < 0.6  # turned away or out of frame
    assert 0.6 < (seen == 2).mean() < 0.95


def test_random_motion_stays_within_the_joints_limits():
    rng = np.random.default_rng(0)
    motion = np.concatenate([random_motion(rng, np.arange(30) / 30) for _ in range(50)])
    np.testing.assert_array_equal(motion, sk.clip_angles(motion))


def test_wrong_number_of_dancers_is_named():
    with pytest.raises(ValueError, match="one row per dancer"):
        render(studio(), np.zeros((2, len(DOFS))))


def test_contact_sheet(tmp_path):
    assert main(["--sheet", str(tmp_path / "sheet.png"), "--count", "6", "--size", "65"]) == 0
    assert (tmp_path / "sheet.png").stat().st_size > 1000
