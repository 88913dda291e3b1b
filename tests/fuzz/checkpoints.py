"""Checkpoints: this project's with odd sizes and tensors, other people's state dicts, and damaged files of torch.save."""

import io
import tempfile
import zipfile
from functools import cache, partial
from pathlib import Path

import torch
from hypothesis import strategies as st

from d2m_model.checkpoints import load_jukebox, load_released, load_vggish
from d2m_model.checkpoints.foreign_file import read_tensors
from d2m_model.nets.dance_to_codes import DanceToCodes
from d2m_model.nets.jukebox_vqvae import JukeboxVQVAE, VqVaeConfig
from d2m_model.nets.presets import PRESETS
from d2m_model.prior.model_file import PriorModel, load_prior, save_prior
from d2m_model.prior.net import PriorNet, PriorSizes
from d2m_model.rhythm.model import load_rhythm, save_rhythm
from d2m_model.rhythm.net import RhythmNet
from d2m_model.training.music_model import load_generator, save_generator
from d2m_model.training.vqvae_files import load_vqvae, save_vqvae
from dataset_tools.i3d.checkpoints import load_i3d
from dataset_tools.lib.embedding.net import EmbeddingNet, load_embedding, save_embedding
from dataset_tools.pose.net import load_network
from dataset_tools.pose.pifpaf_compat import load_checkpoint
from tests.fuzz.case import Case, promise
from tests.fuzz.mutation import altered, damaged, odd_scalars, rezipped

FILE = "model.pt"
QUICK = ("vqvae", "rhythm", "prior", "generator", "embedding", "jukebox", "tensors")
"""Readers of networks that can be small."""
SMALL = VqVaeConfig(width=2, depth=1, multipliers=(1, 1, 1), bins=8, emb_width=64)
SIZES = (0, -1, 1, 3, 1.5, 4000, 20_000, 10**7, 10**12, 1 << 63, True, "8", None, float("nan"), [8], {})


def _real(net: torch.nn.Module) -> None:
    for name, values in net.state_dict().items():
        promise(values.device.type == "cpu", f"{name} is on the {values.device.type}")
        promise(not values.is_floating_point() or bool(torch.isfinite(values).all()), f"{name} is finite")


def network(into: Path, _out: Path, load) -> None:
    net = load(into / FILE)
    _real(net if isinstance(net, torch.nn.Module) else net.net)


def generator(into: Path, _out: Path) -> None:
    net, codebook, inputs = load_generator(into / FILE)
    _real(net)
    promise(
        codebook.ndim == 2
        and codebook.shape[1] == 64
        and codebook.is_floating_point()
        and bool(torch.isfinite(codebook).all()),
        "codebook (bins, 64)",
    )
    promise(
        isinstance(inputs, dict) and all(isinstance(text, str) for pair in inputs.items() for text in pair),
        f"inputs are texts: {inputs!r:.80}",
    )


def prior(into: Path, _out: Path) -> None:
    found = load_prior(into / FILE)
    _real(found.net)
    promise(
        found.codebook.shape == (found.net.sizes.bins, 64) and bool(torch.isfinite(found.codebook).all()),
        "codebook (bins, 64)",
    )
    promise(found.level in ("high", "low"), f"level {found.level!r:.40}")


def tensors(into: Path, _out: Path) -> None:
    for name, values in read_tensors(into / FILE, "anything").items():
        promise(
            isinstance(values, torch.Tensor) and values.device.type == "cpu" and not values.is_quantized,
            f"{name[:40]!r} is a plain tensor",
        )


READERS = {
    "vqvae": partial(network, load=load_vqvae), "rhythm": partial(network, load=load_rhythm), "prior": prior, "generator": generator,
    "embedding": partial(network, load=load_embedding), "i3d": partial(network, load=partial(load_i3d, stream="flow")),
    "jukebox": partial(network, load=partial(load_jukebox, config=SMALL)), "tensors": tensors, "vggish": partial(network, load=load_vggish),
    "pose": partial(network, load=lambda path: load_network(path)[0]), "openpifpaf": partial(network, load=load_checkpoint),
    "released": partial(network, load=lambda path: load_released(path, path, level="high", corpus="tiktok")),
}  # fmt: skip


