"""Other systems' music for the test clips: the baselines of Table 1, each trained and played by itself.

    python -m d2m_model.baselines --corpus demo --system dance2music [--resume]

dance2music          notes that are alike where poses are alike: the offline beam search, or (method: online) its network
foley_music          graph encoder and music Transformer; learns the songs' scores, else transcripts by basic-pitch
cmt                  bars as dense and loud as the video moves; learns a folder of MIDI files (midi: DIR), else as foley_music
unconditional_prior  a prior of the corpus's own codes, sampled without the dance, for Random JukeBox
random_codes         uniformly random codes, decoded

Parameters are in section `baselines.<system>` of params.yaml; absent, the published sizes. Writes
runs/<corpus>/baselines/<system>/: <clip_id>.wav, <clip_id>.mid where the system writes scores, rows.csv, about.txt (what it is
and learnt from, for the tables), and of a system that trains model.pt, metrics.json and curves.csv. Which systems `dvc repro`
runs and `evaluate` scores is the list `systems` of params.yaml.
"""

import importlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from types import ModuleType
from typing import ClassVar

import numpy as np

from d2m_model.composers.dance import STAGE, Corpus
from d2m_model.composers.sampler import play
from d2m_model.composers.score import write_midi
from d2m_model.generation.finish import normalise, write_wav
from d2m_model.training.loop import training_parser
from d2m_model.training.seeding import seed_everything
from dataset_tools.base.atomic import begin_folder, keep_only, write_text
from dataset_tools.base.cli import layout_of, run, say
from dataset_tools.base.errors import UserError
from dataset_tools.base.params import load_params, require
from dataset_tools.base.schema import Row, write_records
from dataset_tools.base.shard_format import SPLITS, ClipEntry
from dataset_tools.base.shard_set import ShardSet
from dataset_tools.base.timebase import frames_to_samples, frames_to_seconds
from dataset_tools.base.workers import run_all

SYSTEMS = {
    "dance2music": "d2m_model.composers.dance2music",
    "foley_music": "d2m_model.composers.foley_music",
    "cmt": "d2m_model.composers.cmt",
    "unconditional_prior": "d2m_model.composers.unconditional_prior",
    "random_codes": "d2m_model.composers.random_codes",
}
"""System -> its module, imported when it is asked for. A module has
Params: frozen dataclass, section `baselines.<system>` of params.yaml; absent, the published sizes;
train(Corpus, Params) -> model: learns from the training split and writes model.pt, metrics.json and curves.csv, if any;
about(Corpus, Params) -> str: one sentence for the note under Table 1: what it learnt from and what stands in for what;
compose(model, Dance) -> list[Note], or sound (T * 735,) float32 of a system that writes no score."""


@dataclass(frozen=True, kw_only=True)
class Params:
    """Section `baselines` of params.yaml; what one system alone has is in a section of its name in it."""

    sections: ClassVar[Mapping[str, str]] = SYSTEMS

    split: str = "test"
    """Whose clips get music."""
    loudness: float = -16.0
    """LUFS of a finished sound, unless `peak` allows less."""
    peak: float = 0.95
    """Highest sample of a finished sound; 1 is full scale."""
    seed: int = 0
    """Of what is drawn while music is made; a training has the seed and threads of its own section."""
    threads: int = 2
    """CPU threads of making music, in each process; results are equal to the byte for equal numbers of them."""
    workers: int = 1
    """Processes that make music; it does not depend on their number."""

    def __post_init__(self):
        require(self.split in SPLITS, f"split must be one of {', '.join(SPLITS)}, found '{self.split}'")
        require(-70 <= self.loudness <= 0, f"loudness must be -70 to 0 LUFS, found {self.loudness}")
        require(0 < self.peak <= 1, f"peak must be above 0 and at most 1, found {self.peak}")
        require(self.seed >= 0, f"seed must be at least 0, found {self.seed}")
        require(self.threads >= 1, f"threads must be at least 1, found {self.threads}")
        require(self.workers >= 1, f"workers must be at least 1, found {self.workers}")


@dataclass(frozen=True, kw_only=True)
class MusicRow(Row):
    """One row of rows.csv: a clip's music."""

    seconds: float
    notes: int | None
    """Of the score; empty where the system writes none."""
    peak: float
    """Highest absolute sample."""


def system_module(name: str) -> ModuleType:
    """The module of a system. Raises UserError for an unknown one."""
    if name not in SYSTEMS:
        raise UserError(f"unknown system '{name}'; known: {', '.join(SYSTEMS)}")
    return importlib.import_module(SYSTEMS[name])


def make_music(model: object, corpus: Corpus, params: Params) -> list[MusicRow]:
    """Write <clip_id>.wav, and .mid where there is a score, for every clip of the split, then rows.csv. What earlier runs
    left there for other clips is removed."""
    shards, folder = ShardSet(corpus.layout.stage("shards"), params.split), corpus.folder
    begin_folder(folder, "rows.csv")
    rows = run_all(partial(_make_clip, model, corpus, shards, params), list(shards.clips), params.workers, f"{STAGE} {corpus.system}")
    for suffix, kept in ((".wav", rows), (".mid", [row for row in rows if row.notes is not None])):
        keep_only(folder, {f"{row.id}{suffix}" for row in kept}, suffix)
    write_records(folder / "rows.csv", rows, MusicRow)
    return rows


def _make_clip(model: object, corpus: Corpus, shards: ShardSet, params: Params, clip: ClipEntry) -> MusicRow:
    dance, seconds, notes = corpus.dance(shards, clip), frames_to_seconds(clip.frames), None
    seed_everything(dance.seed, params.threads)
    music = system_module(corpus.system).compose(model, dance)
    if isinstance(music, list):
        notes = len(music)
        write_midi(corpus.folder / f"{clip.clip_id}.mid", music)
        music = play(music, seconds)
    assert music.shape == (frames_to_samples(clip.frames),), (music.shape, clip)
    audio = normalise(music, params.loudness, params.peak)
    write_wav(corpus.folder / f"{clip.clip_id}.wav", audio)
    return MusicRow(id=clip.clip_id, status="ok", seconds=seconds, notes=notes, peak=round(float(np.abs(audio).max()), 4))


def main(argv: list[str] | None = None) -> int:
    """The command line; the exit status."""
    parser = training_parser("d2m_model.baselines", __doc__)
    parser.add_argument("--system", required=True, choices=SYSTEMS, help="which baseline")
    args = parser.parse_args(argv)
    layout = layout_of(args)
    params = load_params(layout.params, STAGE, Params)
    system = system_module(args.system)
    own = load_params(layout.params, f"{STAGE}.{args.system}", system.Params)
    corpus = Corpus(layout=layout, system=args.system, seed=params.seed, resume=args.resume)
    seed_everything(params.seed, params.threads)
    model = system.train(corpus, own)
    write_text(corpus.folder / "about.txt", f"{system.about(corpus, own)}\n")
    rows = make_music(model, corpus, params)
    notes = sum(row.notes or 0 for row in rows)
    say(STAGE, f"{args.system}: {len(rows)} clips, {sum(row.seconds for row in rows):.1f} s of music{f', {notes} notes' if notes else ''}")
    return 0


if __name__ == "__main__":
    run(main)
