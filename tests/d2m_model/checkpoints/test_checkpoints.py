"""Published checkpoints: files of their layouts, made from key and shape lists, load and compute what those lists say.

The expected outputs come from straight-line evaluations of the published layer lists with torch.nn.functional alone;
nothing here asks our own networks for a name or a shape.
"""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from d2m_model.checkpoints import load_vggish
from dataset_tools.lib.core.errors import UserError

Tensors = dict[str, torch.Tensor]
Shapes = dict[str, tuple[int, ...]]


def random_tensors(shapes: Shapes, seed: int = 0) -> Tensors:
    """Random values that keep the size of what goes through: weights by sqrt(2 / inputs), everything else small."""
    # 100 million values take seconds to draw: a million, over and over, with a period that no row of weights has.
    pool = torch.randn(1_000_003, generator=torch.Generator().manual_seed(seed))
    made, used = {}, 0
    for name, shape in shapes.items():
        count = int(np.prod(shape))
        first, used = used % len(pool), used + count
        values = pool.repeat((first + count) // len(pool) + 1)[first : first + count].view(shape)
        made[name] = values * (2 / np.prod(shape[1:])) ** 0.5 if len(shape) > 1 else values * 0.1
    return made


def same(found: torch.Tensor, expected: torch.Tensor) -> None:
    """Equal to 1e-5 of the largest value expected."""
    assert found.shape == expected.shape
    assert (found - expected).abs().max() <= 1e-5 * expected.abs().max()
    assert expected.std() > 0


# --- VGGish ---

VGGISH_CONVS = {0: (64, 1), 3: (128, 64), 6: (256, 128), 8: (256, 256), 11: (512, 256), 13: (512, 512)}
VGGISH_LINEARS = {0: (4096, 12288), 2: (4096, 4096), 4: (128, 4096)}


def vggish_shapes() -> Shapes:
    shapes = {}
    for i, shape in VGGISH_CONVS.items():
        shapes |= {f"features.{i}.weight": (*shape, 3, 3), f"features.{i}.bias": shape[:1]}
    for i, shape in VGGISH_LINEARS.items():
        shapes |= {f"embeddings.{i}.weight": shape, f"embeddings.{i}.bias": shape[:1]}
    return shapes


def straight_vggish(t: Tensors, x: torch.Tensor) -> torch.Tensor:
    for i in VGGISH_CONVS:
        x = F.relu(F.conv2d(x, t[f"features.{i}.weight"], t[f"features.{i}.bias"], padding=1))
        if i in (0, 3, 8, 13):
            x = F.max_pool2d(x, 2)
    x = x.permute(0, 2, 3, 1).reshape(len(x), -1)
    for i in VGGISH_LINEARS:
        x = F.relu(F.linear(x, t[f"embeddings.{i}.weight"], t[f"embeddings.{i}.bias"]))
    return x


def test_vggish_computes_the_published_layers(tmp_path):
    tensors = random_tensors(vggish_shapes())
    torch.save(tensors, tmp_path / "vggish.pth", _use_new_zipfile_serialization=False)  # the published file is this old
    net = load_vggish(tmp_path / "vggish.pth")
    patches = torch.randn(2, 1, 96, 64, generator=torch.Generator().manual_seed(1))
    found = net(patches)
    assert found.shape == (2, 128) and not found.requires_grad and not net.training
    same(found, straight_vggish(tensors, patches))


# --- files that are something else ---


class Boom:
    """Pickles as a call of print, which must not happen."""

    def __reduce__(self):
        return print, ("code of the file ran",)


def i3d() -> Tensors:
    return {"Conv3d_1a_7x7.conv3d.weight": torch.zeros(64, 3, 7, 7, 7), "logits.conv3d.bias": torch.zeros(400)}


FOREIGN = {
    "an I3D network": i3d(),
    "a JukeBox VQ-VAE": {
        "model": {"module.encoders.0.level_blocks.0.model.0.0.weight": torch.zeros(64, 1, 4)},
        "step": 3,
    },
    "the state of an optimizer": {
        "state": {0: {"step": torch.tensor(1.0)}},
        "param_groups": [{"lr": 1e-4, "params": [0]}],
    },
    "D2M-GAN's motion encoder": {"lin1.weight": torch.zeros(800, 75)},
    "D2M-GAN's discriminators": {"model.disc_0.model.layer_0.1.bias": torch.zeros(32)},
    "VGGish's PCA": {"pca_eigen_vectors": torch.zeros(128, 128), "pca_means": torch.zeros(128)},
    "a checkpoint of this project": {
        "format": "d2m-checkpoint",
        "kind": "vqvae",
        "version": 1,
        "meta": {},
        "state": {},
    },
    "a Tensor, not a state dict": torch.zeros(3),
    "a dict of unknown layout; its first keys are a, b": {"a": torch.zeros(1), "b": torch.zeros(1)},
    "a dict of unknown layout; its first keys are none": {},
}


@pytest.mark.parametrize("what", FOREIGN)
def test_another_networks_file_is_named(tmp_path, what):
    torch.save(FOREIGN[what], tmp_path / "x.pt")
    with pytest.raises(UserError) as caught:
        load_vggish(tmp_path / "x.pt")
    text = str(caught.value)
    assert text.startswith(f"{tmp_path / 'x.pt'}: this is {what}") and "expected torchvggish's VGGish" in text
    assert "\n" not in text


def test_code_in_a_file_does_not_run(tmp_path, capsys):
    torch.save({"model": Boom()}, tmp_path / "x.pt")
    with pytest.raises(
        UserError, match=r"it holds more than tensors \((__builtin__\.|builtins\.)?print\).*expected torchvggish"
    ):
        load_vggish(tmp_path / "x.pt")
    assert "code of the file" not in capsys.readouterr().out


@pytest.mark.parametrize("content", [b"", b"<html>404</html>", b"\x1f\x8bxxxx", bytes(200)])
def test_a_file_of_no_tensors_is_one_line(tmp_path, content):
    (tmp_path / "x.pt").write_bytes(content)
    with pytest.raises(
        UserError, match=r"x.pt: not a (readable )?file of torch.save.*; expected torchvggish"
    ) as caught:
        load_vggish(tmp_path / "x.pt")
    assert "\n" not in str(caught.value)
    with pytest.raises(UserError, match="none.pt: file not found; expected torchvggish"):
        load_vggish(tmp_path / "none.pt")


def test_a_damaged_file_is_one_line(tmp_path):
    torch.save(i3d(), tmp_path / "x.pt")
    whole = (tmp_path / "x.pt").read_bytes()
    (tmp_path / "x.pt").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(UserError, match="x.pt: not a readable file of torch.save"):
        load_vggish(tmp_path / "x.pt")


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (lambda t: t.pop("embeddings.4.bias"), r"it lacks embeddings\.4\.bias$"),
        (
            lambda t: t.update({"features.99.weight": torch.zeros(1)}),
            r"it has features\.99\.weight, which is no part of it$",
        ),
        (lambda t: t.update({"features.0.bias": torch.zeros(65)}), r"features\.0\.bias of shape \(65,\), not \(64,\)$"),
        (
            lambda t: t.update({"features.0.bias": torch.zeros(64, dtype=torch.int64)}),
            r"torch.int64, not of a float type$",
        ),
    ],
)
def test_names_and_shapes_are_demanded(tmp_path, change, complaint):
    # Expanded zeros: a file of a few bytes that has all the shapes.
    tensors = {name: torch.zeros(1).expand(shape) for name, shape in vggish_shapes().items()}
    change(tensors)
    torch.save(tensors, tmp_path / "x.pt")
    with pytest.raises(UserError, match=r"x.pt: this is a VGGish network of 1[789] tensors; .*" + complaint):
        load_vggish(tmp_path / "x.pt")


def test_importing_the_package_does_not_import_torch():
    code = "import sys, d2m_model.checkpoints as i; assert 'torch' not in sys.modules and 'load_vggish' in i.__all__"
    root = Path(__file__).resolve().parents[3]
    assert subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, check=False).returncode == 0
