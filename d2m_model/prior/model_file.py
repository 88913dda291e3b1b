"""The file of a prior, which the stage `prior` writes: the network, its codebook, and the corpus's styles."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from d2m_model.prior.net import PriorNet, PriorSizes
from d2m_model.prior.style import Styles
from d2m_model.training import checkpoint
from d2m_model.training.music_model import checked_codebook
from dataset_tools.lib.core.errors import UserError
from dataset_tools.lib.core.timebase import LEVELS

KIND, VERSION = "prior", 1


@dataclass(frozen=True, kw_only=True, eq=False)
class PriorModel:
    """A prior with its codebook and styles."""

    net: PriorNet
    codebook: torch.Tensor
    """(bins, 64) float32."""
    level: str
    """'high' or 'low'."""
    styles: Styles | None = None
    """Styles of the training songs; None for a level without a style."""


def save_prior(path: Path, model: PriorModel, **notes: Any) -> None:
    """Write a prior, with the network in fp16, complete or absent. notes: plain values for the meta."""
    state = {"net": {name: t.half() for name, t in model.net.state_dict().items()}, "codebook": model.codebook}
    meta = {"sizes": model.net.sizes.as_dict(), "level": model.level, "genres": []}
    if model.styles:
        state |= {"tempos": model.styles.tempos, "styles": model.styles.vectors}
        meta["genres"] = list(model.styles.genres)
    checkpoint.save(path, KIND, VERSION, state, meta | notes)


def load_prior(path: Path, codebook: torch.Tensor | None = None) -> PriorModel:
    """The prior of such a file, on the CPU, in evaluation mode.

    codebook: (bins, 64) of the VQ-VAE that will decode the codes; it must be the one of the training. Raises UserError where it
    is not, and for a missing or unfit file.
    """
    content = checkpoint.load(path, KIND, VERSION)
    with checkpoint.user_errors(path):
        sizes, styles = PriorSizes(**content.meta["sizes"]), None
        net = checkpoint.build_network(lambda: PriorNet(sizes), content.state["net"])
        own, genres = checked_codebook(content.state["codebook"]), checkpoint.string_tuple(content.meta["genres"])
        if content.meta["level"] not in LEVELS or len(own) != sizes.bins:
            raise ValueError(f"level '{content.meta['level']}', {len(own)} codebook entries for {sizes.bins} codes")
        if genres:
            styles = Styles(genres=genres, tempos=content.state["tempos"], vectors=content.state["styles"])
            if styles.tempos.shape != (len(genres),) or styles.vectors.shape != (len(genres), sizes.style):
                raise ValueError(f"styles of another number than the {len(genres)} genres")
        model = PriorModel(net=net.eval(), codebook=own, level=content.meta["level"], styles=styles)
    if codebook is not None and (
        codebook.shape != own.shape or not torch.allclose(codebook.cpu(), own, atol=1e-3, rtol=1e-2)
    ):
        raise UserError(
            f"{path}: was trained with another codebook than the synthesizer's; train it again (python -m d2m_model.prior), or name weights for that codebook"
        )
    return model
