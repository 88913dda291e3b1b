"""Training data of CMT: pieces of music, and random excerpts of them."""

import os
from pathlib import Path

import numpy as np
import torch

from d2m_model.baselines.cmt.generation import places_of
from d2m_model.baselines.cmt.grid import fit_bars, fit_tempo
from d2m_model.baselines.cmt.tokens import BAR, BEAT, Piece, bar_and_tick, piece_of
from d2m_model.baselines.dance import Corpus
from d2m_model.baselines.score import Note, read_score
from d2m_model.baselines.transcription import LIBRARY, transcribe
from d2m_model.training.seeding import stream_seed
from dataset_tools.lib.core.cli import say
from dataset_tools.lib.core.errors import UserError
from dataset_tools.lib.core.progress import progress
from dataset_tools.lib.core.timebase import frames_to_seconds
from dataset_tools.lib.parallel.workers import run_all

MIDI = (".mid", ".midi")
FEW = 200
"""Number of files from which reading in several processes is faster."""
UNKNOWN = 0
"""Index of an unknown genre."""


class PieceExcerpts:
    """Random excerpts of training pieces: 1 to `bars` whole bars, cut to `tokens` tokens."""

    def __init__(self, pieces: list[Piece], genres: tuple[str, ...], *, bars: int, tokens: int, seed: int):
        self.most_bars, self.most_tokens, self.seed = bars, tokens, seed
        self.tokens = [piece.tokens for piece in pieces]
        self.songs = songs_of(pieces, genres)
        self.starts = [np.flatnonzero(piece.tokens[:, BEAT] == BAR) for piece in pieces]
        count = np.array([len(starts) for starts in self.starts])
        self.share = count.cumsum() / count.sum()

    def batch(self, number: int, size: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Batch `number`: songs (B, 7), tokens (B, L, 7) and places (B, L, 2), all int64, padded with zeros."""
        rng = np.random.default_rng(stream_seed(self.seed, "excerpts", number))
        drawn = [self._excerpt(rng) for _ in range(size)]
        songs, tokens, places = zip(*drawn, strict=True)
        pad = torch.nn.utils.rnn.pad_sequence
        return torch.stack(songs), pad(list(tokens), batch_first=True), pad(list(places), batch_first=True)

    def _excerpt(self, rng: np.random.Generator) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        index = int(np.searchsorted(self.share, rng.random(), side="right"))
        edges = np.append(self.starts[index], len(self.tokens[index]))
        first = int(rng.integers(len(edges) - 1))
        bars = min(int(rng.integers(1, self.most_bars + 1)), len(edges) - 1 - first)
        tokens = self.tokens[index][edges[first] : edges[first + bars]][: self.most_tokens].astype(np.int64)
        return self.songs[index], torch.from_numpy(tokens), torch.from_numpy(places_of(bar_and_tick(tokens), bars))


def songs_of(pieces: list[Piece], genres: tuple[str, ...]) -> torch.Tensor:
    """(S, 7) int64: genre, key and instruments of each piece."""
    number = {name: k for k, name in enumerate(genres, 1)}
    return torch.tensor([[number.get(p.genre, UNKNOWN), p.key, *map(int, p.instruments)] for p in pieces])


def _read_piece(path: Path) -> Piece | str:
    """The piece of a MIDI file, or the reason why it cannot be used."""
    try:
        score = read_score(path)
    except UserError as err:
        return str(err)
    bars = np.unique(score.bars)  # a tempo of 0 makes bars of zero length
    return piece_of(score.notes, bars) if score.notes and len(bars) > 1 else f"{path}: holds no notes"


def midi_pieces(folder: Path) -> tuple[list[Piece], list[Path]]:
    """(pieces, their files): the usable MIDI files of a folder and its subfolders, by name. Prints how many files are left out as
    unreadable or without notes, and the first reason.

    Raises UserError for a missing folder, and for one without usable MIDI files.
    """
    if not folder.is_dir():
        raise UserError(
            f"{folder}: no such folder; baselines.cmt.midi names one with MIDI files, '' takes the corpus's own music"
        )
    files = sorted(p for p in folder.rglob("*") if p.suffix.lower() in MIDI and p.is_file())
    if not files:
        raise UserError(
            f"{folder}: no MIDI file ({', '.join(MIDI)}) in it or below; baselines.cmt.midi names their folder"
        )
    found = run_all(_read_piece, files, 1 if len(files) < FEW else os.cpu_count() or 1, "cmt midi", unit="file")
    pieces = [piece for piece in found if isinstance(piece, Piece)]
    used = [path for path, piece in zip(files, found, strict=True) if isinstance(piece, Piece)]
    refused = [reason for reason in found if isinstance(reason, str)]
    if not pieces:
        raise UserError(f"{folder}: none of its {len(files)} MIDI files can be used; the first: {refused[0]}")
    if refused:
        say("cmt", f"{len(refused)} of {len(files)} MIDI files left out; the first: {refused[0]}")
    return pieces, used


def corpus_pieces(corpus: Corpus) -> tuple[list[Piece], list[Path], str]:
    """(pieces, files that they come from, origin) of a corpus's training songs: the songs' scores if there are any, else
    transcripts of the training clips."""
    shards, scores = corpus.train, corpus.scores()
    genres = {clip.song: clip.genre for clip in shards.clips}
    if scores:
        read = {song: read_score(path) for song, path in scores.items()}
        pieces = [piece_of(score.notes, score.bars, genres[song]) for song, score in read.items() if score.notes]
        return _require_pieces(pieces, "scores"), list(scores.values()), "scores"
    pieces = []
    for clip in progress(shards.clips, f"cmt {LIBRARY}", unit="clip"):
        notes = transcribe(shards.read(clip.clip_id).audio)
        if notes:
            pieces.append(piece_of(notes, fit_transcript_bars(notes, frames_to_seconds(clip.frames)), clip.genre))
    return _require_pieces(pieces, LIBRARY), [corpus.layout.stage("shards")], LIBRARY


def fit_transcript_bars(notes: list[Note], seconds: float) -> np.ndarray:
    """Starts (M,) in seconds of the bars of a transcript, fitted to the onsets and velocities of its notes."""
    times, weights = np.array([(note.start, note.velocity) for note in notes], float).T
    return fit_bars(times, weights, fit_tempo(times, weights), seconds)


def _require_pieces(pieces: list[Piece], origin: str) -> list[Piece]:
    if not pieces:
        raise UserError(
            f"cmt: no notes in the {origin} of the training songs; baselines.cmt.midi may name a folder of MIDI files instead"
        )
    return pieces
