"""CMT, the Controllable Music Transformer (Di et al., ACM MM 2021): music for five instruments that follows a video's rhythm.

It is trained on music only, not on pairs: on the user's own MIDI files (`baselines.cmt.midi`; the paper used LPD-5-cleansed), by
default on the scores of the corpus's training songs, or without scores on transcripts. The videos of the training split only
give the distribution of speeds. The published weights, `loss_8_params.pt`, are not read.
"""

import json
from dataclasses import dataclass, fields
from functools import partial, reduce
from pathlib import Path

import numpy as np
import torch

from d2m_model.baselines.cmt.generation import Sampling, Statistics, plan_of, statistics_of, write_tokens
from d2m_model.baselines.cmt.net import CmtNet, losses
from d2m_model.baselines.cmt.pieces import PieceExcerpts, corpus_pieces, midi_pieces
from d2m_model.baselines.cmt.tokens import notes_of
from d2m_model.baselines.cmt.video import bar_speeds, read_motion, rhythm_of
from d2m_model.baselines.dance import ClipDance, Corpus, SystemParams, Unmeasured
from d2m_model.baselines.score import Note, cut
from d2m_model.training import checkpoint
from d2m_model.training.acceleration import accelerate
from d2m_model.training.loop import FiniteLossGuard, backward_and_step, train_loop
from d2m_model.training.seeding import seed_everything
from dataset_tools.lib.core.errors import UserError
from dataset_tools.lib.core.params import require
from dataset_tools.lib.core.timebase import frames_to_seconds
from dataset_tools.lib.parallel.workers import run_all

KIND, VERSION = "cmt", 1


@dataclass(frozen=True, kw_only=True)
class Params(SystemParams):
    """Section `baselines.cmt` of params.yaml; the defaults are the published sizes."""

    midi: str = ""
    """Folder of MIDI files to train on, with its subfolders, relative to the root; '' for the corpus's own training music."""
    width: int = 512
    depth: int = 12
    heads: int = 8
    feed_forward: int = 2048
    dropout: float = 0.1
    steps: int = 100_000
    learning_rate: float = 1e-4
    """Of Adam."""
    bars: int = 32
    """Most bars of a training excerpt; each excerpt has a random number of bars."""
    tokens: int = 2048
    """Most tokens of a training excerpt."""
    genre: str = ""
    """Genre of the music; '' for any. Genre, key and instruments are those of a random training piece."""
    tempo: float = 0.0
    """Beats per minute; 0 fits the tempo to each video's visual beats."""
    control: float = 0.7
    """C: probability that a bar's density and a visual beat's strength follow the video."""
    nucleus: float = 0.9
    """Nucleus sampling: only the likeliest values with this total probability are sampled."""
    beat_temperature: float = 1.2
    duration_temperature: float = 2.0

    def __post_init__(self):
        super().__post_init__()
        for name in ("width", "depth", "heads", "feed_forward", "steps", "bars"):
            require(getattr(self, name) >= 1, f"{name} must be at least 1, found {getattr(self, name)}")
        require(self.width % self.heads == 0, f"width must be a multiple of heads, found {self.width} and {self.heads}")
        require(self.tokens >= 8, f"tokens must be at least 8, found {self.tokens}")
        require(0 <= self.dropout < 1, f"dropout must be at least 0 and below 1, found {self.dropout}")
        require(
            self.tempo == 0 or 40 <= self.tempo <= 220,
            f"tempo must be 40 to 220, or 0 for the video's, found {self.tempo}",
        )
        require(0 <= self.control <= 1, f"control must be 0 to 1, found {self.control}")
        require(0 < self.nucleus <= 1, f"nucleus must be above 0 and at most 1, found {self.nucleus}")
        for name in ("learning_rate", "beat_temperature", "duration_temperature"):
            require(getattr(self, name) > 0, f"{name} must be above 0, found {getattr(self, name)}")


@dataclass(frozen=True, kw_only=True, eq=False)
class Cmt:
    """A trained network with its settings for composing."""

    net: CmtNet
    known: Statistics
    genres: tuple[str, ...]
    """Index k of a genre in the network is genres[k - 1]."""
    songs: torch.Tensor
    """(S, 7) int64: genre, key and instruments of the training pieces, see `CmtNet.prefix`."""
    genre: str
    tempo: float
    sampling: Sampling


