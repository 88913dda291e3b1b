"""Sounds as points: genre by retrieval, Fréchet audio distance and novelty, all with one embedding.

The embedding is VGGish (published weights, real music) or the demo's own network (rendered songs only). Sounds are cut into
segments of 2 s, two patches of 0.96 s each: a patch has an embedding, a segment the mean of its patches'.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from d2m_model.metrics.bootstrap import resamples, weighted_mean, with_intervals
from dataset_tools.base.errors import UserError
from dataset_tools.base.layout import Layout
from dataset_tools.base.timebase import SAMPLE_RATE
from dataset_tools.base.weights import locate
from dataset_tools.hearing.log_mel import segment_patches

WEIGHTS = {"vggish": "vggish", "demo": "embedding_demo"}
"""Value of `evaluate.embedding` -> name in manifests/weights.csv."""
LABELS = {"vggish": "VGGish", "demo": "demo weights (our own small network, trained on rendered songs)"}
ENOUGH_FAD, ENOUGH_INFINITY = 2, 4
"""Patches per dimension of the embedding under which FAD, and its extrapolation, are not given."""
BATCH = 64


class Embedder:
    """Patches (N, 1, 96, 64) -> float64 (N, D)."""

    def __init__(self, name: str, layout: Layout):
        """name : 'vggish' or 'demo'. Fetches the weights where they are not there; raises as `weights.locate`."""
        path = locate(WEIGHTS[name], layout)
        if name == "vggish":
            from d2m_model.imports import load_vggish as load
        else:
            from dataset_tools.hearing.embedding_net import load_embedding as load
        self.name, self.net = name, load(path)

    def __call__(self, patches: np.ndarray) -> np.ndarray:
        import torch

        with torch.inference_mode():
            parts = [self.net(torch.from_numpy(patches[at : at + BATCH])).double().numpy() for at in range(0, len(patches), BATCH)]
        return np.concatenate(parts)


@dataclass(frozen=True, eq=False)
class Embedded:
    """The embeddings of one sound."""

    patches: np.ndarray
    """(N, D)."""
    segments: np.ndarray
    """(M, D), the mean of each segment's patches."""


def embed(audio: np.ndarray, embedder: Embedder) -> Embedded | None:
    """Embeddings of mono (S,) at 22 050 Hz; None where it is too short for a patch (0.975 s)."""
    parts = segment_patches(audio, SAMPLE_RATE)
    if not parts:
        return None
    points = embedder(np.concatenate(parts))
    ends = np.cumsum([len(p) for p in parts])[:-1]
    return Embedded(patches=points, segments=np.stack([p.mean(axis=0) for p in np.split(points, ends)]))