@cache
def _valid(reader: str) -> dict:
    """What a small valid file of a reader holds; of those whose networks are large the beginning of one."""
    torch.manual_seed(0)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / FILE
        codebook = torch.randn(8, 64)
        if reader == "vqvae":
            save_vqvae(path, JukeboxVQVAE(SMALL), {})
        elif reader == "rhythm":
            save_rhythm(path, RhythmNet("pose", ["house", "pop"], width=4, blocks=1))
        elif reader == "prior":
            sizes = PriorSizes(bins=8, patch=4, width=8, depth=1, heads=2, context=8, local_width=8, embedding=4)
            save_prior(path, PriorModel(net=PriorNet(sizes), codebook=codebook, level="high"))
        elif reader == "generator":
            net = DanceToCodes(PRESETS["fixed"], "high", frames=60, codebook=codebook, joints=17, width=0.03)
            save_generator(path, net, codebook, "full", {"pose_layout": "coco17"})
        elif reader == "embedding":
            save_embedding(path, EmbeddingNet(2), ["house", "pop"])
        elif reader == "jukebox":
            return {"model": dict(JukeboxVQVAE(SMALL).state_dict()), "step": 3}
        else:
            return {
                "i3d": {"format": "d2m-i3d 1", "width": 0.01, "heads": {}, "rgb": {}, "flow": {"a": torch.ones(2)}},
                "pose": {"format": "d2m-pose 1", "base": "shufflenetv2k16", "state_dict": {"a": torch.ones(2)}},
                "openpifpaf": {"model": {"a": torch.ones(2)}, "epoch": 3}, "vggish": {"features.0.weight": torch.ones(64, 1, 3, 3)},
                "released": {"lin1.weight": torch.ones(2, 75)}, "tensors": {"state_dict": {"module.a": torch.ones(2), "module.b": torch.zeros(3)}},
            }[reader]  # fmt: skip
        return torch.load(path, map_location="cpu", weights_only=True)


@st.composite
def _odd_tensor(draw, like: torch.Tensor) -> object:
    act = draw(
        st.sampled_from(
            (
                "nan",
                "inf",
                "type",
                "shape",
                "meta",
                "huge",
                "sparse",
                "complex",
                "quantised",
                "scalar",
                "transposed",
                "other",
            )
        )
    )
    if act in ("nan", "inf") and like.is_floating_point() and like.numel():
        like = like.clone()
        like.view(-1)[0] = float(act)
        return like
    if act == "type":
        return like.to(
            draw(st.sampled_from((torch.float16, torch.float64, torch.bfloat16, torch.int64, torch.bool, torch.uint8)))
        )
    made = {
        "shape": lambda: torch.zeros(draw(st.sampled_from(((), (0,), (3,), (1, 1, 1), (5, 64))))), "meta": lambda: like.to("meta"),
        "huge": lambda: torch.zeros(1).expand(1 << draw(st.sampled_from((20, 34)))), "sparse": lambda: torch.eye(3).to_sparse(),
        "complex": lambda: torch.complex(like.float(), like.float()) if like.is_floating_point() else like, "scalar": lambda: torch.tensor(1.0),
        "quantised": lambda: torch.quantize_per_tensor(torch.ones(3), 0.1, 0, torch.quint8), "transposed": lambda: like.transpose(0, -1) if like.ndim else like,
    }  # fmt: skip
    return made[act]() if act in made else draw(odd_scalars)


@st.composite
def _odd(draw, content: dict) -> dict:
    """A copy with a few oddities: sizes of the meta, tensors, or any node."""
    for _ in range(draw(st.integers(1, 3))):
        act = draw(st.sampled_from(("sizes", "sizes", "tensor", "tensor", "tree")))
        if act == "sizes" and "meta" in content:
            content = content | {"meta": draw(altered(content["meta"], st.sampled_from(SIZES), most=1))}
        elif act == "tensor":
            content = draw(
                altered(content, st.sampled_from(_tensors(content) or [torch.ones(2)]).flatmap(_odd_tensor), most=1)
            )
        else:
            content = draw(altered(content, most=1))
        if not isinstance(content, dict):
            return {"a": content}
    return content


def _tensors(tree: object) -> list[torch.Tensor]:
    inner = tree.values() if isinstance(tree, dict) else tree if isinstance(tree, (list, tuple)) else ()
    return [tree] if isinstance(tree, torch.Tensor) else [found for value in inner for found in _tensors(value)]


def _bytes(content: object, old: bool = False) -> bytes | None:
    """A file of torch.save; None of what it does not write."""
    out = io.BytesIO()
    try:
        torch.save(content, out, _use_new_zipfile_serialization=not old)
    except (RuntimeError, AttributeError, TypeError, ValueError, NotImplementedError, OverflowError):
        return None
    return out.getvalue()


@cache
def _new(reader: str) -> bytes:
    return _bytes(_valid(reader)) or b""


@cache
def _old(reader: str) -> bytes:
    """In the format of before 2020; what it holds is named by its place in memory, so it is written once."""
    return _bytes(_valid(reader), old=True) or b""


@st.composite
def cases(draw) -> Case:
    reader = draw(st.sampled_from((*QUICK * 5, *READERS)))
    if draw(st.integers(0, 7)):
        content = _valid(reader)
        data = _bytes(draw(_odd(content)) if draw(st.integers(0, 4)) else content) or _new(reader)
    else:
        data = _old(reader)
    harm = draw(st.sampled_from(("none", "none", "none", "bytes", "inside")))
    if harm == "bytes" or (harm == "inside" and not zipfile.is_zipfile(io.BytesIO(data))):
        data = draw(damaged(data))
    elif harm == "inside":
        data = draw(rezipped(data))
    return Case(reader, {FILE: data})
