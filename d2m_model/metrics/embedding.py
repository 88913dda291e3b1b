"""Scores from an audio embedding: genre by retrieval, novelty, and the distances to training music.

The embedding is VGGish (published weights, real music) or the demo's own network (rendered songs only). Audio is cut into
segments of 2 s with two patches of 0.96 s each. Each patch has an embedding; that of a segment is the mean over its patches.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from d2m_model.metrics.bootstrap import weighted_mean, with_intervals
from d2m_model.metrics.distances import EmbeddedMusic, distance_scores
from dataset_tools.lib.core.layout import Layout
from dataset_tools.lib.core.timebase import SAMPLE_RATE
from dataset_tools.lib.core.weights import locate
from dataset_tools.lib.embedding.log_mel import segment_patches

WEIGHTS = {"vggish": "vggish", "demo": "embedding_demo"}
"""Value of `evaluate.embedding` -> name in manifests/weights.csv."""
LABELS = {"vggish": "VGGish", "demo": "demo weights (our own small network, trained on rendered songs)"}
BATCH = 64


class Embedder:
    """The embedding network: patches (N, 1, 96, 64) -> float64 (N, D)."""

    def __init__(self, name: str, layout: Layout):
        """name : 'vggish' or 'demo'. Downloads missing weights; raises as `weights.locate`."""
        self.name, self.path = name, locate(WEIGHTS[name], layout)

    @cached_property
    def net(self):
        """The network, loaded at its first use. UserError for a damaged file."""
        if self.name == "vggish":
            from d2m_model.checkpoints import load_vggish as load
        else:
            from dataset_tools.lib.embedding.net import load_embedding as load  # type: ignore[assignment]  # another network
        return load(self.path)

    def __call__(self, patches: np.ndarray) -> np.ndarray:
        """Embeddings (N, D) float64 of patches (N, 1, 96, 64)."""
        import torch

        with torch.inference_mode():
            parts = [
                self.net(torch.from_numpy(patches[at : at + BATCH])).double().numpy()
                for at in range(0, len(patches), BATCH)
            ]
        return np.concatenate(parts)


@dataclass(frozen=True, eq=False)
class Embedded:
    """The embeddings of one clip's audio."""

    patches: np.ndarray
    """(N, D)."""
    segments: np.ndarray
    """(M, D): mean over the patches of each segment."""


def embed(audio: np.ndarray, embedder: Embedder) -> Embedded | None:
    """Embeddings of mono audio (S,) at 22 050 Hz; None where it is too short for a patch (0.975 s)."""
    parts = segment_patches(audio, SAMPLE_RATE)
    if not parts:
        return None
    points = embedder(np.concatenate(parts))
    ends = np.cumsum([len(p) for p in parts])[:-1]
    return Embedded(patches=points, segments=np.stack([p.mean(axis=0) for p in np.split(points, ends)]))


def embed_all(audio: Mapping[str, np.ndarray], embedder: Embedder) -> dict[str, Embedded | None]:
    """{name: `embed` of its audio}, in the order of `audio`."""
    return {name: embed(audio[name], embedder) for name in audio}


