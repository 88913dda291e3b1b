"""D2M-GAN's published layouts: parity with a straight-line evaluation, and what is refused."""

from itertools import pairwise

import pytest
import torch
import torch.nn.functional as F

from d2m_model.checkpoints import load_released, released
from d2m_model.checkpoints.released import published_net
from dataset_tools.lib.core.errors import UserError
from tests.d2m_model.checkpoints.test_checkpoints import Shapes, Tensors, random_tensors, same


def block_shapes(name: str, channels: int) -> Shapes:
    shapes: Shapes = {}
    for part, kernel in (("block.2", 3), ("block.4", 1), ("shortcut", 1)):
        at = f"{name}.{part}"
        shapes |= {
            f"{at}.weight_g": (channels, 1, 1),
            f"{at}.weight_v": (channels, channels, kernel),
            f"{at}.bias": (channels,),
        }
    return shapes


def chain_shapes(layers: list) -> Shapes:
    """Shapes of an nn.Sequential `model` given as ('conv', in, out, kernel, ...), ('blocks', channels) and what has none."""
    shapes: Shapes = {}
    at = 0
    for kind, *sizes in layers:
        if kind == "conv":
            shapes |= {f"model.{at}.weight": (sizes[1], sizes[0], sizes[2]), f"model.{at}.bias": (sizes[1],)}
        for offset in range(4 if kind == "blocks" else 0):
            shapes |= block_shapes(f"model.{at + offset}", sizes[0])
        at += 4 if kind == "blocks" else 1
    return shapes


def weight(t: Tensors, name: str) -> torch.Tensor:
    v = t[f"{name}.weight_v"]
    return t[f"{name}.weight_g"] * v / v.square().sum((1, 2), keepdim=True).sqrt()


def straight_chain(t: Tensors, layers: list, x: torch.Tensor) -> torch.Tensor:
    at = 0
    for kind, *sizes in layers:
        if kind == "conv":
            stride, padding = sizes[3:]
            x = F.conv1d(x, t[f"model.{at}.weight"], t[f"model.{at}.bias"], stride=stride, padding=padding)
        elif kind == "blocks":
            for offset, d in enumerate((1, 3, 9, 27)):
                name = f"model.{at + offset}"
                y = F.pad(F.leaky_relu(x, 0.2), (d, d), mode="reflect")
                y = F.leaky_relu(F.conv1d(y, weight(t, f"{name}.block.2"), t[f"{name}.block.2.bias"], dilation=d), 0.2)
                y = F.conv1d(y, weight(t, f"{name}.block.4"), t[f"{name}.block.4.bias"])
                x = y + F.conv1d(x, weight(t, f"{name}.shortcut"), t[f"{name}.shortcut.bias"])
        elif kind == "reflect":
            x = F.pad(x, (sizes[0], sizes[0]), mode="reflect")
        else:
            x = {"relu": F.relu, "leaky": lambda v: F.leaky_relu(v, 0.2), "tanh": torch.tanh}[kind](x)
        at += 4 if kind == "blocks" else 1
    return x


def motion_layers(frames: int) -> list:
    return [
        ("conv", frames, 256, 6, 1, 0), ("relu",), ("blocks", 256), ("leaky",), ("conv", 256, 512, 4, 1, 0), ("blocks", 512),
        ("leaky",), ("conv", 512, 1024, 4, 1, 0), ("blocks", 1024), ("leaky",), ("conv", 1024, 1, 4, 1, 0),
    ]  # fmt: skip


HIGH = [
    ("conv", 1, 32, 6, 2, 1), ("blocks", 32), ("leaky",), ("conv", 32, 64, 41, 2, 1), ("blocks", 64), ("leaky",),
    ("conv", 64, 128, 41, 1, 1), ("blocks", 128), ("leaky",), ("conv", 128, 256, 41, 1, 1), ("blocks", 256), ("leaky",),
    ("conv", 256, 512, 41, 1, 1), ("blocks", 512), ("leaky",), ("conv", 512, 64, 40, 1, 1), ("tanh",),
]  # fmt: skip
LOW = [
    ("reflect", 3), ("conv", 1, 32, 6, 2, 1), ("blocks", 32), ("leaky",), ("reflect", 32), ("conv", 32, 64, 4, 1, 1), ("blocks", 64),
    ("leaky",), ("reflect", 64), ("conv", 64, 128, 40, 2, 1), ("blocks", 128), ("leaky",), ("reflect", 64), ("conv", 128, 256, 40, 1, 1),
    ("blocks", 256), ("leaky",), ("reflect", 64), ("conv", 256, 512, 40, 1, 1), ("blocks", 512), ("leaky",), ("reflect", 64),
    ("conv", 512, 1024, 40, 1, 1), ("blocks", 1024), ("leaky",), ("reflect", 64), ("conv", 1024, 1024, 40, 1, 1), ("reflect", 64),
    ("conv", 1024, 64, 40, 1, 1), ("tanh",),
]  # fmt: skip


