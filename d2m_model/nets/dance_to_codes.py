"""The generator of D2M-GAN: from a dance and its visual feature to codes, for each preset and level."""

from collections.abc import Sequence
from typing import Any

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

MotionEncoder = PaperMotionEncoder | ReleasedMotionEncoder | TemporalMotionEncoder
VISUAL = 2048  # I3D, RGB and flow
EMBEDDING = 64  # length of a codebook entry
TANH_SPREADS = 4.0  # scale of the tanh with codebook_init, in standard deviations of the codebook
SHARPENING = 10.0  # lets Adam, whose steps have a fixed size, change the sharpness by orders of magnitude


class DanceToCodes(nn.Module):
    """G: motion encoder and code generator of one preset and level, from a dance and its visual feature to codes.

    frames: T of a training window. `fixed` later accepts any T, `paper` and `released` only this one.
    joints: J of the pose layout, for keypoints. steps: R, for SMPL motion with R steps per video frame. One of them is given.
    genres: for `released`, the names of the genres that condition it, as in the published program; empty: no condition.
    width: multiplies the channels (1 = as published), but not the lengths along which a network convolves, nor the Linear
    layers that make these.
    codebook (bins, 64): scales the output with codebook_init; needed only at the start of training. Without it, `bins` is the
    number of entries.
    """

    centre: torch.Tensor
    spread: torch.Tensor
    prior: torch.Tensor
    motion_encoder: MotionEncoder | None
    generator: nn.Module

    def __init__(
        self, preset: Preset, level: str, *, frames: int, joints: int = 0, steps: int = 0, genres: Sequence[str] = (),
        width: float = 1.0, dropout: float = 0.1, bins: int = 2048, codebook: torch.Tensor | None = None,
    ):  # fmt: skip
        super().__init__()
        if (joints > 0) == (steps > 0):
            raise ValueError(f"either joints or steps, found {joints} and {steps}")
        self.preset, self.level, self.frames, self.steps, self.genres = preset, level, frames, steps, tuple(genres)
        self.sizes: dict[str, Any] = {
            "frames": frames,
            "joints": joints,
            "width": width,
            "bins": bins if codebook is None else len(codebook),
        }
        self.sizes |= ({"steps": steps} if steps else {}) | ({"genres": list(genres)} if genres else {})
        codes, visual = self.code_count(frames), VISUAL if preset.visual else 0
        self.motion_encoder = self._encoder(joints, width, dropout) if preset.motion else None
        motion = self.motion_encoder.features if self.motion_encoder else 0
        if preset.generator == "temporal":
            channels = motion if preset.encoder == "temporal" else min(motion, 1)
            self.generator = TemporalCodeGenerator(level, channels, visual, width, dropout, EMBEDDING)
        else:
            generator = {"paper": PaperCodeGenerator, "released": ReleasedCodeGenerator}[preset.generator]
            values = motion * (frames * max(1, steps) if preset.encoder == "temporal" else 1)
            sigma = 1.0 if not preset.scaled else TANH_SPREADS if preset.codebook_init else SIGMA
            more = {"genres": len(genres)} if genres else {}
            self.generator = generator(level, values + visual, codes, width, sigma=sigma, embedding=EMBEDDING, **more)
        if preset.codebook_init:
            book = torch.eye(bins, EMBEDDING) if codebook is None else codebook
            self.register_buffer("centre", book.mean(0) if preset.scaled else torch.zeros(EMBEDDING))
            self.register_buffer("spread", book.std() if preset.scaled else torch.ones(()))
            # At first all entries are about equally likely, although some lie far from the centre.
            farness = (book - book.mean(0)).square().sum(1).std().clamp(min=1e-3)
            self.sharpness = nn.Parameter(-farness.log() / SHARPENING)
            self.register_buffer("prior", torch.zeros(len(book)))

    def _encoder(self, joints: int, width: float, dropout: float) -> MotionEncoder:
        body, steps = self.preset.features == "body", max(1, self.steps)
        values = (2 * MOTION_WIDTH + 25 if body else MOTION_WIDTH) if self.steps else (6 if body else 3) * joints
        if self.preset.encoder == "temporal":
            return TemporalMotionEncoder(values, width, dropout)
        encoders: dict[str, type[PaperMotionEncoder] | type[ReleasedMotionEncoder]]
        encoders = {"paper": PaperMotionEncoder, "released": ReleasedMotionEncoder}
        return encoders[self.preset.encoder](self.frames * steps, values, width)

    @property
    def stream(self) -> str:
        """The stream of the shards that this network reads: 'pose' or 'motion'."""
        return "motion" if self.steps else "pose"

    def genre_index(self, names: Sequence[str]) -> torch.Tensor | None:
        """(B,) int64 indices of the genres; None for a network without genres.

        Raises UserError for an unknown genre.
        """
        for name in names if self.genres else ():
            if name not in self.genres:
                raise UserError(
                    f"d2m_gan: unknown genre '{name}'; the generator was built for {', '.join(self.genres)}"
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

        dance: keypoints (B, T, J, 3) of one dancer in px, with gaps filled, all zero without a dancer; or, for a network with
        steps, SMPL motion (B, T, R, 219). size: (width, height) of the picture in px, as numbers or (B, 1, 1, 1).
        visual: (B, 2048). genre: (B,), from `genre_index`. Raises ValueError for a T that the preset cannot take.
        """
        temporal = self.preset.generator == "temporal"
        if dance.shape[1] != self.frames and not (temporal and self.preset.encoder == "temporal"):
            raise ValueError(f"preset '{self.preset.name}' takes {self.frames} frames, found {dance.shape[1]}")
        motion = self.motion_encoder(self._features(dance, size)) if self.motion_encoder else None
        read = visual if self.preset.visual else None
        if temporal:
            motion = motion[:, None] if motion is not None and motion.dim() == 2 else motion
            x = self.generator(motion, read, self.code_count(dance.shape[1]))
        else:
            condition = torch.cat([part.flatten(1) for part in (motion, read) if part is not None], dim=1)
            x = self.generator(condition, genre) if self.genres else self.generator(condition)
        return self.centre[:, None] + self.spread * x if self.preset.codebook_init else x

    def _features(self, dance: torch.Tensor, size: tuple) -> torch.Tensor:
        """Input of the motion encoder, (B, T or T·R, D)."""
        body = self.preset.features == "body"
        if self.steps:
            motion = dance.flatten(1, 2)
            return smpl_features(motion, FPS * self.steps) if body else motion
        return body_features(dance) if body else plain_coordinates(dance, *size)

    @torch.no_grad()
    def set_code_prior(self, codes: torch.Tensor) -> None:
        """Set the prior of the entries to their frequencies in real codes (N,). Does nothing without codebook_init."""
        if self.preset.codebook_init:
            counts = torch.bincount(codes.flatten(), minlength=len(self.prior)).float() + 1
            self.prior.copy_((counts / counts.sum()).log())

    def logits(self, codes: torch.Tensor, codebook: torch.Tensor) -> torch.Tensor:
        """Logits (B, L, bins) of the codebook's entries (bins, 64) at continuous codes (B, 64, L).

        A logit is minus the squared distance, so the nearest entry has the largest. With codebook_init the distance is scaled
        by a learned sharpness, and the log-frequency of the entry in real music is added.
        """
        x = codes.transpose(1, 2)
        distance = codebook.square().sum(1) - 2 * x @ codebook.T  # without |x|², which is the same for every entry
        return self.prior - (SHARPENING * self.sharpness).exp() * distance if self.preset.codebook_init else -distance

    def look_up(self, codes: torch.Tensor, codebook: torch.Tensor, temperature: float = 1.0) -> torch.Tensor:
        """Decoder input (B, 64, L) for generated codes (B, 64, L): the likeliest entries or, with soft_lookup, the mean of all
        entries weighted by softmax(logits / temperature).

        The hard lookup is straight-through (van den Oord et al., 2017): the forward pass gives the entries, the backward pass
        the gradient of the generated codes.
        """
        logits = self.logits(codes, codebook)
        if self.preset.soft_lookup:
            return ((logits / temperature).softmax(-1) @ codebook).transpose(1, 2)
        entries = F.embedding(logits.argmax(-1), codebook).transpose(1, 2)
        return codes + (entries - codes).detach()
