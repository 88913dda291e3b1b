"""Scores any number of systems and controls against one reference. The stage and the command for folders share this code."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import Any

import numpy as np

from d2m_model.evaluate.kept_scores import KeptScores, content
from d2m_model.evaluate.params import Params
from d2m_model.metrics.bootstrap import resamples
from d2m_model.metrics.comparison import compare
from d2m_model.metrics.embedding import (
    LABELS,
    Database,
    Embedded,
    Embedder,
    embed_all,
    embedding_scores,
    genre_facts,
    patches_of,
)
from d2m_model.metrics.inputs import as_long
from d2m_model.metrics.scoring import Reference, score_system
from dataset_tools.lib.core.cli import say
from dataset_tools.lib.core.errors import UserError
from dataset_tools.lib.core.work_cache import file_sha256
from dataset_tools.lib.parallel.workers import run_all

AudioByName = Mapping[str, np.ndarray]
"""clip -> mono float32 (S,) at 22 050 Hz."""


class LazyAudio(Mapping):
    """Audio by name, each clip read at every access and not kept in memory."""

    def __init__(self, names: Iterable[str], read: Callable[[str], np.ndarray]):
        self.names, self.read = list(names), read

    def __getitem__(self, name: str) -> np.ndarray:
        if name not in self.names:
            raise KeyError(name)
        return self.read(name)

    def __iter__(self) -> Iterator[str]:
        return iter(self.names)

    def __len__(self) -> int:
        return len(self.names)


@dataclass(frozen=True, kw_only=True)
class MusicDatabase:
    """The training music that systems are compared with, and the embedding for it."""

    embedder: Embedder
    audio: AudioByName
    genres: Mapping[str, str]
    """Genre of each clip; '' if unknown."""
    source: str
    """What the music is called in notes and messages."""
    coded: Mapping[str, Mapping[str, Embedded | None]] = field(default_factory=dict)
    """level -> embeddings of training music, encoded and decoded at this level."""
    level_of: Callable[[str], str] = lambda name: ""
    """system's name -> level of the coded music that its FAD is compared with, '' for none."""

    @cached_property
    def key(self) -> str:
        """Hash of the audio."""
        return content(self.audio)

    @cached_property
    def weights(self) -> str:
        """Hash of the embedding's weights."""
        return file_sha256(self.embedder.path)


@dataclass(frozen=True, kw_only=True)
class Result:
    """The scores of all systems."""

    systems: dict[str, dict]
    """system -> summary with its 'kind'."""
    rows: list[dict]
    """One row for each system and clip."""
    facts: dict
    """'ranks', 'seeds' and 'differences' from `comparison.compare`; with training music also 'embedding' and 'genre'."""
    pairs: list[dict]
    """All pairs of systems by all measures, from `comparison.compare`."""


def score(
    systems: Mapping[str, AudioByName], kinds: Mapping[str, str], reference: Reference, params: Params, kept: KeptScores,
    *, genres: Mapping[str, str] | None = None, music: MusicDatabase | None = None,
) -> Result:  # fmt: skip
    """Score every system by the protocols and, with training music, by the embedding; then compare the systems.

    systems : `ground truth` must be one of them. Audio is cut or padded to its reference by `inputs.as_long`. kinds : kind of
    each system that is not a control. genres : genre of each dance; None if unknown.
    """
    cut = {
        name: {c: as_long(audio[c], len(reference.audio[c])) for c in sorted(audio)} for name, audio in systems.items()
    }
    keys = {name: content(audio) for name, audio in cut.items()}
    summaries, per_clip = score_all(cut, keys, reference, params, kept)
    facts = {}
    if music:
        facts, found = score_embedded(cut, keys, reference, genres, music, params, kept)
        for name, (summary, rows) in found.items():
            summaries[name] |= summary
            for clip, row in rows.items():
                per_clip[name][clip] |= ({"genre": genres[clip]} if genres else {}) | row
    scored = {name: {"kind": kinds.get(name, "control")} | summary for name, summary in summaries.items()}
    rows = [{"system": name} | row for name, of_clips in per_clip.items() for row in of_clips.values()]
    compared, pairs = compare(scored, rows, reference.songs, draws=params.draws, seed=params.seed)
    return Result(systems=scored, rows=rows, facts=facts | compared, pairs=pairs)


