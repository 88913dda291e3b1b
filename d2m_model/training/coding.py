"""Encode and decode long audio piece by piece: the same result as at once, in a fraction of the time and memory."""

import torch

from d2m_model.nets.conv_blocks import DILATION_GROWTH
from d2m_model.nets.jukebox_vqvae import HALVINGS, JukeboxVQVAE
from dataset_tools.lib.core.timebase import HOPS

PIECE = 1 << 16  # samples, a multiple of every hop


def receptive_field(model: JukeboxVQVAE, level: int) -> int:
    """Receptive field of a code on either side, in samples, rounded up to a multiple of the hop. It holds for the encoder and for
    JukeBox's decoder, whose stages mirror the encoder's."""
    depth, halvings = model.config.depth * model.config.multipliers[level], sum(HALVINGS[: level + 1])
    dilations = (DILATION_GROWTH**depth - 1) // (DILATION_GROWTH - 1)
    reach = sum(2 ** (stage + 1) * (dilations + 2) for stage in range(halvings)) + 4 * HOPS[level]
    return -(-reach // HOPS[level]) * HOPS[level]


@torch.inference_mode()
def encode_long(model: JukeboxVQVAE, audio: torch.Tensor, level: int) -> torch.Tensor:
    """Audio (S,) at 22 050 Hz to codes (S // hop,) int64, both on the model's device; equals `model.encode` up to rounding."""
    hop, reach, pieces = HOPS[level], receptive_field(model, level), []
    if len(audio) <= PIECE + 2 * reach:
        return model.encode(audio[None], level)[0]
    whole = len(audio) // hop * hop
    for start in range(0, whole, PIECE):
        first, end = max(0, start - reach), min(start + PIECE, whole)
        codes = model.encode(audio[None, first : min(end + reach, len(audio))], level)[0]
        pieces.append(codes[(start - first) // hop : (end - first) // hop])
    return torch.cat(pieces)


@torch.inference_mode()
def decode_long(model: JukeboxVQVAE, codes: torch.Tensor, level: int) -> torch.Tensor:
    """Codes (L,) to audio (L * hop,) at 22 050 Hz, both on the model's device; equals `model.decode` up to rounding."""
    hop, pieces = HOPS[level], []
    reach = model.istft[level].reach * hop if level in model.istft else receptive_field(model, level)
    if len(codes) * hop <= PIECE + 2 * reach:
        return model.decode(codes[None], level)[0]
    margin = reach // hop
    for start in range(0, len(codes), PIECE // hop):
        first, end = max(0, start - margin), min(start + PIECE // hop, len(codes))
        audio = model.decode(codes[None, first : end + margin], level)[0]
        pieces.append(audio[(start - first) * hop : (end - first) * hop])
    return torch.cat(pieces)
