"""JukeBox's published layout: parity with a straight-line evaluation, and what is refused."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from d2m_model.checkpoints import load_jukebox
from d2m_model.nets.jukebox_vqvae import VqVaeConfig
from dataset_tools.lib.core.errors import UserError
from tests.d2m_model.checkpoints.test_checkpoints import Shapes, Tensors, random_tensors, same

HALVINGS = (3, 2, 2)
PUBLISHED = {0: (64, 8), 1: (32, 4), 2: (32, 4)}  # level -> width, depth


def jukebox_shapes(sizes: dict[int, tuple[int, int]] = PUBLISHED, bins: int = 2048) -> Shapes:
    shapes: Shapes = {}

    def conv(name: str, after: int, before: int, kernel: int, bias: int | None = None) -> None:
        shapes[f"{name}.weight"], shapes[f"{name}.bias"] = (after, before, kernel), (bias or after,)

    def stack(name: str, width: int, depth: int) -> None:
        for d in range(depth):
            conv(f"{name}.model.{d}.model.1", width, width, 3)
            conv(f"{name}.model.{d}.model.3", width, width, 1)

    for level, (width, depth) in sizes.items():
        for block in range(level + 1):
            n = HALVINGS[block]
            encoder, decoder = (f"{net}.{level}.level_blocks.{block}.model" for net in ("encoders", "decoders"))
            for i in range(n):
                conv(f"{encoder}.{i}.0", width, width if i else (64 if block else 1), 4)
                stack(f"{encoder}.{i}.1", width, depth)
                stack(f"{decoder}.{i + 1}.0", width, depth)
                out = width if i < n - 1 else 64
                conv(f"{decoder}.{i + 1}.1", width, out, 4, bias=out)  # transposed: (in, out, kernel)
            conv(f"{encoder}.{n}", 64, width, 3)
            conv(f"{decoder}.0", width, 64, 3)
        conv(f"decoders.{level}.out", 1, 64, 3)
        shapes[f"bottleneck.level_blocks.{level}.k"] = (bins, 64)
    return shapes


def straight_stack(t: Tensors, name: str, x: torch.Tensor, dilations: list[int]) -> torch.Tensor:
    for d, dilation in enumerate(dilations):
        at = f"{name}.model.{d}.model"
        y = F.conv1d(F.relu(x), t[f"{at}.1.weight"], t[f"{at}.1.bias"], padding=dilation, dilation=dilation)
        x = x + F.conv1d(F.relu(y), t[f"{at}.3.weight"], t[f"{at}.3.bias"])
    return x


def straight_encode(t: Tensors, audio: torch.Tensor, level: int) -> torch.Tensor:
    x, depth = audio[:, None], PUBLISHED[level][1]
    for block in range(level + 1):
        at = f"encoders.{level}.level_blocks.{block}.model"
        for i in range(HALVINGS[block]):
            x = F.conv1d(x, t[f"{at}.{i}.0.weight"], t[f"{at}.{i}.0.bias"], stride=2, padding=1)
            x = straight_stack(t, f"{at}.{i}.1", x, [3**d for d in range(depth)])
        x = F.conv1d(x, t[f"{at}.{HALVINGS[block]}.weight"], t[f"{at}.{HALVINGS[block]}.bias"], padding=1)
    return x


def straight_decode(t: Tensors, codes: torch.Tensor, level: int) -> torch.Tensor:
    x, depth = t[f"bottleneck.level_blocks.{level}.k"][codes].transpose(1, 2), PUBLISHED[level][1]
    for block in reversed(range(level + 1)):
        at = f"decoders.{level}.level_blocks.{block}.model"
        x = F.conv1d(x, t[f"{at}.0.weight"], t[f"{at}.0.bias"], padding=1)
        for j in range(1, HALVINGS[block] + 1):
            x = straight_stack(t, f"{at}.{j}.0", x, [3**d for d in reversed(range(depth))])
            x = F.conv_transpose1d(x, t[f"{at}.{j}.1.weight"], t[f"{at}.{j}.1.bias"], stride=2, padding=1)
    return F.conv1d(x, t[f"decoders.{level}.out.weight"], t[f"decoders.{level}.out.bias"], padding=1)[:, 0]


@pytest.fixture(scope="module")
def jukebox(tmp_path_factory) -> tuple[Tensors, object]:
    """(tensors, the network loaded from OpenAI's container of them)"""
    tensors = random_tensors(jukebox_shapes())
    assert len(tensors) == 669
    for name in tensors:
        if ".model.3." in name:
            tensors[name] *= 0.2  # residual branches add up over depth
    with torch.no_grad():
        for level in PUBLISHED:  # entries among what the encoder makes of audio, so that codes vary
            z = straight_encode(tensors, wave(), level)[0]
            k = tensors[f"bottleneck.level_blocks.{level}.k"]
            k *= z.std() / k.std()
            k += z.mean(1)
    path = tmp_path_factory.mktemp("jukebox") / "vqvae.pth.tar"
    model = {f"module.{name}": value for name, value in tensors.items()}
    scores = {"loss": np.float64(0.5), "spec": np.float32(2.0)}
    torch.save({"model": model, "hps": {"levels": 3, "name": "vqvae"}, "opt": None, "step": 7, **scores}, path)
    return tensors, load_jukebox(path)


def wave() -> torch.Tensor:
    return torch.randn(2, 4096, generator=torch.Generator().manual_seed(2)) * 0.3


@pytest.mark.parametrize("level", PUBLISHED)
def test_jukebox_encodes_and_decodes_as_published(jukebox, level):
    tensors, net = jukebox
    k = tensors[f"bottleneck.level_blocks.{level}.k"]
    with torch.no_grad():
        z = straight_encode(tensors, wave(), level)
        distance = torch.cdist(z.transpose(1, 2).double(), k.double()[None])
        same(net.latents(wave(), level), z)
        found = net.encode(wave(), level)
        assert (
            found.shape == (2, 4096 // (8, 32, 128)[level]) and found.dtype == torch.int64 and len(found.unique()) > 3
        )
        chosen = distance.gather(2, found[..., None])[..., 0]
        assert ((chosen - distance.min(2).values) <= 1e-5 * chosen).all()  # the nearest, or as near as rounding tells
        codes = torch.randint(2048, (2, 9), generator=torch.Generator().manual_seed(3))
        audio = net.decode(codes, level)
        assert audio.shape == (2, 9 * (8, 32, 128)[level])
        same(audio, straight_decode(tensors, codes, level))


def test_a_bare_older_file_of_jukebox_and_other_sizes(tmp_path):
    narrow = random_tensors(jukebox_shapes({0: (8, 1), 1: (8, 1), 2: (8, 1)}, bins=16))
    torch.save(narrow, tmp_path / "small.pt", _use_new_zipfile_serialization=False)
    sizes = VqVaeConfig(width=8, depth=1, multipliers=(1, 1, 1), bins=16)
    net = load_jukebox(tmp_path / "small.pt", sizes)
    assert torch.equal(net.codebook(1).k, narrow["bottleneck.level_blocks.1.k"]) and not net.training
    expected = r"small.pt: this is a JukeBox VQ-VAE of \d+ tensors; expected JukeBox's VQ-VAE: 669 tensors of width 32, depth 4, "
    with pytest.raises(UserError, match=expected + r"multipliers 2/1/1, 2048 bins, but it lacks encoders"):
        load_jukebox(tmp_path / "small.pt")
    narrow["encoders.0.level_blocks.0.model.0.0.extra"] = torch.zeros(1)
    torch.save(narrow, tmp_path / "more.pt")
    with pytest.raises(UserError, match=r"it has encoders.0.level_blocks.0.model.0.0.extra, which is no part of it$"):
        load_jukebox(tmp_path / "more.pt", sizes)