def score_all(
    systems: Mapping[str, AudioByName], keys: Mapping[str, str], reference: Reference, params: Params, kept: KeptScores
) -> tuple[dict[str, dict], dict[str, dict[str, dict]]]:
    """({system: summary}, {system: {clip: row}}) by the protocols. keys : hash of each system's audio."""
    options: dict[str, Any] = {
        "protocols": params.protocols,
        "draws": params.draws,
        "seed": params.seed,
        "segments": params.segments,
    }
    given = ("protocols", _key_of(reference), options)
    found = {name: kept.read(kept.key(*given, keys[name])) for name in systems}
    todo = [name for name in systems if found[name] is None]
    if len(todo) < len(systems):
        say(
            "evaluate",
            f"{len(systems) - len(todo)} of {len(systems)} systems and controls have their scores from an earlier run",
        )
    made = run_all(
        partial(score_system, reference=reference, **options),
        [systems[n] for n in todo],
        params.workers,
        "evaluate",
        unit="system",
    )
    for name, scores in zip(todo, made, strict=True):
        found[name] = scores
        kept.write(kept.key(*given, keys[name]), scores)
    return (
        {name: summary for name, (summary, _) in found.items()},
        {name: {row["clip_id"]: row for row in rows} for name, (_, rows) in found.items()},
    )


def _key_of(reference: Reference) -> list:
    """Hashes of everything in a reference that scores depend on."""
    rhythm = {f"{part} {c}": getattr(r, part) for c, r in reference.rhythm.items() for part in ("beats", "downbeats")}
    arrays = (reference.audio, reference.beats, reference.motion_beats, rhythm)
    return [*map(content, arrays), reference.songs]


def score_embedded(
    systems: Mapping[str, AudioByName], keys: Mapping[str, str], reference: Reference, genres: Mapping[str, str] | None,
    music: MusicDatabase, params: Params, kept: KeptScores,
) -> tuple[dict, dict]:  # fmt: skip
    """Genre accuracy, novelty and distances of every system; `ground truth` must be one of them.

    Returns ({'embedding': names of the embedding and the training music, 'genre': from `genre_facts`}, {system: (summary,
    {clip: row})}). Raises UserError if all training clips are too short.
    """
    embedded = lambda audio, key: kept.points(
        kept.key("points", music.weights, key), lambda: embed_all(audio, music.embedder)
    )
    known = {name: points for name, points in embedded(music.audio, music.key).items() if points}
    if not known:
        raise UserError(
            f"evaluate: every clip of the {music.source} is under 0.975 s: there is nothing to compare embeddings with"
        )
    database = Database(list(known.values()), [music.genres[name] for name in known])
    own = embedded(systems["ground truth"], keys["ground truth"])
    asked = genre_facts(database, genres or dict.fromkeys(own, ""), own)
    far = np.concatenate([database.nearest(p.segments)[1] for p in own.values() if p] or [np.ones(1)])
    coded = {level: patches_of(points.values()) for level, points in music.coded.items()}
    songs, answered, references = reference.songs, None if "declined" in asked else genres, patches_of(own.values())
    given = ("embedded", music.weights, music.key, dict(music.genres), keys["ground truth"], answered, songs)
    result = {}
    for name, audio in systems.items():
        level = music.level_of(name)
        again = coded.get(level)
        key = kept.key(*given, keys[name], params.draws, params.seed, content({level: again.points}) if again else "")
        found = kept.read(key)
        if found is None:
            points = embedded(audio, keys[name])
            weights = resamples(
                len(points), [songs[c] for c in points] if songs else None, draws=params.draws, seed=params.seed
            )
            scale = float(far.mean()) or np.nan
            found = embedding_scores(points, database, answered, scale, weights, params.seed, songs, again, references)
            if "coded" in found[0]["fad"]:
                found[0]["fad"]["coded_level"] = level
            kept.write(key, found)
        result[name] = found
    about = {"name": music.embedder.name, "label": LABELS[music.embedder.name], "database": music.source}
    return {"embedding": about, "genre": asked}, result
