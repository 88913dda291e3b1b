"""The file of a VQ-VAE, which the stages `vqvae` and `synthesizer` write and later stages read."""

from pathlib import Path
from typing import Any

from d2m_model.nets.istft_decoder import IstftConfig
from d2m_model.nets.jukebox_vqvae import JUKEBOX_LEVELS, JukeboxVQVAE, VqVaeConfig
from d2m_model.nets.variants import variant_of
from d2m_model.training import checkpoint
from dataset_tools.lib.core.layout import Layout

KIND, VERSION = "vqvae", 1


def save_vqvae(path: Path, model: JukeboxVQVAE, training: dict[str, Any], **notes: Any) -> None:
    """Write the whole network, complete or absent.

    training: what is needed to continue the training, such as `checkpoint.training_state`. notes: plain values for the meta.
    """
    state = {"model": model.state_dict(), "training": training}
    istft = {"istft": {str(level): sizes.as_dict() for level, sizes in model.istft.items()}} if model.istft else {}
    checkpoint.save(path, KIND, VERSION, state, {"config": model.config.as_dict(), **istft, **notes})


def decoder_of(layout: Layout, level: str, variant: str) -> Path:
    """The file whose decoder plays the codes of a variant of d2m_gan: that of the level's synthesizer, or of the VQ-VAE for
    `no_finetune`. Raises UserError for an unknown variant."""
    folder = layout.stage("synthesizer") / level if variant_of(variant).fine_tuned else layout.stage("vqvae")
    return folder / "model.pt"


def load_vqvae(path: Path) -> JukeboxVQVAE:
    """The network of a model.pt of `vqvae` or `synthesizer`, on the CPU, in evaluation mode, without gradients.

    Raises UserError for a missing, damaged or unfit file.
    """
    model, _ = load_training(path)
    return model.eval().requires_grad_(False)


def load_training(path: Path) -> tuple[JukeboxVQVAE, dict[str, Any]]:
    """The network of such a file, to train on, and the `training` it was saved with. Raises as `load_vqvae`."""
    content = checkpoint.load(path, KIND, VERSION)
    with checkpoint.user_errors(path):
        config = VqVaeConfig(**content.meta["config"] | {"multipliers": tuple(content.meta["config"]["multipliers"])})
        istft = {
            JUKEBOX_LEVELS[JUKEBOX_LEVELS.index(int(level))]: IstftConfig(**sizes)
            for level, sizes in content.meta.get("istft", {}).items()
        }
        return checkpoint.build_network(lambda: JukeboxVQVAE(config, istft), content.state["model"]), dict(
            content.state["training"]
        )
