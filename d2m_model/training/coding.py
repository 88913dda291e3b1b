"""Long sounds to codes and back, piece by piece: the same as at once, in a fraction of the time and memory."""

import torch

from d2m_model.nets.conv_blocks import DILATION_GROWTH
from d2m_model.nets.jukebox_vqvae import HALVINGS, JukeboxVQVAE
from dataset_tools.lib.core.timebase import HOPS

PIECE = 1 << 16  # samples, a multiple of every hop


def reach_of(model: JukeboxVQVAE, level: int) -> int:
    """Samples on either side of a code, at most, that the encoder of `level` reads for it, and in which JukeBox's decoder hears
    it (the decoder's stages are the encoder's in mirror image); a multiple of the hop."""
    depth, halvings = model.config.depth * model.config.multipliers[level], sum(HALVINGS[: level + 1])
    dilations = (DILATION_GROWTH**depth - 1) // (DILATION_GROWTH - 1)
    reach = sum(2 ** (stage + 1) * (dilations + 2) for stage in range(halvings)) + 4 * HOPS[level]
    return -(-reach // HOPS[level]) * HOPS[level]


@torch.inference_mode()
def codes_of(model: JukeboxVQVAE, audio: torch.Tensor, level: int) -> torch.Tensor:
    """Codes (S // hop,) int64 of audio (S,) at 22 050 Hz, on the model's device; `model.encode` of all of it gives the same
    up to rounding."""
    hop, reach, found = HOPS[level], reach_of(model, level), []
    if len(audio) <= PIECE + 2 * reach:
        return model.encode(audio[None], level)[0]
    whole = len(audio) // hop * hop
    for start in range(0, whole, PIECE):
        first, end = max(0, start - reach), min(start + PIECE, whole)
        codes = model.encode(audio[None, first : min(end + reach, len(audio))], level)[0]
        found.append(codes[(start - first) // hop : (end - first) // hop])
    return torch.cat(found)


@torch.inference_mode()
def audio_of(model: JukeboxVQVAE, codes: torch.Tensor, level: int) -> torch.Tensor:
    """Audio (L * hop,) at 22 050 Hz of codes (L,), on the model's device; `model.decode` of all of them gives the same up to
    rounding."""
    hop, found = HOPS[level], []
    reach = model.istft[level].reach * hop if level in model.istft else reach_of(model, level)
    if len(codes) * hop <= PIECE + 2 * reach:
        return model.decode(codes[None], level)[0]
    beside = reach // hop
    for start in range(0, len(codes), PIECE // hop):
        first, end = max(0, start - beside), min(start + PIECE // hop, len(codes))
        audio = model.decode(codes[None, first : end + beside], level)[0]
        found.append(audio[(start - first) * hop : (end - first) * hop])
    return torch.cat(found)
