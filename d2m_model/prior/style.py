"""What the music shall sound like: what the dance says, a genre by name, or a sound of one's own."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch

from d2m_model.prior.data import MusicData, TrainingMusic
from d2m_model.prior.net import PriorNet
from d2m_model.rhythm.beats_file import Beats, tempo_of
from dataset_tools.lib.core.errors import UserError

EXCERPTS = 4
"""Of a piece whose style is kept, spread evenly."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Styles:
    """The styles of a corpus's training songs, by genre."""

    genres: tuple[str, ...]
    """Of each song; '' where it is not known."""
    tempos: torch.Tensor
    """(K,) beats a minute of each song, 0 where there is none."""
    vectors: torch.Tensor
    """(K, style)."""

    def songs_of(self, genre: str) -> list[int]:
        """Which songs are of that genre. UserError where none is."""
        fits = [k for k, known in enumerate(self.genres) if known == genre]
        if not fits:
            known = ", ".join(sorted({g for g in self.genres if g})) or "none"
            raise UserError(f"style '{genre}': no training song is of it; known: {known}; or name a sound file")
        return fits

    def named(self, genre: str, rng: np.random.Generator) -> torch.Tensor:
        """The style (style,) of a song of that genre, drawn by `rng`. Raises UserError as `songs_of`."""
        return self.vectors[int(rng.choice(self.songs_of(genre)))]

    def of_dance(self, shares: Mapping[str, float], tempo: float | None, rng: np.random.Generator) -> torch.Tensor:
        """The style (style,) that suits a dance: a song of the likeliest of the genres that its motion suggests, else one of
        the four whose tempo is nearest."""
        known = {genre: share for genre, share in shares.items() if genre and genre in self.genres}
        if known:
            return self.named(max(known, key=known.get), rng)
        if tempo is None:
            return self.vectors[int(rng.integers(len(self.vectors)))]
        away = np.abs(np.log2(np.maximum(self.tempos.numpy(), 1) / tempo))
        return self.vectors[int(rng.choice(np.argsort(away, kind="stable")[:4]))]


def style_for(styles: Styles, spec: str, beats: Beats, seed: int) -> torch.Tensor:
    """The style (style,) that the corpus's songs have: of a genre `spec`, or of what the dance says where it is empty."""
    rng = np.random.default_rng([seed, 7])
    return styles.named(spec, rng) if spec else styles.of_dance(beats.style, beats.tempo, rng)


@torch.inference_mode()
def style_of(net: PriorNet, codes: torch.Tensor, reference: int) -> torch.Tensor:
    """(style,) of codes (L,), the mean over `EXCERPTS` of `reference` codes, or fewer where L is less."""
    codes, starts = codes.long(), np.linspace(0, max(0, len(codes) - reference), EXCERPTS).round().astype(int)
    return net.style(torch.stack([codes[start : start + reference] for start in np.unique(starts)])).mean(0)


def styles_of(net: PriorNet, data: MusicData, genres: Mapping[str, str]) -> Styles:
    """Of every song of `data`; genres: song -> genre."""
    names, tempos, vectors = [], [], []
    for song, indices in data.of_song.items():
        pieces: list[TrainingMusic] = [data.pieces[k] for k in indices]
        names.append(genres.get(song, ""))
        tempos.append(float(np.median([tempo_of(p.beats) or 0.0 for p in pieces])))
        vectors.append(torch.stack([style_of(net, p.codes, data.reference) for p in pieces]).mean(0))
    return Styles(genres=tuple(names), tempos=torch.tensor(tempos), vectors=torch.stack(vectors))
