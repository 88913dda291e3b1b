"""The whole chain from a dance to audio: a trained D2M-GAN generator and the VQ-VAE that decodes its codes."""

import copy
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from torch import nn

from d2m_model.nets.dance_to_codes import EMBEDDING, DanceToCodes
from d2m_model.nets.fusing import fuse_for_inference
from d2m_model.nets.jukebox_vqvae import JukeboxVQVAE
from d2m_model.nets.motion_features import fill_missing
from d2m_model.nets.presets import preset_of
from d2m_model.training import checkpoint
from dataset_tools.lib.core.errors import UserError
from dataset_tools.lib.core.timebase import HOPS, LEVELS, frames_to_samples
from dataset_tools.lib.shard_io.shard_format import ShardInfo
from dataset_tools.lib.shard_io.shard_set import WEIGHTS_SEPARATOR

KIND, VERSION = "d2m_gan", 2
INPUTS = ("pose_layout", "pose_weights", "i3d_weights")
"""Attributes of the shards that must be equal in training and generation, for a model that reads keypoints."""
MOST_FRAMES = 10_000
"""Upper bound of a window's frames in a file."""
MOTION_INPUTS = ("motion_rate", "i3d_weights")
"""The same attributes for a model that reads SMPL motion."""


class MusicModel(nn.Module):
    """`net` generates codes, `vqvae` decodes them. `frames` is the length of a window in video frames, `stream` the stream of the
    shards that the model reads: 'pose' or 'motion'."""

    def __init__(self, net: DanceToCodes, vqvae: JukeboxVQVAE):
        super().__init__()
        self.net, self.vqvae = net.eval(), vqvae.eval()
        self.level, self.frames, self.stream = LEVELS[net.level], net.frames, net.stream
        self.genre: torch.Tensor | None = None
        self.temperature = net.preset.temperatures.get(net.level, 1.0)

    @property
    def codebook(self) -> torch.Tensor:
        """(bins, 64), on the model's device."""
        return self.vqvae.codebook(self.level).k

    @staticmethod
    def load(generator: Path, synthesizer: Path, inputs: Mapping[str, str] | None = None) -> "MusicModel":
        """Load the model.pt of d2m_gan and of the synthesizer of the same level, for generation only: weights are fused.

        inputs: the attributes `INPUTS` of the dances to come, which must equal those of the training.
        Raises UserError for a missing or damaged file, and for files that do not belong together.
        """
        from d2m_model.training.vqvae_files import load_vqvae

        net, codebook, trained = load_generator(generator)
        for name in trained if inputs else ():
            assert inputs
            if (found := inputs.get(name, "none")) not in (trained[name], *trained[name].split(WEIGHTS_SEPARATOR)):
                raise UserError(
                    f"{generator}: was trained with {name} '{trained[name]}', but these dances have '{found}'; train it on them"
                )
        vqvae = load_vqvae(synthesizer)
        own = vqvae.codebook(LEVELS[net.level]).k
        if codebook.shape != own.shape or not torch.equal(codebook, own):
            raise UserError(f"{generator}: was trained with another codebook than {synthesizer} has; run d2m_gan again")
        return MusicModel(fuse_for_inference(net), vqvae)

    def for_genre(self, genre: str) -> "MusicModel":
        """A copy of this model for dances of a genre; the model itself where it has no genres. UserError for an unknown genre."""
        if not self.net.genres:
            return self
        copied = copy.copy(self)
        copied.genre = self.net.genre_index([genre])
        return copied

    @torch.no_grad()
    def continuous_codes(self, pose: torch.Tensor, size: tuple[int, int], visual: torch.Tensor) -> torch.Tensor:
        """Continuous codes f_vq (B, 64, L).

        pose (B, T, P, J, 3): x px, y px, confidence, missing = 0; dancer 0 of P is read, and may be missing throughout. For the
        stream 'motion' it is (B, T, R, 219). size: (width, height) of the picture in px. visual (B, 2048).
        """
        dance = pose
        if self.stream == "pose":
            dance = torch.from_numpy(np.stack([fill_missing(p) for p in pose[:, :, 0].cpu().numpy()]))
        device = self.codebook.device
        genre = self.genre if self.genre is None else self.genre.expand(len(dance))
        return self.net(dance.to(device), size, visual.to(device), genre)

    @torch.no_grad()
    def codes(self, pose: torch.Tensor, size: tuple[int, int], visual: torch.Tensor) -> torch.Tensor:
        """Likeliest codes (B, L) int64; arguments as for `continuous_codes`."""
        return self.net.logits(self.continuous_codes(pose, size, visual), self.codebook).argmax(-1)

    @torch.no_grad()
    def audio(self, pose: np.ndarray, size: tuple[int, int], visual: np.ndarray) -> np.ndarray:
        """Audio (T * 735,) float32 at 22 050 Hz for one window: pose (T, P, J, 3) in px, or motion (T, R, 219), and visual
        (2048,)."""
        codes = self.continuous_codes(torch.from_numpy(pose)[None], size, torch.from_numpy(visual)[None])
        latents = self.net.look_up(codes, self.codebook, self.temperature)
        samples = frames_to_samples(len(pose))
        # An incomplete hop at the end has no code: the last code is repeated.
        missing = -(-samples // HOPS[self.level]) - latents.shape[2]
        latents = torch.cat([latents, latents[:, :, -1:].expand(-1, -1, missing)], dim=2)
        return self.vqvae.decode_latents(latents, self.level)[0, :samples].cpu().numpy()


def input_attributes(shards: ShardInfo, stream: str = "") -> dict[str, str]:
    """The attributes of shards that a generator depends on: those for `stream`, or all for ''."""
    names = {"pose": INPUTS, "motion": MOTION_INPUTS, "": dict.fromkeys(INPUTS + MOTION_INPUTS)}[stream]
    return {name: str(getattr(shards, name)) for name in names}


def save_generator(
    path: Path, net: DanceToCodes, codebook: torch.Tensor, variant: str, inputs: Mapping[str, str] | None = None
) -> None:
    """Write a generator, the codebook it was trained with and, where known, the `input_attributes` of its shards; complete or absent."""
    meta = {"preset": net.preset.name, "variant": variant, "level": net.level, "inputs": dict(inputs or {})} | net.sizes
    checkpoint.save(path, KIND, VERSION, {"net": net.state_dict(), "codebook": codebook}, meta)


def load_generator(path: Path) -> tuple[DanceToCodes, torch.Tensor, dict[str, str]]:
    """The generator of a model.pt, its codebook (bins, 64) and the `input_attributes` of its shards (empty: not known).

    Raises UserError for a missing or unfit file.
    """
    content = checkpoint.load(path, KIND, VERSION)
    with checkpoint.user_errors(path):
        meta = dict(content.meta)
        inputs, level = dict(meta.pop("inputs")), meta.pop("level")
        preset = preset_of(meta.pop("preset"), meta.pop("variant"))
        checkpoint.string_tuple([level, *inputs, *inputs.values(), *meta.get("genres", ())])
        if type(meta["frames"]) is not int or not 1 <= meta["frames"] <= MOST_FRAMES:
            raise ValueError(f"frames must be 1 to {MOST_FRAMES}, found {meta['frames']}")
        net = checkpoint.build_network(lambda: DanceToCodes(preset, level, **meta), content.state["net"])
        return net.eval(), checked_codebook(content.state["codebook"]), inputs


def checked_codebook(entries: torch.Tensor) -> torch.Tensor:
    """The codebook of a checkpoint, checked. Raises ValueError for anything but a float tensor (bins, 64)."""
    if (
        not isinstance(entries, torch.Tensor)
        or entries.ndim != 2
        or entries.shape[1] != EMBEDDING
        or not entries.is_floating_point()
    ):
        raise ValueError(f"its codebook must be float (bins, {EMBEDDING})")
    return entries
