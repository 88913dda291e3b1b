"""Training data of the prior: codes with their rhythm, cut into random excerpts that depend on (seed, step) only."""

from collections import defaultdict
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch

from d2m_model.prior.conditions import rhythm_features
from d2m_model.prior.net import PriorSizes
from d2m_model.training.distributed import local_rows
from d2m_model.training.seeding import generator
from dataset_tools.lib.core.errors import UserError
from dataset_tools.lib.core.timebase import SAMPLE_RATE

REFERENCE_SECONDS = 4.0
"""Length of the excerpt from which the style is encoded; a shorter piece is repeated."""
LEAST_SECONDS = 1.0
"""Shortest piece of training music."""


@dataclass(frozen=True, kw_only=True, eq=False)
class TrainingMusic:
    """One piece of training music."""

    song: str
    """Pieces of one song share their style."""
    codes: torch.Tensor
    """(L,) uint8 or int16, of the prior's level."""
    beats: np.ndarray
    """(n,): seconds from the first code."""
    downbeats: np.ndarray
    """(m,): seconds from the first code; may be empty."""
    strength: np.ndarray
    """(n,) within 0..1, or empty."""
    upper: torch.Tensor | None = None
    """(U,): codes of the level above."""


class MusicExcerpts(NamedTuple):
    """B excerpts of N patches of P codes."""

    before: torch.Tensor
    """(B, seen) int64: the codes before the excerpt; `bins` where there are none."""
    codes: torch.Tensor
    """(B, N * P) int64; -1 after the end of a shorter piece."""
    rhythm: torch.Tensor
    """(B, N * P, RHYTHM) float32."""
    reference: torch.Tensor | None
    """(B, R) int64: codes of the same song, for the style."""
    upper: torch.Tensor | None
    """(B, N * U) int64: codes of the level above."""


class MusicData:
    """Random excerpts of `pieces` for a network of `sizes` whose codes have `hop` samples.

    Raises UserError where no piece lasts `LEAST_SECONDS`.
    """

    def __init__(
        self, pieces: list[TrainingMusic], sizes: PriorSizes, hop: int, *, jitter: float = 0.01, mask: float = 0.2
    ):
        """jitter: standard deviation in seconds of the noise on beat times. mask: share of excerpts without down-beats, and share
        without strengths."""
        self.sizes, self.hop, self.jitter, self.mask = sizes, hop, jitter, mask
        self.reference = round(REFERENCE_SECONDS * SAMPLE_RATE / hop)
        least = round(LEAST_SECONDS * SAMPLE_RATE / hop)
        self.pieces = [piece for piece in pieces if len(piece.codes) >= least]
        if not self.pieces:
            raise UserError(f"prior: none of {len(pieces)} pieces of training music lasts {LEAST_SECONDS:g} s")
        self.of_song = defaultdict(list)
        for index, piece in enumerate(self.pieces):
            self.of_song[piece.song].append(index)
        self.ends = torch.tensor([len(piece.codes) for piece in self.pieces]).cumsum(0)

    def batch(self, seed: int, step: int, size: int) -> MusicExcerpts:
        """Batch number `step`, or this process's share of it."""
        rng = generator(seed, "excerpts", step)
        chosen = torch.searchsorted(self.ends, torch.randint(int(self.ends[-1]), (size,), generator=rng), right=True)
        luck = torch.randint(2**62, (size,), generator=rng)
        rows = [
            self._excerpt(self.pieces[index], np.random.default_rng(seed))
            for index, seed in zip(local_rows(chosen).tolist(), local_rows(luck).tolist(), strict=True)
        ]
        before, codes, rhythm, reference, upper = zip(*rows, strict=True)
        stack = lambda parts: torch.stack(parts) if parts[0] is not None else None
        return MusicExcerpts(
            torch.stack(before), torch.stack(codes), torch.stack(rhythm), stack(reference), stack(upper)
        )

    def _excerpt(self, piece: TrainingMusic, noise: np.random.Generator) -> tuple:
        sizes, count = self.sizes, self.sizes.context * self.sizes.patch
        unit = sizes.patch // sizes.upper if sizes.upper else 1
        last = max(0, len(piece.codes) - count) // unit
        first = 0 if noise.random() < 0.1 else unit * int(noise.integers(0, last + 1))
        codes = piece.codes[first : first + count].long()
        before = torch.full((sizes.seen,), sizes.bins)
        if first and noise.random() < 0.7:
            known = piece.codes[max(0, first - sizes.seen) : first].long()
            before[sizes.seen - len(known) :] = known
        short = count - len(codes)
        codes = torch.nn.functional.pad(codes, (0, short), value=-1)
        beats = piece.beats + noise.normal(0, self.jitter, len(piece.beats))
        bars = piece.downbeats if noise.random() >= self.mask else piece.downbeats[:0]
        strength = piece.strength if noise.random() >= self.mask else piece.strength[:0]
        rhythm = rhythm_features(np.sort(beats), bars, strength, first=first, count=count, hop=self.hop)
        reference = upper = None
        if sizes.style:
            other = self.pieces[noise.choice(self.of_song[piece.song])].codes
            start = int(noise.integers(0, max(0, len(other) - self.reference) + 1))
            reference = repeat_codes(other[start : start + self.reference].long(), self.reference)
        if sizes.upper:
            assert piece.upper is not None
            upper = piece.upper[first // unit : (first + count) // unit].long()
            upper = torch.nn.functional.pad(upper, (0, sizes.context * sizes.upper - len(upper)))
        return before, codes, torch.from_numpy(rhythm), reference, upper


def repeat_codes(codes: torch.Tensor, length: int) -> torch.Tensor:
    """Codes (L,), repeated to (length,)."""
    return codes.repeat(-(-length // len(codes)))[:length]
