"""D2M-GAN's published motion encoder and generator: two state dicts that together map a window of dance to codes.

`load_released` loads them as published, `published_net` as the network that the stages here train and save.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from d2m_model.checkpoints.foreign_file import fit, read_tensors
from d2m_model.nets.code_generator import GENRES, ReleasedCodeGenerator
from d2m_model.nets.dance_to_codes import DanceToCodes
from d2m_model.nets.fusing import fuse_for_inference
from d2m_model.nets.motion_encoder import ReleasedMotionEncoder
from d2m_model.nets.presets import PRESETS
from dataset_tools.lib.core.errors import UserError
from dataset_tools.lib.core.timebase import FPS, LEVELS, frames_to_samples, samples_to_codes

VISUAL = 2048
WINDOWS = {"tiktok": (60, 75), "aistpp": (120, 219)}
"""Corpus -> (frames, values per frame) of a window of 2 s. TikTok: 25 keypoints (x, y, confidence) at 30 fps. AIST++: 24 rotation
matrices and the translation at 60 fps."""
GENRE_NAMES = ("gBR", "gPO", "gLO", "gMH", "gLH", "gHO", "gWA", "gKR", "gJS", "gJB")
"""Genres of AIST++, in the order of the genre embedding."""
READS: dict[str, dict[str, Any]] = {"tiktok": {"joints": 25}, "aistpp": {"steps": 2, "genres": GENRE_NAMES}}
INPUTS = {"tiktok": {"pose_layout": "body25"}, "aistpp": {"motion_rate": "60"}}
"""Corpus -> attributes that the shards of a dance must have."""
CODES = {level: samples_to_codes(frames_to_samples(2 * FPS), index) for level, index in LEVELS.items()}
RENAMED = {"parametrizations.weight.original0": "weight_g", "parametrizations.weight.original1": "weight_v"}
"""Names of a normalised weight's length and direction: today's torch -> the torch that wrote the files."""


class ReleasedModel(nn.Module):
    """Motion encoder and generator of one level ('high' or 'low') and corpus ('tiktok' or 'aistpp')."""

    def __init__(self, motion_encoder: ReleasedMotionEncoder, generator: ReleasedCodeGenerator, corpus: str):
        super().__init__()
        self.motion_encoder, self.generator, self.corpus = motion_encoder, generator, corpus

    def forward(self, motion: torch.Tensor, visual: torch.Tensor, genre: torch.Tensor | None = None) -> torch.Tensor:
        """Continuous codes (B, 64, L) of windows of 2 s, L = 344 (high, within ±100) or 1378 (low).

        motion (B, T, J·C) float32: (60, 75) for TikTok, (120, 219) for AIST++. visual (B, 1, 2048): I3D. genre (B,) int64, for
        AIST++ only: gBR 0, gPO 1, gLO 2, gMH 3, gLH 4, gHO 5, gWA 6, gKR 7, gJS 8, gJB 9.
        Raises ValueError for other shapes, and for a genre that is missing or not expected.
        """
        frames, values = WINDOWS[self.corpus]
        if motion.dim() != 3 or motion.shape[1:] != (frames, values):
            raise ValueError(f"motion must be (B, {frames}, {values}) for {self.corpus}, found {tuple(motion.shape)}")
        if visual.shape != (len(motion), 1, VISUAL):
            raise ValueError(f"visual must be ({len(motion)}, 1, {VISUAL}), found {tuple(visual.shape)}")
        if (genre is not None) != (self.corpus == "aistpp"):
            raise ValueError("genre (B,) is needed for aistpp, and only there")
        condition = torch.cat([self.motion_encoder(motion), visual.squeeze(1)], dim=1)
        return self.generator(condition, genre)


def load_released(motion_path: str | Path, generator_path: str | Path, *, level: str, corpus: str) -> ReleasedModel:
    """The published D2M-GAN from its two files, on the CPU, in evaluation mode, without gradients, weight normalisation fused.

    level: 'high' or 'low'. corpus: 'aistpp' or 'tiktok'. Runs no code from the files.
    Raises UserError for a missing or unreadable file, for one of another network, level or corpus (it says what the file is and
    what was expected), for TikTok's low level, whose published generator cannot run, and for an unknown level or corpus.
    """
    if level not in LEVELS or corpus not in WINDOWS:
        raise UserError(
            f"level must be {' or '.join(LEVELS)} and corpus {' or '.join(WINDOWS)}, found '{level}' and '{corpus}'"
        )
    encoder = ReleasedMotionEncoder(*WINDOWS[corpus])
    generator = ReleasedCodeGenerator(
        level, encoder.features + VISUAL, CODES[level], genres=GENRES if corpus == "aistpp" else 0
    )
    motion = read_tensors(Path(motion_path), _encoder_of(corpus))
    _fill(encoder, generator, Path(motion_path), motion, Path(generator_path), level, corpus)
    return ReleasedModel(fuse_for_inference(encoder), fuse_for_inference(generator), corpus)


def published_net(
    motion_path: Path, generator_path: Path, level: str, codebook: torch.Tensor, genres: Sequence[str] = ()
) -> tuple[DanceToCodes, dict[str, str]]:
    """The two files as a network of the preset `released`, and the attributes that the shards of its dances must have. The file of
    the motion encoder determines the corpus.

    level: 'high' or 'low'. codebook (bins, 64): of the VQ-VAE that will decode the codes. genres: the corpus's names of the ten
    genres in the order of the embedding, if they differ from AIST++'s. Raises UserError as `load_released`, and for genres with
    TikTok's files.
    """
    motion = read_tensors(motion_path, "D2M-GAN's motion encoder")
    first = motion.get("lin1.weight", torch.empty(0, 0))
    corpus = "aistpp" if first.ndim == 2 and first.shape[-1] == WINDOWS["aistpp"][1] else "tiktok"
    if genres and "lin1.weight" in motion and "genres" not in READS[corpus]:
        raise UserError(
            f"{motion_path}: d2m_gan.genres are given, but the published networks for {corpus} have no genre condition; leave them out"
        )
    reads = READS[corpus] | ({"genres": tuple(genres)} if genres else {})
    if len(reads.get("genres", GENRE_NAMES)) != GENRES:
        raise UserError(
            f"d2m_gan.genres must be the corpus's names of {', '.join(GENRE_NAMES)}, in this order, found {len(genres)} names"
        )
    net = DanceToCodes(PRESETS["released"], level, frames=2 * FPS, codebook=codebook, **reads)
    assert net.motion_encoder is not None
    _fill(net.motion_encoder, net.generator, motion_path, motion, generator_path, level, corpus)
    return net, INPUTS[corpus]


def _encoder_of(corpus: str) -> str:
    frames, values = WINDOWS[corpus]
    return f"D2M-GAN's motion encoder for {corpus} ({frames} frames of {values} values)"


def _fill(
    encoder: nn.Module, generator: nn.Module, motion_path: Path, motion: dict[str, torch.Tensor], generator_path: Path, level: str, corpus: str
) -> None:  # fmt: skip
    if (corpus, level) == ("tiktok", "low"):
        raise UserError(
            f"{generator_path}: the published low-level generator for TikTok cannot run: it has no input Linear, so its "
            "last one, which takes 1045 values, gets 1301; use level high, or train low here"
        )
    fit(encoder, motion, motion_path, _encoder_of(corpus), name_of=_published_name)
    expected = f"D2M-GAN's {level}-level generator for {corpus}"
    fit(generator, read_tensors(generator_path, expected), generator_path, expected, name_of=_published_name)


def _published_name(name: str) -> str:
    for ours, theirs in RENAMED.items():
        name = name.replace(ours, theirs)
    return name
