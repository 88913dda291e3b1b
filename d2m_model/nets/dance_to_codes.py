"""The generator of D2M-GAN: from a dance and its visual feature to codes, as a preset and a level make it."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import nn

from d2m_model.nets.code_generator import SIGMA, PaperCodeGenerator, ReleasedCodeGenerator, TemporalCodeGenerator
from d2m_model.nets.motion_encoder import PaperMotionEncoder, ReleasedMotionEncoder, TemporalMotionEncoder
from d2m_model.nets.motion_features import body_features, plain_coordinates, smpl_features
from d2m_model.nets.presets import Preset
from dataset_tools.lib.core.errors import UserError
from dataset_tools.lib.core.timebase import FPS, LEVELS, frames_to_samples, samples_to_codes
from dataset_tools.lib.shard_io.shard_format import MOTION_WIDTH

VISUAL = 2048  # I3D, RGB and flow
EMBEDDING = 64  # length of a codebook entry
WITHIN = 4.0  # spreads of the codebook: where a placed net ends in a tanh, this far from the mean
SHARPENING = 10.0  # lets Adam, whose steps are all of one size, change the sharpness by orders of magnitude


class DanceToCodes(nn.Module):
    """G: motion encoder and code generator of one preset and level, from a dance and its visual feature to codes.

    frames: T of a training window. `fixed` takes any T later, `paper` and `released` only this one.
    joints: J of the pose layout, for keypoints; or steps: R, for SMPL motion with R steps a video frame.
    genres: names of those that `released` is told, as the published program tells the true ones; empty: none.
    width: multiplies the channels (1 = as published); lengths along which a network
    convolves, and the Linear layers that make them, stay.
    codebook (bins, 64): places `fixed`'s output on the scale of the entries; needed only to begin training, where it
    is not given `bins` says how many entries it will have.
    """

    def __init__(
        self, preset: Preset, level: str, *, frames: int, joints: int = 0, steps: int = 0, genres: Sequence[str] = (),
        width: float = 1.0, dropout: float = 0.1, bins: int = 2048, codebook: torch.Tensor | None = None,
    ):  # fmt: skip
        super().__init__()
        if (joints > 0) == (steps > 0):
            raise ValueError(f"either joints or steps, found {joints} and {steps}")
        self.preset, self.level, self.frames, self.steps, self.genres = preset, level, frames, steps, tuple(genres)
        self.sizes = {
            "frames": frames,
            "joints": joints,
            "width": width,
            "bins": bins if codebook is None else len(codebook),
        }
        self.sizes |= ({"steps": steps} if steps else {}) | ({"genres": list(genres)} if genres else {})
        codes, visual = self.code_count(frames), VISUAL if preset.visual else 0
        self.motion_encoder = self._encoder(joints, width, dropout) if preset.motion else None
        motion = self.motion_encoder.features if preset.motion else 0
        if preset.generator == "temporal":
            channels = motion if preset.encoder == "temporal" else min(motion, 1)
            self.generator = TemporalCodeGenerator(level, channels, visual, width, dropout, EMBEDDING)
        else:
            generator = {"paper": PaperCodeGenerator, "released": ReleasedCodeGenerator}[preset.generator]
            values = motion * (frames * max(1, steps) if preset.encoder == "temporal" else 1)
            sigma = 1.0 if not preset.scaled else WITHIN if preset.codebook_init else SIGMA
            more = {"genres": len(genres)} if genres else {}
            self.generator = generator(level, values + visual, codes, width, sigma=sigma, embedding=EMBEDDING, **more)
        if preset.codebook_init:
            book = torch.eye(bins, EMBEDDING) if codebook is None else codebook
            self.register_buffer("centre", book.mean(0) if preset.scaled else torch.zeros(EMBEDDING))
            self.register_buffer("spread", book.std() if preset.scaled else torch.ones(()))
            # At first no entry is much likelier for its place than another, though some lie far from the centre.
            farness = (book - book.mean(0)).square().sum(1).std().clamp(min=1e-3)
            self.sharpness = nn.Parameter(-farness.log() / SHARPENING)
            self.register_buffer("prior", torch.zeros(len(book)))

    def _encoder(self, joints: int, width: float, dropout: float) -> nn.Module:
        body, steps = self.preset.features == "body", max(1, self.steps)
        values = (2 * MOTION_WIDTH + 25 if body else MOTION_WIDTH) if self.steps else (6 if body else 3) * joints
        if self.preset.encoder == "temporal":
            return TemporalMotionEncoder(values, width, dropout)
        encoder = {"paper": PaperMotionEncoder, "released": ReleasedMotionEncoder}[self.preset.encoder]
        return encoder(self.frames * steps, values, width)

    @property
    def stream(self) -> str:
        """The stream of a shard that it reads: 'pose' or 'motion'."""
        return "motion" if self.steps else "pose"

    def genre_index(self, names: Sequence[str]) -> torch.Tensor | None:
        """(B,) int64: the genres' places among those that it is told; None where it is told none.

        Raises UserError for a genre it does not know.
        """
        for name in names if self.genres else ():
            if name not in self.genres:
                raise UserError(
                    f"d2m_gan: the generator is told the genre, one of {', '.join(self.genres)}; '{name}' is none of them"
                )
        device = next(self.parameters()).device
        return torch.tensor([self.genres.index(name) for name in names], device=device) if self.genres else None

    def code_count(self, frames: int) -> int:
        """Codes L of `frames` video frames at this level."""
        return samples_to_codes(frames_to_samples(frames), LEVELS[self.level])

    def forward(
        self, dance: torch.Tensor, size: tuple[torch.Tensor | float, torch.Tensor | float], visual: torch.Tensor,
        genre: torch.Tensor | None = None,
    ) -> torch.Tensor:  # fmt: skip
        """Continuous codes f_vq (B, 64, L).

        dance: one dancer's keypoints (B, T, J, 3) in px, gaps filled, all zero where there is nobody; or, of a network
        with steps, SMPL motion (B, T, R, 219). size: (width, height) of the picture in px, numbers or (B, 1, 1, 1).
        visual (B, 2048). genre: (B,) of `genre_index`.
        """
        temporal = self.preset.generator == "temporal"
        if dance.shape[1] != self.frames and not (temporal and self.preset.encoder == "temporal"):
            raise ValueError(f"preset '{self.preset.name}' takes {self.frames} frames, found {dance.shape[1]}")
        motion = self.motion_encoder(self._features(dance, size)) if self.preset.motion else None
        visual = visual if self.preset.visual else None
        if temporal:
            motion = motion[:, None] if motion is not None and motion.dim() == 2 else motion
            x = self.generator(motion, visual, self.code_count(dance.shape[1]))
        else:
            condition = torch.cat([part.flatten(1) for part in (motion, visual) if part is not None], dim=1)
            x = self.generator(condition, genre) if self.genres else self.generator(condition)
        return self.centre[:, None] + self.spread * x if self.preset.codebook_init else x

    def _features(self, dance: torch.Tensor, size: tuple) -> torch.Tensor:
        """What the motion encoder reads, (B, T or T·R, D)."""
        body = self.preset.features == "body"
        if self.steps:
            motion = dance.flatten(1, 2)
            return smpl_features(motion, FPS * self.steps) if body else motion
        return body_features(dance) if body else plain_coordinates(dance, *size)

    @torch.no_grad()
    def set_code_prior(self, codes: torch.Tensor) -> None:
        """Take how often each entry occurs from real codes (N,); only a placed net uses it."""
        if self.preset.codebook_init:
            counts = torch.bincount(codes.flatten(), minlength=len(self.prior)).float() + 1
            self.prior.copy_((counts / counts.sum()).log())

    def logits(self, codes: torch.Tensor, codebook: torch.Tensor) -> torch.Tensor:
        """Log-odds (B, L, bins) of each codebook entry (bins, 64) at codes (B, 64, L): the largest is looked up.

        Minus the squared distance, so that the largest is the nearest entry; a placed net learns how sharply it falls, and
        adds how often real music has each entry, so that it starts from there.
        """
        x = codes.transpose(1, 2)
        distance = codebook.square().sum(1) - 2 * x @ codebook.T  # |x|² is the same for every entry
        return self.prior - (SHARPENING * self.sharpness).exp() * distance if self.preset.codebook_init else -distance

    def look_up(self, codes: torch.Tensor, codebook: torch.Tensor, temperature: float = 1.0) -> torch.Tensor:
        """What is decoded for generated codes (B, 64, L): the likeliest entries (B, 64, L), or the preset's soft mean,
        whose weights are the softmax of logits / temperature.

        The hard lookup is straight-through (van den Oord et al., 2017): entries forwards, generated codes backwards.
        """
        logits = self.logits(codes, codebook)
        if self.preset.soft_lookup:
            return ((logits / temperature).softmax(-1) @ codebook).transpose(1, 2)
        entries = F.embedding(logits.argmax(-1), codebook).transpose(1, 2)
        return codes + (entries - codes).detach()
