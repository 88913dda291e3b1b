"""Checkpoints of this project whose numbers someone changed: one line each, in the time and memory of the file."""

import resource
import time

import pytest
import torch

from d2m_model.nets.dance_to_codes import DanceToCodes
from d2m_model.nets.jukebox_vqvae import JukeboxVQVAE, VqVaeConfig
from d2m_model.nets.presets import preset_of
from d2m_model.prior.model_file import PriorModel, load_prior, save_prior
from d2m_model.prior.net import PriorNet, PriorSizes
from d2m_model.prior.style import Styles
from d2m_model.rhythm.model import load_rhythm, save_rhythm
from d2m_model.rhythm.net import RhythmNet
from d2m_model.training.music_model import load_generator, save_generator
from d2m_model.training.vqvae_files import load_vqvae, save_vqvae
from dataset_tools.i3d.checkpoints import load_i3d, save_i3d
from dataset_tools.i3d.net import I3D
from dataset_tools.lib.core.errors import UserError
from dataset_tools.lib.embedding.net import EmbeddingNet, load_embedding, save_embedding

BOOK = torch.linspace(-1, 1, 8 * 64).reshape(8, 64)


def prior_of():
    sizes = PriorSizes(bins=8, patch=4, width=8, depth=1, heads=1, context=8, local_width=4, style=3)
    styles = Styles(genres=("a", "b"), tempos=torch.ones(2), vectors=torch.ones(2, 3))
    return PriorModel(net=PriorNet(sizes), codebook=BOOK, level="high", styles=styles)


KINDS = {
    "vqvae": (lambda path: save_vqvae(path, JukeboxVQVAE(VqVaeConfig(width=4, depth=1, bins=8)), {}), load_vqvae),
    "prior": (lambda path: save_prior(path, prior_of()), load_prior),
    "rhythm": (lambda path: save_rhythm(path, RhythmNet("pose", ["a", "b"], width=8, blocks=1)), load_rhythm),
    "d2m_gan": (
        lambda path: save_generator(
            path,
            DanceToCodes(preset_of("fixed", "full"), "high", frames=60, joints=17, width=0.125, codebook=BOOK),
            BOOK,
            "full",
        ),
        load_generator,
    ),
}


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    """{kind: what a file of it holds}, each of which loads."""
    folder, contents = tmp_path_factory.mktemp("good"), {}
    for kind, (save, load) in KINDS.items():
        save(folder / f"{kind}.pt")
        load(folder / f"{kind}.pt")
        contents[kind] = torch.load(folder / f"{kind}.pt", weights_only=True)
    return contents


def changed(content: dict, place: tuple, value: object) -> dict:
    """A copy with another value at a place."""
    key, *rest = place
    return content | {key: changed(content[key], rest, value) if rest else value}


def refused_at_once(load, path):
    before, began = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()
    with pytest.raises(UserError) as caught:
        load(path)
    text = str(caught.value)
    assert text.startswith(f"{path}: ") and "\n" not in text and len(text) < 400
    assert time.process_time() - began < 10
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 300 << 10, "KB"
    return text


ODD = (10**7, 10**30, -1, 1.5, "8", None, [8])
SIZES = {
    "vqvae": [("config", name) for name in ("width", "depth", "bins", "emb_width", "multipliers")],
    "prior": [
        ("sizes", name)
        for name in (
            "bins",
            "patch",
            "width",
            "depth",
            "heads",
            "context",
            "local_width",
            "embedding",
            "style",
            "upper",
        )
    ],
    "rhythm": [("width",), ("blocks",)],
    "d2m_gan": [("frames",), ("joints",), ("width",)],
}


@pytest.mark.parametrize("kind", KINDS)
def test_sizes_that_do_not_fit_the_weights_cost_neither_time_nor_memory(tmp_path, good, kind):
    path, load = tmp_path / "m.pt", KINDS[kind][1]
    for place in SIZES[kind]:
        for value in ODD:
            torch.save(changed(good[kind], ("meta", *place), value), path)
            refused_at_once(load, path)