def linear(name: str, before: int, after: int) -> Shapes:
    return {f"{name}.weight": (after, before), f"{name}.bias": (after,)}


def released_shapes(corpus: str, level: str) -> tuple[Shapes, Shapes]:
    """(motion encoder's, generator's)"""
    frames, values = {"tiktok": (60, 75), "aistpp": (120, 219)}[corpus]
    motion = linear("lin1", values, 800) | chain_shapes(motion_layers(frames)) | linear("lin2", 786, 1024)
    genre = {"genre_embed.weight": (10, 256)} if corpus == "aistpp" else {}
    condition = 1024 + 2048 + (256 if genre else 0)
    if level == "high":
        return motion, genre | linear("lin", condition, 2058) | chain_shapes(HIGH)
    first = linear("lin", condition, 2048) if genre else {}  # TikTok's was released without it
    return motion, genre | first | chain_shapes(LOW) | linear("fc", 1045, 1378)


def released_tensors(shapes: Shapes, seed: int) -> Tensors:
    """Random values that keep the size of what goes through, and leave the last tanh where it tells values apart."""
    tensors = random_tensors(shapes, seed)
    last = [name for name in tensors if name.startswith("model.") and name.endswith("weight")][-1]
    for name, values in tensors.items():
        if name.endswith("weight_g"):
            tensors[name] = 0.85 + 0.03 * values
        elif values.dim() == 2 or name == last:
            tensors[name] = values * (0.7 if values.dim() == 2 else 0.3)
    return tensors


@pytest.mark.parametrize(("corpus", "level"), [("tiktok", "high"), ("aistpp", "high"), ("aistpp", "low")])
def test_released_models_compute_the_published_layers(tmp_path, corpus, level):
    m, g = (released_tensors(shapes, seed) for seed, shapes in enumerate(released_shapes(corpus, level)))
    torch.save(m, tmp_path / "motion.pt", _use_new_zipfile_serialization=False)
    torch.save(g, tmp_path / "generator.pt", _use_new_zipfile_serialization=False)
    net = load_released(tmp_path / "motion.pt", tmp_path / "generator.pt", level=level, corpus=corpus)
    rng = torch.Generator().manual_seed(9)
    frames, values = {"tiktok": (60, 75), "aistpp": (120, 219)}[corpus]
    motion, visual = torch.randn(1, frames, values, generator=rng), torch.rand(1, 1, 2048, generator=rng)
    genre = torch.tensor([7]) if corpus == "aistpp" else None
    # The published numbers of parameters.
    if corpus == "tiktok":
        assert sum(t.numel() for t in m.values()) == 31_154_305 and sum(t.numel() for t in g.values()) == 21_780_970
    with torch.no_grad():
        x = straight_chain(m, motion_layers(frames), F.linear(motion, m["lin1.weight"], m["lin1.bias"]))
        x = F.linear(x, m["lin2.weight"], m["lin2.bias"])
        assert x.shape == (1, 1, 1024)
        x = torch.cat([x, visual] + ([g["genre_embed.weight"][7][None, None]] if corpus == "aistpp" else []), dim=2)
        x = straight_chain(g, HIGH if level == "high" else LOW, F.linear(x, g["lin.weight"], g["lin.bias"]))
        expected = 100 * (x if level == "high" else F.linear(x, g["fc.weight"], g["fc.bias"]))
        found = net(motion, visual) if genre is None else net(motion, visual, genre)
    assert found.shape == (1, 64, 344 if level == "high" else 1378)
    assert (expected.abs() < 99).float().mean() > 0.2  # not all of it saturated, where everything looks the same
    same(found, expected)


CHANNELS = (1, 32, 64, 128, 256, 512, 1024, 1024, 64)  # into and out of the low generator's convolutions
KERNELS = (6, 4, 40, 40, 40, 40, 40, 40)


