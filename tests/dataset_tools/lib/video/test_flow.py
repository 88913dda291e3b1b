"""Optical flow of a known translation, its scale, and RAFT around its network."""

import cv2
import numpy as np
import pytest
import torch
from torchvision.models.optical_flow import raft_large

from dataset_tools.lib.core.errors import UserError
from dataset_tools.lib.video.flow import SOLVERS, Flow, RaftFlow, load_raft, quantise_flow, scale_flow, to_gray


@pytest.fixture(scope="module")
def texture():
    """uint8 (150, 150) of blobs some 10 px large."""
    noise = cv2.GaussianBlur(np.random.default_rng(0).normal(size=(150, 150)), (0, 0), 4)
    return cv2.normalize(noise, None, 0, 255, cv2.NORM_MINMAX).astype(np.uint8)


@pytest.mark.parametrize("method", SOLVERS)
@pytest.mark.parametrize("shift", [(3, 0), (0, -2), (-4, 1)])
def test_translation_is_found(texture, method, shift):
    x, y = shift
    moved = np.roll(texture, (y, x), (0, 1))
    flow = Flow(method).between(texture[25:105, 25:89], moved[25:105, 25:89])
    assert flow.shape == (2, 80, 64) and flow.dtype == np.float32
    inner = flow[:, 12:-12, 12:-12]
    np.testing.assert_allclose(np.median(inner, axis=(1, 2)), (x, y), atol=0.1)


@pytest.mark.parametrize("method", SOLVERS)
def test_rest_is_zero_and_calls_do_not_depend_on_earlier_ones(texture, method):
    still, moved = texture[:64, :64], texture[2:66, 3:67]
    solver = Flow(method)
    first = solver.between(still, moved)
    assert np.abs(solver.between(still, still)).max() < 0.05
    np.testing.assert_array_equal(solver.between(still, moved), first)


def test_scale():
    pixels = np.array([0, 10, -20, 35, -90], np.float32)
    scaled = scale_flow(pixels)
    assert scaled.tolist() == [0.0, 0.5, -1.0, 1.0, -1.0] and scaled.dtype == np.float32


def test_gray_weighs_the_colours_in_rgb_order():
    red, green, blue = (to_gray(np.full((1, 1, 3), 255 * np.eye(3)[c], np.uint8))[0, 0] for c in range(3))
    assert (red, green, blue) == (76, 150, 29)  # ITU-R BT.601


def test_unknown_method():
    with pytest.raises(ValueError, match="flow must be one of tvl1, dis, found 'raft'"):
        Flow("raft")


@pytest.fixture(scope="module")
def raft():
    """torchvision's network with random weights."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    yield raft_large(weights=None, progress=False).eval()
    torch.set_num_threads(before)


def test_raft_is_called_on_the_frame_in_the_middle_of_its_padding(raft):
    frames = np.random.default_rng(0).integers(0, 256, (2, 131, 142, 3), np.uint8)
    solver = RaftFlow(raft, updates=2)
    prepared = [solver.prepare(frame) for frame in frames]
    flow = solver.between(*prepared)
    assert flow.shape == (2, 131, 142) and flow.dtype == np.float32 and np.isfinite(flow).all()
    # 131 -> 136 px, 2 above and 3 below; 142 -> 144, one on either side; edge pixels repeated
    rows, columns = np.clip(np.arange(136) - 2, 0, 130), np.clip(np.arange(144) - 1, 0, 141)
    images = torch.from_numpy(frames[:, rows][:, :, columns]).permute(0, 3, 1, 2) / 255 * 2 - 1
    with torch.inference_mode():
        expected = raft(images[:1], images[1:], num_flow_updates=2)[-1][0, :, 2:133, 1:143]
    np.testing.assert_allclose(flow, expected.numpy(), atol=1e-3)
    assert np.abs(flow).max() > 0.01
    with pytest.raises(ValueError, match="at least 128 px a side, found 200 x 127"):
        solver.prepare(np.zeros((127, 200, 3), np.uint8))


def test_raft_flow_is_quantised_as_video_features_does():
    # 256 steps of 40/255 px; zero is step 128 of 0..255, so rest is a little above 0 and +20 px above 1
    pixels = np.array([0, 20, 50, -20, -50, 0.07, 0.09, 10], np.float32)
    steps = np.array([128, 256, 256, 0, 0, 128, 129, 192])
    np.testing.assert_allclose(quantise_flow(pixels), 2 * steps / 255 - 1, atol=1e-6)
    assert quantise_flow(pixels)[:2] == pytest.approx([0.00392, 1.00784], abs=1e-5)


def test_raft_weights_are_strict_and_run_no_code(raft, tmp_path):
    state = raft.state_dict()
    torch.save(state, tmp_path / "raft.pth")
    loaded = load_raft(tmp_path / "raft.pth")
    assert not loaded.training and all(torch.equal(state[name], t) for name, t in loaded.state_dict().items())
    torch.save({name: t for name, t in state.items() if "mask_predictor" not in name}, tmp_path / "less.pth")
    torch.save(raft, tmp_path / "whole.pth")
    torch.save([1], tmp_path / "list.pth")
    (tmp_path / "page.pth").write_text("<html>")
    none = "not weights of torchvision's raft_large"
    for name, reason in (
        ("less.pth", none),
        ("whole.pth", "it holds more than tensors"),
        ("list.pth", none),
        ("page.pth", "not a file of torch.save"),
    ):
        with pytest.raises(UserError, match=f"{name}: {reason}") as caught:
            load_raft(tmp_path / name)
        assert "\n" not in str(caught.value)
    with pytest.raises(UserError, match="none.pth: file not found"):
        load_raft(tmp_path / "none.pth")
