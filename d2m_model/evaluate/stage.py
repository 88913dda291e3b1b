"""The stage `evaluate`: scores every system and control of a corpus."""

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from d2m_model.evaluate.all_systems import LazyAudio, MusicDatabase, Result, score
from d2m_model.evaluate.kept_scores import KeptScores, content
from d2m_model.evaluate.params import Params
from d2m_model.metrics.bootstrap import resamples
from d2m_model.metrics.code_health import code_rate, hum_scores, longest_copy
from d2m_model.metrics.controls import beat_controls, control_audio, training_song_sampler
from d2m_model.metrics.embedding import Embedder, embed_all
from d2m_model.metrics.inputs import as_long, read_rhythm, true_rhythm, uneven
from d2m_model.metrics.motion_beats import motion_beats
from d2m_model.metrics.scoring import Reference, rhythm_scores
from d2m_model.metrics.systems import RECONSTRUCTED, SystemAudio, named_systems
from dataset_tools.lib.core.cli import say
from dataset_tools.lib.core.layout import Layout
from dataset_tools.lib.core.params import read_names
from dataset_tools.lib.core.timebase import LEVELS
from dataset_tools.lib.core.work_cache import file_sha256
from dataset_tools.lib.shard_io.shard_format import NO_POSE
from dataset_tools.lib.shard_io.shard_set import ShardSet


def reconstructions(own: Mapping[str, np.ndarray], synthesizer: Path, level: str) -> dict[str, np.ndarray]:
    """{clip: audio}: each clip's own music, encoded and decoded at a level."""
    from d2m_model.metrics.reconstruction import reconstruct
    from d2m_model.training.vqvae_files import load_vqvae

    return reconstruct(load_vqvae(synthesizer / level / "model.pt"), LEVELS[level], own)


def coded(own: Mapping[str, np.ndarray], synthesizer: Path, level: str) -> list[np.ndarray]:
    """Codes (L,) of each clip's own music at a level."""
    from d2m_model.metrics.reconstruction import encode_audio
    from d2m_model.training.vqvae_files import load_vqvae

    return list(encode_audio(load_vqvae(synthesizer / level / "model.pt"), LEVELS[level], own).values())