@dataclass(frozen=True, eq=False)
class Database:
    """Embedded training music: the clips that are searched, and the reference of FAD."""

    audio: Sequence[Embedded]
    genres: Sequence[str]
    """Genre of each clip; '' if unknown."""
    segments: np.ndarray = field(init=False)
    """(M, D): the segments of all clips."""
    music: EmbeddedMusic = field(init=False)
    """Their patches."""
    labels: np.ndarray = field(init=False)
    """(M,): the genre of each segment."""

    def __post_init__(self):
        object.__setattr__(self, "segments", np.concatenate([s.segments for s in self.audio]))
        object.__setattr__(self, "music", EmbeddedMusic(np.concatenate([s.patches for s in self.audio])))
        object.__setattr__(self, "labels", np.repeat(list(self.genres), [len(s.segments) for s in self.audio]))

    def nearest(self, segments: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(genres, Euclidean distances), both (M,), of the nearest database segment to each of segments (M, D)."""
        from scipy.spatial.distance import cdist

        distance = cdist(segments, self.segments)
        best = distance.argmin(axis=1)
        return self.labels[best], distance[np.arange(len(segments)), best]


def genre_facts(database: Database, genres: Mapping[str, str], own: Mapping[str, Embedded | None]) -> dict:
    """The numbers that genre accuracy is compared with: the number of classes, chance (1 / classes) and the share of the commonest
    genre among the scored segments, both in percent. Or the reason why there is no accuracy.

    genres : clip -> genre of its dance. own : clip -> its own music, embedded.
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


def patches_of(points: Iterable[Embedded | None]) -> EmbeddedMusic | None:
    """The patches of all clips together; None for fewer than two."""
    found = [p.patches for p in points if p]
    music = EmbeddedMusic(np.concatenate(found)) if found else None
    return music if music and len(music.points) > 1 else None


def embedding_scores(
    points: Mapping[str, Embedded | None], database: Database, genres: Mapping[str, str] | None, scale: float,
    weights: Mapping[str, np.ndarray], seed: int, songs: Mapping[str, str] | None = None, coded: EmbeddedMusic | None = None,
    own: EmbeddedMusic | None = None,
) -> tuple[dict, dict[str, dict]]:  # fmt: skip
    """Genre accuracy, novelty, FAD and KAD of one system.

    points : clip -> its embeddings, None where the audio is too short. genres : clip -> genre of its dance; None for no genre
    accuracy. scale : mean distance from the ground truth's segments to the nearest training segment. weights : from `resamples`
    over the clips. songs : song of each clip; None if unknown. coded : coded training music. own : the dances' own music.
    Returns ({'genre', 'novelty', 'fad', 'kad'}, {clip: its row}). A row also has the distances without its clip and without its
    song, for paired intervals.

    Genre accuracy is the share of segments whose nearest training segment has the dance's genre, in percent. Novelty is the
    distance to the nearest training segment, divided by `scale`: 0 for a copy of training music, 1 for music as new as the ground
    truth.
    """
    right, count, distance, rows = [], [], [], {}
    for clip, found in points.items():
        labels, far = database.nearest(found.segments) if found else (np.zeros(0), np.zeros(0))
        right.append(float((labels == genres[clip]).sum()) if genres and found else np.nan)
        distance.append(float(far.sum()) if found else np.nan)
        count.append(float(len(far)) if found else np.nan)
        rows[clip] = {
            "genre_right": right[-1] / count[-1],
            "novelty": distance[-1] / count[-1] / scale,
            "segments": len(far),
        }
    columns = np.array([right, distance, count])
    known = {c: p.patches for c, p in points.items() if p}
    ratio = lambda w, part: weighted_mean(w, columns[part]) / weighted_mean(w, columns[2])
    scores = {"novelty": with_intervals(lambda w: {"novelty": ratio(w, 1) / scale}, len(count), weights)}
    if genres:
        scores["genre"] = with_intervals(lambda w: {"accuracy": 100 * ratio(w, 0)}, len(count), weights)
        scores["genre"]["segments"] = int(np.nansum(columns[2]))
    if not known:
        return scores | {"fad": {"declined": "every clip is too short"}}, rows
    clips = [c for c, patches in known.items() for _ in patches]
    of = [songs[c] for c in clips] if songs else None
    distances = distance_scores(
        np.concatenate(list(known.values())), database.music, seed, clips=clips, songs=of, coded=coded, own=own
    )
    for name, without in distances.pop("without").items():
        for clip in known:
            owner = songs[clip] if songs and name.endswith("_song") else clip
            rows[clip] |= {f"{name}_without": without[owner]}
    scores |= distances
    return {name: found | {"clips": len(known)} for name, found in scores.items()}, rows