def test_the_low_generator_has_the_published_names_and_an_older_layout_is_refused(files):
    """Reflection, convolution, four blocks and an activation each, but no blocks and no activation between the last two."""
    shapes = released_shapes("aistpp", "low")[1]
    assert len(shapes) == 237
    for at, (before, after), kernel in zip((1, 8, 15, 22, 29, 36, 43, 45), pairwise(CHANNELS), KERNELS, strict=True):
        assert shapes.pop(f"model.{at}.weight") == (after, before, kernel) and shapes.pop(f"model.{at}.bias") == (
            after,
        )
    blocks = {int(name.split(".")[1]) for name in shapes if name.startswith("model.")}
    assert blocks == {first + n for first in (2, 9, 16, 23, 30, 37) for n in range(4)}
    net = load_released(files / "aistpp-motion.pt", files / "aistpp-low.pt", level="low", corpus="aistpp").generator
    last = [type(layer).__name__ for layer in net.model[41:]]
    assert last == ["LeakyReLU", "ReflectionPad1d", "Conv1d", "ReflectionPad1d", "Conv1d", "Tanh"]
    other = released_shapes("aistpp", "low")[1]
    save_shapes(files / "46.pt", {name.replace("model.45", "model.46"): shape for name, shape in other.items()})
    with pytest.raises(UserError, match="46.pt: this is .* of 237 tensors; expected .* but it lacks model.45.weight"):
        load_released(files / "aistpp-motion.pt", files / "46.pt", level="low", corpus="aistpp")


def save_shapes(path, shapes: Shapes) -> None:
    """A small file that has the names and shapes: every tensor is one zero, over and over."""
    torch.save({name: torch.zeros(1).expand(shape) for name, shape in shapes.items()}, path)


@pytest.fixture
def files(tmp_path):
    for corpus, level in (("tiktok", "high"), ("tiktok", "low"), ("aistpp", "high"), ("aistpp", "low")):
        motion, generator = released_shapes(corpus, level)
        save_shapes(tmp_path / f"{corpus}-motion.pt", motion)
        save_shapes(tmp_path / f"{corpus}-{level}.pt", generator)
    return tmp_path


def test_the_published_tiktok_low_generator_is_refused_with_the_reason(files):
    for generator in ("tiktok-low.pt", "aistpp-low.pt"):
        with pytest.raises(UserError, match="for TikTok cannot run.*takes 1045 values, gets 1301"):
            load_released(files / "tiktok-motion.pt", files / generator, level="low", corpus="tiktok")


def test_files_of_another_corpus_level_or_network_are_named(files):
    load = lambda m, g, **names: load_released(files / m, files / g, **names)
    with pytest.raises(
        UserError,
        match=r"tiktok-motion.pt: this is D2M-GAN's motion encoder.*for aistpp \(120 frames of 219 values\).*\(800, 75\)",
    ):
        load("tiktok-motion.pt", "aistpp-high.pt", level="high", corpus="aistpp")
    with pytest.raises(
        UserError,
        match=r"tiktok-high.pt: this is D2M-GAN's motion encoder|aistpp-high.pt: this is D2M-GAN's high-level",
    ):
        load("aistpp-high.pt", "tiktok-motion.pt", level="high", corpus="aistpp")
    with pytest.raises(
        UserError,
        match=r"aistpp-low.pt: this is D2M-GAN's low-level generator.*expected D2M-GAN's high-level generator",
    ):
        load("aistpp-motion.pt", "aistpp-low.pt", level="high", corpus="aistpp")
    with pytest.raises(UserError, match=r"tiktok-high.pt.*for aistpp, but it lacks genre_embed.weight"):
        load("aistpp-motion.pt", "tiktok-high.pt", level="high", corpus="aistpp")
    with pytest.raises(
        UserError, match="level must be high or low and corpus tiktok or aistpp, found 'top' and 'aist'"
    ):
        load("aistpp-motion.pt", "aistpp-low.pt", level="top", corpus="aist")


def test_each_file_is_read_once(files, monkeypatch):
    read, known = [], released.read_tensors
    monkeypatch.setattr(
        released, "read_tensors", lambda path, expected: read.append(path.name) or known(path, expected)
    )
    published_net(files / "tiktok-motion.pt", files / "tiktok-high.pt", "high", torch.zeros(16, 64))
    assert read == ["tiktok-motion.pt", "tiktok-high.pt"]


def test_a_number_in_place_of_a_weight_is_one_line(files):
    torch.save({"lin1.weight": torch.tensor(1.0)}, files / "number.pt")
    with pytest.raises(UserError, match="number.pt"):
        published_net(files / "number.pt", files / "tiktok-high.pt", "high", torch.zeros(16, 64))


def test_inputs_of_other_shapes_are_refused(files):
    net = load_released(files / "tiktok-motion.pt", files / "tiktok-high.pt", level="high", corpus="tiktok")
    motion, visual = torch.zeros(2, 60, 75), torch.zeros(2, 1, 2048)
    with pytest.raises(ValueError, match=r"motion must be \(B, 60, 75\) for tiktok, found \(2, 75, 60\)"):
        net(motion.transpose(1, 2), visual)
    with pytest.raises(ValueError, match=r"visual must be \(2, 1, 2048\), found \(2, 2048\)"):
        net(motion, visual[:, 0])
    with pytest.raises(ValueError, match="genre .* aistpp"):
        net(motion, visual, torch.tensor([0, 1]))