@dataclass(frozen=True, eq=False)
class Database:
    """The sounds that are searched, and the reference of FAD: training music."""

    sounds: Sequence[Embedded]
    genres: Sequence[str]
    """Of each sound; '' where unknown."""

    def __post_init__(self):
        object.__setattr__(self, "segments", np.concatenate([s.segments for s in self.sounds]))
        object.__setattr__(self, "patches", np.concatenate([s.patches for s in self.sounds]))
        object.__setattr__(self, "labels", np.repeat(list(self.genres), [len(s.segments) for s in self.sounds]))

    def nearest(self, segments: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(genre, Euclidean distance) of the segment nearest to each of segments (M, D); both (M,)."""
        from scipy.spatial.distance import cdist

        distance = cdist(segments, self.segments)
        best = distance.argmin(axis=1)
        return self.labels[best], distance[np.arange(len(segments)), best]


def genre_facts(database: Database, genres: Mapping[str, str], own: Mapping[str, Embedded | None]) -> dict:
    """What genre accuracy is read against: classes, chance (one of the database's classes) and the share of the
    commonest genre among the scored segments, in percent; or why there is no accuracy.

    genres : clip -> genre of its dance. own : clip -> its own music. Chance and majority see no sound.
    """
    classes = sorted(set(database.labels.tolist()))
    if "" in classes or "" in genres.values():
        return {"declined": "not every dance and every training song has a genre"}
    if len(classes) < 2:
        return {"declined": f"the database has {len(classes)} genre; two are needed"}
    count = {g: sum(len(e.segments) for c, e in own.items() if e and genres[c] == g) for g in set(genres.values())}
    return {
        "database_segments": len(database.segments),
        "classes": len(classes),
        "chance": 100 / len(classes),
        "majority": 100 * max(count.values()) / max(1, sum(count.values())),
    }


def score_embedded(
    systems: Mapping[str, Mapping[str, np.ndarray]],
    train: Iterable[tuple[np.ndarray, str]],
    genres: Mapping[str, str] | None,
    songs: Mapping[str, str] | None,
    embedder: Embedder,
    *,
    source: str,
    draws: int,
    seed: int,
) -> tuple[dict, dict]:
    """Genre, novelty and FAD of every system, `ground truth` among them.

    systems : name -> clip -> sound (S,) at 22 050 Hz. train : (sound, genre or '') of the music that the systems may have
    learnt from, `source` in words. genres, songs : of each clip; None where unknown.
    Returns ({'embedding', 'genre'}: what they are read against, {system: (summary, {clip: row})}). UserError where every
    training sound is too short.
    """
    known = [(points, genre) for audio, genre in train if (points := embed(audio, embedder))]
    if not known:
        raise UserError(f"evaluate: every sound of the {source} is under 0.975 s: there is nothing to compare embeddings with")
    database = Database([points for points, _ in known], [genre for _, genre in known])
    points = {name: {c: embed(sounds[c], embedder) for c in sorted(sounds)} for name, sounds in systems.items()}
    own = points["ground truth"]
    asked = genre_facts(database, genres or dict.fromkeys(own, ""), own)
    far = np.concatenate([database.nearest(p.segments)[1] for p in own.values() if p] or [np.ones(1)])
    result = {}
    for name, found in points.items():
        weights = resamples(len(found), [songs[c] for c in found] if songs else None, draws=draws, seed=seed)
        answered = None if "declined" in asked else genres
        result[name] = embedding_scores(found, database, answered, float(far.mean()) or np.nan, weights, seed)
    return {"embedding": {"name": embedder.name, "label": LABELS[embedder.name], "database": source}, "genre": asked}, result


def embedding_scores(
    points: Mapping[str, Embedded | None], database: Database, genres: Mapping[str, str] | None, scale: float,
    weights: Mapping[str, np.ndarray], seed: int,
) -> tuple[dict, dict[str, dict]]:  # fmt: skip
    """Genre accuracy, novelty and FAD of one system.

    points : clip -> its embeddings, None where the sound is too short. genres : clip -> genre of its dance; None: not
    asked. scale : mean distance of the ground truth's segments to the nearest training segment. weights : of `resamples`
    over the clips. Returns ({'genre', 'novelty', 'fad'}, {clip: its row}).

    Genre: the share of segments whose nearest training segment has the dance's genre, percent. Novelty: distance to the
    nearest training segment over `scale`: 0 is a copy of training music, 1 as new as unheard songs.
    """
    right, count, distance, rows = [], [], [], {}
    for clip, found in points.items():
        labels, far = database.nearest(found.segments) if found else (np.zeros(0), np.zeros(0))
        right.append(float((labels == genres[clip]).sum()) if genres and found else np.nan)
        distance.append(float(far.sum()) if found else np.nan)
        count.append(float(len(far)) if found else np.nan)
        rows[clip] = {"genre_right": right[-1] / count[-1], "novelty": distance[-1] / count[-1] / scale}
    columns = np.array([right, distance, count])
    ratio = lambda w, part: weighted_mean(w, columns[part]) / weighted_mean(w, columns[2])
    scores = {"novelty": with_intervals(lambda w: {"novelty": ratio(w, 1) / scale}, len(count), weights)}
    if genres:
        scores["genre"] = with_intervals(lambda w: {"accuracy": 100 * ratio(w, 0)}, len(count), weights)
        scores["genre"]["segments"] = int(np.nansum(columns[2]))
    known = [p.patches for p in points.values() if p]
    scores["fad"] = fad_scores(np.concatenate(known), database.patches, seed) if known else {"declined": "every sound is too short"}
    return scores, rows


def frechet(a: np.ndarray, b: np.ndarray) -> float:
    """FAD of embeddings (N, D) and (M, D): |μ₁ − μ₂|² + tr(Σ₁ + Σ₂ − 2 (Σ₁ Σ₂)^½) (Kilgour et al., 2019)."""
    first, second = np.cov(a, rowvar=False), np.cov(b, rowvar=False)
    values, vectors = np.linalg.eigh(first)
    root = (vectors * np.sqrt(np.clip(values, 0, None))) @ vectors.T
    middle = np.linalg.eigvalsh(root @ second @ root)  # similar to Σ₁ Σ₂, and symmetric
    trace = np.trace(first) + np.trace(second) - 2 * np.sqrt(np.clip(middle, 0, None)).sum()
    return float(((a.mean(0) - b.mean(0)) ** 2).sum() + max(trace, 0.0))


def fad_scores(points: np.ndarray, reference: np.ndarray, seed: int) -> dict:
    """FAD of points (N, D) to a reference (M, D), and FAD∞: its value extrapolated to infinitely many points.

    FAD falls about linearly in 1 / N (Chong and Forsyth, 2020; Gui et al., 2024): FAD∞ is the intercept of a straight line
    through the means of draws of N/2 to N points, without replacement. Either is declined, with the reason, where points
    are too few for it: 2 and 4 per dimension.
    """
    size, dimensions = points.shape
    result = {"patches": size, "reference_patches": len(reference)}
    fewest = min(size, len(reference))
    if fewest < ENOUGH_FAD * dimensions:
        return result | {"declined": f"{fewest} patches are too few for {dimensions} dimensions: {ENOUGH_FAD * dimensions} are needed"}
    result["fad"] = frechet(points, reference)
    if fewest < ENOUGH_INFINITY * dimensions:
        return result | {"infinity_declined": f"{fewest} patches are too few to extrapolate: {ENOUGH_INFINITY * dimensions} are needed"}
    rng = np.random.default_rng(seed)
    sizes = np.unique(np.linspace(size // 2, size, 8).astype(int))
    found = [np.mean([frechet(points[rng.permutation(size)[:n]], reference) for _ in range(8)]) for n in sizes]
    return result | {"fad_infinity": float(np.polyfit(1 / sizes, found, 1)[1])}
