"""The people in a frame: our weights, OpenPifPaf's own checkpoints, hostile files, joint layouts."""

import os
import threading

import numpy as np
import pytest
import torch

from dataset_tools.demo.train.training_frames import dance_frames
from dataset_tools.lib.core.errors import UserError
from dataset_tools.lib.core.layout import PROJECT
from dataset_tools.pose.estimator import PoseEstimator, prepare_images
from dataset_tools.pose.layouts import BODY25, quantise, to_layout

WEIGHTS = PROJECT / "dataset_tools" / "demo" / "weights" / "pose_demo.pt"


torch.set_num_threads(1)


@pytest.fixture(scope="module")
def frames():
    """(image, keypoints (N, 17, 3)) of 12 frames as the corpus has them, seeds that neither corpus nor training use."""
    return list(dance_frames(12, seed=40))


def checkpoint(path, metas=None):
    """Write a checkpoint in OpenPifPaf's own format: a whole pickled network, randomly initialised."""
    import openpifpaf
    from openpifpaf.network.basenetworks import ShuffleNetV2K

    from dataset_tools.pose.net import head_metas

    openpifpaf.BASE_FACTORIES["narrow"] = lambda: ShuffleNetV2K("narrow", [1, 1, 1], [8, 16, 32, 64, 32])
    openpifpaf.network.Factory.base_name = "narrow"
    network, _ = openpifpaf.network.Factory().factory(head_metas=metas or head_metas())
    meta = {"args": {"device": torch.device("cpu"), "lr": 0.1}, "version": "0.13.0", "hostname": "there"}
    torch.save({"model": network, "epoch": 350, "meta": meta}, path)
    return network


def test_demo_weights_find_the_dancers(frames, capfd):
    from dataset_tools.demo.train.pose.evaluation import score

    estimator = PoseEstimator(WEIGHTS)
    found = list(estimator.people(image for image, _ in frames))
    assert all(f.dtype == np.float32 and f.shape[1:] == (17, 3) for f in found)
    result = score(zip(found, (people for _, people in frames)))
    assert result["pck@0.1"]["all"] > 90 and result["dancers_found"] > 90 and result["false_people_per_frame"] < 0.3
    assert all(np.array_equal(quantise(f), f) for f in found)
    assert "".join(capfd.readouterr()) == ""  # the decoder's own chatter stays out


def test_batches_and_openpifpafs_own_predictor_agree(frames):
    import openpifpaf

    image = frames[0][0]
    estimator = PoseEstimator(WEIGHTS, batch_size=5)
    together = list(estimator.people([image] * 7))
    assert all(np.array_equal(together[0], other) for other in together)

    openpifpaf.Predictor.long_edge, openpifpaf.Predictor.loader_workers = 257, 0
    openpifpaf.network.Factory.base_name, openpifpaf.network.Factory.checkpoint = "densefpn", None
    from dataset_tools.pose.net import head_metas

    predictor = openpifpaf.Predictor(head_metas=head_metas())
    predictor.model_cpu.load_state_dict(estimator.decode.network.state_dict())
    annotations, _, _ = predictor.numpy_image(image)
    theirs = sorted((a.data for a in annotations), key=lambda d: d[:, 0].mean())
    ours = sorted(together[0], key=lambda d: d[:, 0].mean())
    assert len(theirs) == len(ours) > 0
    for a, b in zip(ours, theirs, strict=True):
        both = (a[:, 2] > 0.3) & (b[:, 2] > 0.3)
        assert both.sum() > 8 and np.abs(a[both, :2] - b[both, :2]).mean() < 1.0  # px


def test_frames_of_several_clips_share_full_batches(frames):
    """Batches are filled by the next clip or, at the end, by the last frame again; the joints are the same up to a step."""
    images = [image for image, _ in frames]
    clips = images[:7], images[7:8], images[8:]
    alone, together = PoseEstimator(WEIGHTS, batch_size=4), PoseEstimator(WEIGHTS, batch_size=4, share_batches=True)
    sizes = []
    fields = together.decode.fields
    together.decode.fields = lambda batch: sizes.append(len(batch)) or fields(batch)
    found = [list(together.find_people(started)) for started in [together.start(clip) for clip in clips]]
    assert [len(people) for people in found] == [7, 1, 4] and set(sizes) == {4} and 3 <= len(sizes) <= 5
    for clip, people in zip(clips, found, strict=True):
        for (keypoints, colours), (expected, theirs) in zip(people, alone.find_people(alone.start(clip)), strict=True):
            np.testing.assert_allclose(keypoints[..., :2], expected[..., :2], atol=1 / 16)
            np.testing.assert_allclose(keypoints[..., 2], expected[..., 2], atol=1 / 256)
            np.testing.assert_allclose(colours, theirs, atol=0.05)


def test_a_frame_gives_the_same_whatever_was_posed_before(frames):
    """OpenPifPaf's decoder, kept from frame to frame, drifts: its float32 buffer counts the frames."""
    images = [image for image, _ in frames]
    used = PoseEstimator(WEIGHTS)
    next(used.people(images))
    (fields,) = used.decode.fields(prepare_images(images[:1], 257)[0])
    for _ in range(1500):  # a minute of video, without the network's time
        used.decode.cifcaf(fields)
    fresh, again = list(PoseEstimator(WEIGHTS).people(images)), list(used.people(images))
    assert all(np.array_equal(a, b) for a, b in zip(fresh, again, strict=True))