class CmtTask(Unmeasured):
    """Trains the network to predict the next token."""

    def __init__(self, data: PieceExcerpts, genres: int, params: Params, device: torch.device):
        self.data, self.params, self.device = data, params, device
        sizes = {name: getattr(params, name) for name in ("width", "depth", "heads", "feed_forward", "dropout")}
        self.net = CmtNet(genres, **sizes).to(device)
        self.nets = {"net": self.net}
        self.optimizers = {"net": torch.optim.Adam(self.net.parameters(), lr=params.learning_rate)}
        accelerate(self.net, device, params.precision, "never")

    def step(self, number: int, guard: FiniteLossGuard) -> dict[str, torch.Tensor]:
        """One optimizer step on the sum of the attributes' cross-entropies; returns each and the sum."""
        batch = [part.to(self.device) for part in self.data.batch(number, self.params.batch)]
        self.net.train()
        terms = losses(self.net, *batch)
        guard(number, terms)
        loss = reduce(torch.add, terms.values())
        backward_and_step(loss, self.optimizers["net"], self.params.gradient_norm)
        return {"loss": loss, **terms}


def train(corpus: Corpus, params: Params) -> Cmt:
    """Train on music, with the speeds of the training videos; writes model.pt, metrics.json and curves.csv.

    Raises UserError for a folder without usable MIDI files, an unknown genre, and a loss that is not finite.
    """
    device = seed_everything(params.seed, params.threads)
    if params.midi:
        (pieces, files), origin = midi_pieces(corpus.layout.root / params.midi), "midi"
    else:
        pieces, files, origin = corpus_pieces(corpus)
    genres = tuple(sorted({piece.genre for piece in pieces} - {""}))
    if params.genre and params.genre not in genres:
        raise UserError(
            f"baselines.cmt.genre '{params.genre}' is not one of the training music's: {', '.join(genres) or 'none is known'}"
        )
    videos = [dance.video for dance in corpus.training_dances()]
    speeds = run_all(partial(bar_speeds, tempo=params.tempo), videos, params.threads, f"{KIND} videos", unit="video")
    known = statistics_of([piece.tokens for piece in pieces], np.concatenate(speeds))
    data = PieceExcerpts(pieces, genres, bars=params.bars, tokens=params.tokens, seed=params.seed)
    run = corpus.run(params, [*files, corpus.layout.stage("shards")])
    task = CmtTask(data, len(genres), params, device)
    curves = train_loop(task, params.steps, params, run)
    state = {"net": task.net.state_dict(), "songs": data.songs} | {
        k: torch.from_numpy(v) for k, v in known._asdict().items()
    }
    path = corpus.folder / "model.pt"
    checkpoint.save(path, KIND, VERSION, state, {"sizes": task.net.sizes, "genres": list(genres)})
    metrics = {
        "trained_on": origin, "pieces": len(pieces), "tokens": sum(len(piece.tokens) for piece in pieces), "steps": params.steps,
        "parameters": sum(p.numel() for p in task.net.parameters()),
    }  # fmt: skip
    corpus.publish(run, curves, metrics)
    return load(path, params)


def load(path: Path, params: Params) -> Cmt:
    """The model of a model.pt that `train` wrote, to compose with. Raises UserError for a missing or unfit file."""
    content = checkpoint.load(path, KIND, VERSION)
    state = content.state
    with checkpoint.user_errors(path):
        net = checkpoint.build_network(lambda: CmtNet(**content.meta["sizes"]), state["net"])
        known = Statistics(*(state[name].numpy() for name in Statistics._fields))
        genres = checkpoint.string_tuple(content.meta["genres"])
    names = (f.name for f in fields(Sampling))
    sampling = Sampling(**{name: getattr(params, name) for name in names})
    return Cmt(
        net=net.eval(),
        known=known,
        genres=genres,
        songs=state["songs"],
        genre=params.genre,
        tempo=params.tempo,
        sampling=sampling,
    )


def about(corpus: Corpus, params: Params) -> str:
    """For the note under Table 1: the training data, from the metrics.json that `train` wrote."""
    found = json.loads((corpus.folder / "metrics.json").read_text())
    sources = {"midi": "MIDI files of a folder", "scores": "the training songs' scores, not LPD-5-cleansed"}
    source = sources.get(found["trained_on"], "transcribed training music, not LPD-5-cleansed")
    return f"trained on {source}, {found['pieces']} pieces, {found['steps']} steps, width {params.width} and depth {params.depth} (published: 512 and 12)"


def compose(model: Cmt, dance: ClipDance) -> list[Note]:
    """Music for one dance. Genre, key and instruments are those of a random training piece; bars and beats follow the video."""
    rng = np.random.default_rng(dance.seed)
    songs = model.songs
    if model.genre:
        songs = songs[songs[:, 0] == 1 + model.genres.index(model.genre)]
    rhythm = rhythm_of(read_motion(dance.video), model.tempo)
    tokens = write_tokens(model.net, songs[rng.integers(len(songs))], plan_of(rhythm, model.known), model.sampling, rng)
    return cut(notes_of(tokens, rhythm.bars), 0.0, frames_to_seconds(dance.frames))