class Codec:
    """The codec of a level. Its results are cached under a key of its weights and of the music."""

    def __init__(self, synthesizer: Path, level: str, kept: KeptScores):
        model = synthesizer / level / "model.pt"
        self.synthesizer, self.level, self.kept = synthesizer, level, kept
        self.weights = file_sha256(model) if model.is_file() else ""

    def again(self, own: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """{clip: audio} from `reconstructions`."""
        made = self._once("decoded", own, lambda: reconstructions(own, self.synthesizer, self.level).values())
        return dict(zip(own, made, strict=True))

    def codes(self, own: Mapping[str, np.ndarray]) -> list[np.ndarray]:
        """Codes (L,) of each clip from `coded`."""
        return self._once("codes", own, lambda: coded(own, self.synthesizer, self.level))

    def embedded(self, own: Mapping[str, np.ndarray], embedder: Embedder) -> dict:
        """{clip: embeddings of its reconstruction}; the reconstructions themselves are not kept."""
        key = self._key("embedded", own, file_sha256(embedder.path))
        return self.kept.points(key, lambda: embed_all(reconstructions(own, self.synthesizer, self.level), embedder))

    def _once(
        self, what: str, own: Mapping[str, np.ndarray], make: Callable[[], Iterable[np.ndarray]]
    ) -> list[np.ndarray]:
        names = [str(n) for n in range(len(own))]
        return list(self.kept.arrays(self._key(what, own), names, lambda: dict(zip(names, make()))).values())

    def _key(self, what: str, own: Mapping[str, np.ndarray], *more: str) -> str:
        return self.kept.key(what, self.level, self.weights, list(own), content(own), *more)


def code_health(
    systems: Mapping, named: Mapping[str, SystemAudio], own: Mapping, train: Mapping, codecs: Mapping[str, Codec],
    songs: Mapping, params: Params,
) -> dict:  # fmt: skip
    """{system: {'level', 'hum_ratio' with bounds and, if its codes are stored, 'copied_seconds': the longest run of codes copied from
    one training clip}} for systems over codes, including the reconstructions. These have 'copied_seconds' if any system has."""
    levels = {name: music.level for name, music in named.items() if music.level}
    levels |= {name: name.removeprefix(f"{RECONSTRUCTED} ") for name in systems if name.startswith(RECONSTRUCTED)}
    codes = {name: found for name in levels if name in named and (found := named[name].codes(own)) is not None}
    known = {level: codecs[level].codes(train) for level in {levels[n] for n in codes}}
    result: dict[str, dict[str, Any]] = {}
    for name, level in levels.items():
        again = f"{RECONSTRUCTED} {level}"
        result[name] = {"level": level}
        if again in systems:
            weights = resamples(
                len(systems[name]), [songs[c] for c in sorted(systems[name])], draws=params.draws, seed=params.seed
            )
            result[name] |= hum_scores(systems[name], systems[again], code_rate(level), weights)
        if level in known:
            played = codecs[level].codes(own) if name == again else list(codes.get(name, {}).values())
            result[name] |= {"copied_seconds": longest_copy(played, known[level]) / code_rate(level)} if played else {}
    return result


def _audio(shards: ShardSet, clip) -> np.ndarray:
    return shards.read(clip.clip_id, 0, clip.frames).audio


def systems_of(layout: Layout, own: Mapping[str, np.ndarray], split: str) -> dict[str, dict[str, np.ndarray]]:
    """{system: {clip: audio}} of all systems that params.yaml names. Raises as `named_systems` and `SystemAudio.audio`."""
    systems = {}
    for name, music in named_systems(layout).items():
        found = music.audio(set(own), split)
        for remark in uneven(found, own):
            say("evaluate", f"{name}: {remark}")
        systems[name] = {clip: as_long(audio, len(own[clip])) for clip, audio in found.items()}
    return systems


def evaluate_corpus(layout: Layout, params: Params) -> tuple[dict, Result]:
    """(metrics, scores of each system) of all systems of params.yaml and all controls of a corpus."""
    shards, kept = layout.stage("shards"), KeptScores(layout.cache("evaluate"))
    test, train = ShardSet(shards, params.split), ShardSet(shards, "train")
    clips = [c.clip_id for c in test.clips]
    own, songs = {c.clip_id: _audio(test, c) for c in test.clips}, {c.clip_id: c.song for c in test.clips}
    by_id = {c.clip_id: c for c in train.clips}
    training = LazyAudio(by_id, lambda clip: _audio(train, by_id[clip]))
    named, levels = named_systems(layout), read_names(layout.params, "levels")
    systems = systems_of(layout, own, params.split)
    embedder = Embedder(params.embedding, layout)  # before any scoring, because its weights may be missing
    codecs = {level: Codec(layout.stage("synthesizer"), level, kept) for level in levels}
    for level in levels:
        systems[f"{RECONSTRUCTED} {level}"] = codecs[level].again(own)
    systems |= control_audio(own, songs, params.seed, training_song_sampler(train))
    truth, rhythm = (
        true_rhythm(layout.stage("sources") / "truth", clips),
        read_rhythm(layout.stage("rhythm") / "beats", clips),
    )
    systems |= beat_controls(
        {c: len(audio) for c, audio in own.items()}, train, layout.stage("sources") / "truth", rhythm
    )
    reference = Reference(
        audio=own,
        songs=songs,
        beats={c: found.beats for c, found in truth.items()},
        rhythm=rhythm,
        motion_beats={
            c.clip_id: motion_beats(test.read(c.clip_id).pose[:, 0])
            for c in test.clips
            if NO_POSE not in test.info.pose_weights
        },
    )
    health = code_health(systems, named, own, training, codecs, songs, params)
    some = [train.clips[i] for i in sorted(set(np.linspace(0, len(train.clips) - 1, params.coded_clips).astype(int)))]
    excerpt = {c.clip_id: _audio(train, c) for c in some}
    other = "high" if "high" in levels else levels[0]  # level for systems without codes
    music = MusicDatabase(
        embedder=embedder,
        audio=training,
        genres={clip: c.genre for clip, c in by_id.items()},
        source="train split",
        coded={level: codec.embedded(excerpt, embedder) for level, codec in codecs.items()},
        level_of=lambda name: health.get(name, {}).get("level", other),
    )
    kinds, genres = {name: found.kind for name, found in named.items()}, {c.clip_id: c.genre for c in test.clips}
    result = score(systems, kinds, reference, params, kept, genres=genres, music=music)
    for name, found in named.items():
        result.systems[name] |= {"seed": found.seed} if found.seed is not None else {}
        result.systems[name] |= {} if found.command else {"others": True}
    for name, found in health.items():
        result.systems[name]["codes"] = found
    for name in read_names(layout.params, "systems"):
        about = layout.stage("baselines") / name / "about.txt"
        result.systems[name]["about"] = about.read_text(encoding="utf-8").strip()
    downbeats = {c: found.downbeats for c, found in truth.items()}
    read = rhythm_scores(reference, downbeats, draws=params.draws, seed=params.seed)
    metrics = {"clips": len(clips), "songs": len(set(songs.values())), "split": params.split}
    return metrics | result.facts | ({"rhythm": read} if read else {}) | {"systems": result.systems}, result