@pytest.mark.parametrize("size", [(360, 204), (204, 360), (100, 100)])
def test_network_coordinates_lead_back_to_the_frame(size):
    height, width = size
    frame = np.zeros((height, width, 3), np.uint8)
    frame[60:63, 80:83] = 255  # its middle is (81, 61)
    images, shrink, offset = prepare_images([frame], 257)
    assert images.shape[2] % 16 == images.shape[3] % 16 == 1 and max(images.shape[2:]) == 257
    light = images[0].numpy().sum(0)
    light = light - light[offset[1] + 1, offset[0] + 1]  # black, but the padding is grey
    light[: offset[1]] = light[:, : offset[0]] = 0
    light = np.where(light > 1, light, 0)
    light[offset[1] + round(height / shrink[1]) :] = 0
    light[:, offset[0] + round(width / shrink[0]) :] = 0
    y, x = (np.average(axis, weights=light) for axis in np.indices(light.shape))
    assert np.allclose((np.array([x, y]) - offset + 0.5) * shrink - 0.5, (81, 61), atol=0.1)


def test_published_checkpoints_load_without_running_code(tmp_path, frames):
    network = checkpoint(tmp_path / "published.pkl")
    estimator = PoseEstimator(tmp_path / "published.pkl", long_edge=129)
    image = torch.randn(1, 3, 65, 65, generator=torch.Generator().manual_seed(0))
    assert all(torch.allclose(a, b, atol=1e-4) for a, b in zip(network.eval()(image), estimator.decode.network(image)))
    (people,) = estimator.people([frames[0][0]])
    assert people.shape[1:] == (17, 3)


def test_whole_body_checkpoints_give_feet_and_others_are_refused(tmp_path, frames):
    from openpifpaf.plugins.wholebody.wholebody import Wholebody

    checkpoint(tmp_path / "body.pkl", Wholebody().head_metas)
    for layout, joints in (("body25", 25), ("coco17", 17)):
        estimator = PoseEstimator(tmp_path / "body.pkl", long_edge=129, layout=layout)
        (people,) = estimator.people([frames[0][0]])
        assert estimator.joints == 133 and people.shape[1:] == (joints, 3)
    with pytest.raises(
        UserError, match=r"pose_demo.pt: finds 17 joints \(COCO\), no feet; layout body25 needs the 133"
    ):
        PoseEstimator(WEIGHTS, layout="body25")


def test_what_the_reader_raises_comes_out_and_leaving_early_ends_the_reading(frames):
    given = []

    def reader(count):
        try:
            for image, _ in frames[:count]:
                given.append(1)
                yield image
            raise UserError("clip.mp4: cannot be decoded")
        finally:
            given.append("closed")

    estimator = PoseEstimator(WEIGHTS, batch_size=1)
    found = []
    with pytest.raises(UserError, match="cannot be decoded"):
        found.extend(estimator.people(reader(3)))
    assert len(found) == 3 and given == [1, 1, 1, "closed"]
    given.clear()
    threads = set(threading.enumerate())
    early = estimator.people(reader(12))
    next(early)
    early.close()
    assert given[-1] == "closed" and len(given) < 12 and set(threading.enumerate()) == threads


def test_hostile_and_broken_weights_are_refused_in_one_line(tmp_path):
    class Hostile:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "code_ran"),)

    for name in ("hostile.pkl", "hostile.pt"):
        torch.save({"model": Hostile()}, tmp_path / name)
    (tmp_path / "junk.pkl").write_bytes(b"<html>not found</html>")
    torch.save({"model": {"a": torch.zeros(3)}}, tmp_path / "other.pkl")
    torch.save({"weight": torch.zeros(3)}, tmp_path / "other.pt")
    torch.save([1, 2], tmp_path / "list.pt")
    for name, says in (
        ("hostile.pkl", "it would run code: it names posix.mkdir"),
        ("hostile.pt", "not pose weights"),
        ("junk.pkl", "not an OpenPifPaf checkpoint"),
        ("other.pkl", "no network under 'model'"),
        ("other.pt", "format must be"),
        ("list.pt", "not pose weights"),
        ("missing.pkl", "not found"),
        ("missing.pt", "not found"),
    ):
        with pytest.raises(UserError, match=says) as refusal:
            PoseEstimator(tmp_path / name)
        assert name in str(refusal.value) and "\n" not in str(refusal.value)
    assert not (tmp_path / "code_ran").exists()


def test_body25_takes_its_joints_from_the_whole_body_model():
    keypoints = np.column_stack([np.arange(133), 1000 + np.arange(133), np.full(133, 0.75)])
    keypoints[5, 2] = 0.25
    body = to_layout(keypoints, "body25")
    wanted = [0, 5.5, 6, 8, 10, 5, 7, 9, 11.5, 12, 14, 16, 11, 13, 15, 2, 1, 4, 3, 17, 18, 19, 20, 21, 22]
    assert body[:, 0].tolist() == wanted and np.array_equal(body[:, 1], body[:, 0] + 1000) and len(BODY25) == 25
    assert body[1, 2] == 0.25  # the neck is as sure as its less certain shoulder
    keypoints[5] = 0
    assert not to_layout(keypoints, "body25")[[1, 5]].any()
    from_coco = to_layout(keypoints[None, :17], "body25")
    assert from_coco.shape == (1, 25, 3) and not from_coco[:, 19:].any() and from_coco[0, 8, 0] == 11.5
    assert np.array_equal(to_layout(keypoints, "coco17"), keypoints[:17].astype(np.float32))
    for wrong, layout in ((keypoints[:18], "coco17"), (keypoints, "body18")):
        with pytest.raises(UserError):
            to_layout(wrong, layout)
