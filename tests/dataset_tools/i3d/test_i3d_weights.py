"""Files of I3D's weights: both published layouts give the network's features, others are one line."""

import pytest
import torch

from dataset_tools.i3d.checkpoints import STREAMS, i3d_features, load_i3d, rename_hassony2, save_i3d
from dataset_tools.i3d.net import I3D, MIXED
from dataset_tools.lib.core.errors import UserError
from tests.dataset_tools.i3d.test_i3d_net import (
    one_thread,  # noqa: F401 - a fixture
    straight_line,
)
from tests.helpers.i3d_builders import lively

HEADS = {"genre": ["a", "b"], "dancers": ["1", "2", "3"]}


def test_parity_of_the_published_size(published):
    net = load_i3d(published[0] / "piergiaj.pt")
    x = torch.rand(1, 3, 10, 224, 40) * 2 - 1
    expected = straight_line(net.state_dict(), x)
    assert (i3d_features(net, x) - expected).norm() / expected.norm() < 1e-5


def hassony2_names(state):
    """A piergiaj-style state dict under hassony2's names, written out independently of the loader."""
    branch = {"b0": "branch_0", "b1a": "branch_1.0", "b1b": "branch_1.1", "b2a": "branch_2.0", "b2b": "branch_2.1"}
    branch["b3b"] = "branch_3.1"
    renamed = {}
    for name, tensor in state.items():
        parts = name.split(".")
        if parts[0] == "logits":
            parts[0] = "conv3d_0c_1x1"
        elif parts[0] in MIXED:
            parts[0], parts[1] = parts[0].lower(), branch[parts[1]]
        else:
            parts[0] = parts[0][0].lower() + parts[0][1:]
        renamed[".".join("batch3d" if p == "bn" else p for p in parts)] = tensor
    return renamed


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    """Both layouts at full size, of one network with random weights, without torch's newer step counters."""
    folder = tmp_path_factory.mktemp("published")
    net = lively(3, width=1.0, classes=400)
    state = {k: v for k, v in net.state_dict().items() if not k.endswith("num_batches_tracked")}
    torch.save(state, folder / "piergiaj.pt", _use_new_zipfile_serialization=False)  # they are files of PyTorch 0.3
    torch.save(hassony2_names(state), folder / "hassony2.pth", _use_new_zipfile_serialization=False)
    return folder, net


@pytest.mark.parametrize("name", ["piergiaj.pt", "hassony2.pth"])
def test_published_layouts_give_the_same_features(published, name):
    folder, net = published
    loaded = load_i3d(folder / name)
    assert loaded.in_channels == 3 and not loaded.training and loaded.classes == 400
    x = torch.rand(1, 3, 10, 64, 64) * 2 - 1
    with torch.inference_mode():
        assert net.features(x).std() > 0.01
        torch.testing.assert_close(loaded.features(x), net.features(x), atol=0, rtol=0)
        torch.testing.assert_close(loaded(x), net(x), atol=0, rtol=0)


def test_renaming_is_one_to_one():
    with torch.device("meta"):
        names = [k for k in I3D(3).state_dict() if not k.endswith("num_batches_tracked")]
    theirs = hassony2_names(dict.fromkeys(names))
    assert "mixed_4f.branch_3.1.batch3d.running_var" in theirs and "conv3d_0c_1x1.conv3d.bias" in theirs
    assert [rename_hassony2(name) for name in theirs] == names


def test_a_stream_of_the_other_kind_is_refused(published):
    with pytest.raises(
        UserError,
        match=r"piergiaj.pt: piergiaj's I3D layout, but the rgb stream \(first conv.* of 3 channels\), expected flow \(2\)",
    ):
        load_i3d(published[0] / "piergiaj.pt", "flow")