@pytest.mark.parametrize(
    ("kind", "place", "value"),
    [
        ("vqvae", ("config",), 7), ("vqvae", ("config", "multipliers"), [10**9, 1, 1]), ("vqvae", ("config", "depth"), 20_000), ("vqvae", ("config", "width"), 4_000),
        ("vqvae", ("config", "more"), 1), ("prior", ("level",), "middle"), ("prior", ("level",), [1]), ("prior", ("genres",), ["a"]), ("prior", ("genres",), [1, 2]),
        ("prior", ("genres",), "ab"), ("rhythm", ("stream",), "smell"), ("rhythm", ("stream",), []), ("rhythm", ("genres",), "ab"), ("rhythm", ("genres",), [["a"], "b"]),
        ("rhythm", ("genres",), ["a"]), ("rhythm", ("dropout",), 7.0), ("rhythm", ("dropout",), "x"), ("d2m_gan", ("preset",), "none"), ("d2m_gan", ("preset",), []),
        ("d2m_gan", ("variant",), 7), ("d2m_gan", ("level",), "middle"), ("d2m_gan", ("level",), {}), ("d2m_gan", ("inputs",), 7), ("d2m_gan", ("inputs",), {"a": []}),
        ("d2m_gan", ("genres",), [1]), ("d2m_gan", ("more",), 1), ("d2m_gan", ("steps",), 2),
    ],
)  # fmt: skip
def test_other_words_are_one_line(tmp_path, good, kind, place, value):
    torch.save(changed(good[kind], ("meta", *place), value), tmp_path / "m.pt")
    text = (
        refused_at_once(KINDS[kind][1], tmp_path / "m.pt")
        if kind != "d2m_gan" or place not in (("preset",), ("variant",))
        else None
    )
    if text is None:  # a preset's name is refused where presets are known, without the file's name
        with pytest.raises(UserError):
            KINDS[kind][1](tmp_path / "m.pt")


@pytest.mark.parametrize("kind", KINDS)
def test_weights_that_are_none_are_one_line(tmp_path, good, kind):
    path, load = tmp_path / "m.pt", KINDS[kind][1]
    key = "model" if kind == "vqvae" else "net"
    name, tensor = next((n, t) for n, t in good[kind]["state"][key].items() if t.is_floating_point() and t.ndim)
    for value in (
        torch.full_like(tensor, torch.nan), tensor.double() + 1e300, tensor.to(torch.complex64), tensor.long(), tensor[:1], tensor[None], torch.zeros(1).expand(tensor.shape),
        torch.zeros_like(tensor, device="meta"), torch.tensor(0.0), 7, None, "x", [tensor], tensor.to_sparse(),
    ):  # fmt: skip
        torch.save(changed(good[kind], ("state", key, name), value), path)
        refused_at_once(load, path)
    for place, value in (
        (("state",), 7), (("state",), {}), (("meta",), []), (("meta",), {}), (("kind",), [[]]), (("version",), "1"), (("version",), 10**40), (("format",), None),
        (("state", key), 7), (("state", key), {}), (("state", key, "more"), tensor), (("state", key, 7), tensor),
    ):  # fmt: skip
        torch.save(changed(good[kind], place, value), path)
        refused_at_once(load, path)
    for codebook in (
        (7, torch.ones(8), torch.ones(8, 63), torch.ones(8, 64).long()) if kind in ("prior", "d2m_gan") else ()
    ):
        torch.save(changed(good[kind], ("state", "codebook"), codebook), path)
        refused_at_once(load, path)


def test_the_prior_needs_as_many_styles_as_genres(tmp_path, good):
    for name, value in (
        ("tempos", torch.ones(3)),
        ("styles", torch.ones(2, 4)),
        ("styles", torch.ones(2)),
        ("tempos", 7),
    ):
        torch.save(changed(good["prior"], ("state", name), value), tmp_path / "m.pt")
        refused_at_once(load_prior, tmp_path / "m.pt")


def test_i3d_and_the_embedding_are_no_larger_than_their_files(tmp_path):
    save_i3d(tmp_path / "i3d.pt", I3D(3, 0.125, classes=5), I3D(2, 0.125, classes=5), {"genre": list("abcde")})
    content = torch.load(tmp_path / "i3d.pt", weights_only=True)
    weight, bias = "logits.conv3d.weight", "logits.conv3d.bias"
    for change in (
        {"width": 4.0}, {"width": float("nan")}, {"rgb": content["rgb"] | {bias: torch.zeros(1).expand(10**9)}}, {"rgb": content["rgb"] | {bias: torch.tensor(1.0)}},
        {"rgb": content["rgb"] | {bias: torch.zeros(10**6).half()}}, {"rgb": content["rgb"] | {7: torch.zeros(1)}}, {"rgb": content["rgb"] | {weight: 7}},
        {"rgb": content["rgb"] | {bias: torch.zeros(5, dtype=torch.int64)}}, {"rgb": content["rgb"] | {bias: torch.full((5,), torch.inf)}}, {"rgb": []}, {"format": [1]},
    ):  # fmt: skip
        torch.save(content | change, tmp_path / "m.pt")
        refused_at_once(lambda path: load_i3d(path, "rgb"), tmp_path / "m.pt")
    save_embedding(tmp_path / "e.pt", EmbeddingNet(2), ["a", "b"])
    content = torch.load(tmp_path / "e.pt", weights_only=True)
    for change in (
        {"genres": 7},
        {"genres": ["a"] * 10**5},
        {"net": 7},
        {"net": {}},
        {"kind": {}},
        {"net": content["net"] | {"genre.bias": torch.full((2,), torch.nan)}},
    ):
        torch.save(content | change, tmp_path / "m.pt")
        refused_at_once(load_embedding, tmp_path / "m.pt")
