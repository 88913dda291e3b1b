"""The style of the music: one that suits the dance, that of a genre, or that of an audio file."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch

from d2m_model.prior.data import MusicData, TrainingMusic
from d2m_model.prior.net import PriorNet
from d2m_model.rhythm.beats_file import Beats, tempo_of
from dataset_tools.lib.core.errors import UserError

EXCERPTS = 4
"""Excerpts per piece whose style is encoded, spread evenly."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Styles:
    """The styles of a corpus's training songs, by genre."""

    genres: tuple[str, ...]
    """Genre of each song; '' if unknown."""
    tempos: torch.Tensor
    """(K,): beats per minute of each song; 0 if unknown."""
    vectors: torch.Tensor
    """(K, style): style vector of each song."""

    def songs_of(self, genre: str) -> list[int]:
        """Indices of the songs of a genre. UserError where there are none."""
        fits = [k for k, known in enumerate(self.genres) if known == genre]
        if not fits:
            known = ", ".join(sorted({g for g in self.genres if g})) or "none"
            raise UserError(f"style '{genre}': no training song has this genre; known: {known}; or name an audio file")
        return fits

    def named(self, genre: str, rng: np.random.Generator) -> torch.Tensor:
        """The style (style,) of a random song of a genre. Raises UserError as `songs_of`."""
        return self.vectors[int(rng.choice(self.songs_of(genre)))]

    def of_dance(self, shares: Mapping[str, float], tempo: float | None, rng: np.random.Generator) -> torch.Tensor:
        """A style (style,) that suits a dance: that of a random song of its likeliest genre, else of one of the four songs with the
        nearest tempo. shares: genre -> probability, from the dance's motion."""
        known = {genre: share for genre, share in shares.items() if genre and genre in self.genres}
        if known:
            return self.named(max(known, key=known.__getitem__), rng)
        if tempo is None:
            return self.vectors[int(rng.integers(len(self.vectors)))]
        away = np.abs(np.log2(np.maximum(self.tempos.numpy(), 1) / tempo))
        return self.vectors[int(rng.choice(np.argsort(away, kind="stable")[:4]))]


def style_for(styles: Styles, spec: str, beats: Beats, seed: int) -> torch.Tensor:
    """A style (style,) of the corpus's songs: of the genre `spec` or, if it is empty, one that suits the dance."""
    rng = np.random.default_rng([seed, 7])
    return styles.named(spec, rng) if spec else styles.of_dance(beats.style, beats.tempo, rng)


@torch.inference_mode()
def encode_style(net: PriorNet, codes: torch.Tensor, reference: int) -> torch.Tensor:
    """The style (style,) of codes (L,): the mean over up to `EXCERPTS` excerpts of `reference` codes."""
    codes, starts = codes.long(), np.linspace(0, max(0, len(codes) - reference), EXCERPTS).round().astype(int)
    return net.style(torch.stack([codes[start : start + reference] for start in np.unique(starts)])).mean(0)


def encode_styles(net: PriorNet, data: MusicData, genres: Mapping[str, str]) -> Styles:
    """The styles of all songs of `data`. genres: song -> genre."""
    names, tempos, vectors = [], [], []
    for song, indices in data.of_song.items():
        pieces: list[TrainingMusic] = [data.pieces[k] for k in indices]
        names.append(genres.get(song, ""))
        tempos.append(float(np.median([tempo_of(p.beats) or 0.0 for p in pieces])))
        vectors.append(torch.stack([encode_style(net, p.codes, data.reference) for p in pieces]).mean(0))
    return Styles(genres=tuple(names), tempos=torch.tensor(tempos), vectors=torch.stack(vectors))