def test_missing_and_added_tensors_are_named(published, tmp_path):
    state = torch.load(published[0] / "piergiaj.pt", weights_only=True)
    moved = state.pop("Mixed_4c.b1b.bn.bias")
    torch.save(state, tmp_path / "less.pt")
    with pytest.raises(UserError, match="less.pt: piergiaj's I3D layout, .* Mixed_4c.b1b.bn.bias is missing$"):
        load_i3d(tmp_path / "less.pt", "rgb")
    torch.save(state | {"Mixed_4c.b1b.bn.bias": moved, "head.weight": moved}, tmp_path / "more.pt")
    with pytest.raises(UserError, match="head.weight is not part of the network$"):
        load_i3d(tmp_path / "more.pt", "rgb")


class Exploit:
    def __reduce__(self):
        return (open, ("owned.txt", "w"))


@pytest.mark.parametrize(("stream", "counters"), [("rgb", True), ("flow", False)])
def test_charades_files_and_files_of_newer_torch(tmp_path, stream, counters):
    net = I3D(STREAMS[stream], classes=157)
    state = {k: v for k, v in net.state_dict().items() if counters or not k.endswith("num_batches_tracked")}
    assert len(state) == (344 if counters else 287)  # 57 batch norms
    torch.save(state, tmp_path / "charades.pt")
    loaded = load_i3d(str(tmp_path / "charades.pt"))
    assert loaded.classes == 157 and loaded.in_channels == STREAMS[stream]
    assert all(torch.equal(tensor, loaded.state_dict()[name]) for name, tensor in state.items())


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ({"module.Conv3d_1a_7x7.conv3d.weight": torch.zeros(2)}, "saved from DataParallel: take 'module.' off"),
        ({"epoch": 3, "state_dict": {"a": torch.zeros(2)}}, "a training checkpoint: save its 'state_dict' alone"),
        (
            {"Conv3d_1a_7x7.conv3d.weight": torch.zeros(4, 4, 7, 7, 7), "logits.conv3d.bias": torch.zeros(3)},
            r"but no stream of a two-stream I3D \(first convolution of 4 channels\), expected rgb \(3\)",
        ),
        ({"fc.weight": torch.zeros(2)}, "no I3D weights: its first keys are fc.weight"),
        ([1, 2], "holds a list"),
        ({}, "its first keys are none"),
        ({"Conv3d_1a_7x7.conv3d.weight": torch.zeros(2)}, "not 287 tensors with a classifier"),
        ({"format": "d2m-i3d 1", "width": 0.125}, "without the rgb stream"),
        (
            {"model": Exploit()},
            r"it holds more than tensors \(io\.open\), which would need code of its own to be read; expected a state dict of piergiaj",
        ),
    ],
)
def test_other_files_get_one_line(tmp_path, monkeypatch, content, reason):
    monkeypatch.chdir(tmp_path)
    torch.save(content, tmp_path / "x.pt")
    with pytest.raises(UserError, match=f"x.pt: .*{reason}") as caught:
        load_i3d(tmp_path / "x.pt", "rgb")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "owned.txt").exists()


def test_no_file_and_garbage(tmp_path):
    with pytest.raises(UserError, match="file not found"):
        load_i3d(tmp_path / "none.pt", "rgb")
    (tmp_path / "text.pt").write_text("<html>404</html>")
    with pytest.raises(UserError, match=r"text.pt: not a file of torch.save"):
        load_i3d(tmp_path / "text.pt", "rgb")


def test_own_file_keeps_both_streams_in_half_precision(tmp_path):
    rgb, flow = lively(3, 0.125, 5), lively(2, 0.125, 5, seed=1)
    for name in ("a.pt", "b.pt"):
        save_i3d(tmp_path / name, rgb, flow, HEADS)
    assert (tmp_path / "a.pt").read_bytes() == (tmp_path / "b.pt").read_bytes()
    with pytest.raises(UserError, match="a.pt: holds both streams; say which"):
        load_i3d(tmp_path / "a.pt")
    loaded = load_i3d(tmp_path / "a.pt", "flow")
    assert loaded.width == 0.125 and loaded.classes == 5
    for name, tensor in flow.state_dict().items():
        if not name.endswith("num_batches_tracked"):
            torch.testing.assert_close(loaded.state_dict()[name], tensor.half().float(), atol=0, rtol=0)
