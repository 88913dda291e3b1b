"""The stage `evaluate`: scores every system and control."""

import csv
import io
import json
from collections.abc import Mapping
from functools import partial
from pathlib import Path

import numpy as np

from d2m_model.evaluate.params import Params
from d2m_model.metrics import overview
from d2m_model.metrics.bootstrap import resamples
from d2m_model.metrics.code_health import code_rate, hum_scores, longest_copy
from d2m_model.metrics.controls import beat_controls, control_audio, drawn_from
from d2m_model.metrics.embedding import Embedder, score_embedded
from d2m_model.metrics.inputs import PairedAudio, as_long, read_audio, read_rhythm, training_files, true_rhythm, uneven
from d2m_model.metrics.motion_beats import motion_beats
from d2m_model.metrics.scoring import Reference, rhythm_scores, score_system
from d2m_model.metrics.systems import RECONSTRUCTED, SystemAudio, named_systems
from dataset_tools.lib.core.cli import say
from dataset_tools.lib.core.layout import Layout
from dataset_tools.lib.core.params import names_of
from dataset_tools.lib.core.timebase import LEVELS
from dataset_tools.lib.parallel.workers import run_all
from dataset_tools.lib.shard_io.shard_format import NO_POSE
from dataset_tools.lib.shard_io.shard_set import ShardSet


def score_pairs(
    pairs: PairedAudio, params: Params, train: Path | None = None, embedder: Embedder | None = None
) -> dict:
    """Score generated sounds and the controls that need no VQ-VAE: {'clips', 'songs', 'remarks', 'systems'}; with a folder of training
    music (`train`) and an embedder also 'embedding' and 'genre'."""
    reference = Reference(audio=pairs.reference, songs=pairs.songs)
    files = [path for path, _ in training_files(train)] if train else []
    drawn = (lambda rng: read_audio(files[int(rng.integers(len(files)))])) if files else None
    systems = {"generated": pairs.generated} | control_audio(pairs.reference, reference.song_of, params.seed, drawn)
    scored = score_all(systems, {"generated": "model"}, reference, params)[0]
    facts = {}
    if train:
        known = ((read_audio(path), genre) for path, genre in training_files(train))
        cut = {
            name: {c: as_long(a, len(pairs.reference[c])) for c, a in sounds.items()}
            for name, sounds in systems.items()
        }
        source, draw = f"music in {train.name}", {"draws": params.draws, "seed": params.seed}
        facts, found = score_embedded(cut, known, pairs.genres, pairs.songs, embedder, source=source, **draw)
        for name, (summary, _) in found.items():
            scored[name] |= summary
    songs = len(set(pairs.songs.values())) if pairs.songs else None
    without = ["VQ reconstruction, which a corpus's levels give"] + (
        [] if train else ["random training song, which --train gives"]
    )
    remarks = [*pairs.remarks, f"controls that are not here: {'; '.join(without)}"]
    return {"clips": len(pairs.generated), "songs": songs, "remarks": remarks, **facts, "systems": scored}


def score_all(
    systems: Mapping[str, Mapping], kinds: Mapping[str, str], reference: Reference, params: Params
) -> tuple[dict, list[dict]]:
    """({system: summary with its kind}, per-clip rows) of all systems; a system that is not in `kinds` is a control."""
    score = partial(
        score_system,
        reference=reference,
        protocols=params.protocols,
        draws=params.draws,
        seed=params.seed,
        segments=params.segments,
    )
    scored, rows = {}, []
    for name, (summary, per_clip) in zip(
        systems, run_all(score, list(systems.values()), params.workers, "evaluate"), strict=True
    ):
        scored[name] = {"kind": kinds.get(name, "control")} | summary
        rows += [{"system": name} | r for r in per_clip]
    return scored, rows


def reconstructions(own: Mapping[str, np.ndarray], synthesizer: Path, level: str) -> dict[str, np.ndarray]:
    """{clip: audio}: each clip's own music, encoded and decoded at a level."""
    from d2m_model.metrics.reconstruction import coded_again
    from d2m_model.training.vqvae_files import load_vqvae

    return coded_again(load_vqvae(synthesizer / level / "model.pt"), LEVELS[level], own)


def coded(own: Mapping[str, np.ndarray], synthesizer: Path, level: str) -> list[np.ndarray]:
    """Codes (L,) of each clip's own music at a level."""
    from d2m_model.metrics.reconstruction import codes_of
    from d2m_model.training.vqvae_files import load_vqvae

    return list(codes_of(load_vqvae(synthesizer / level / "model.pt"), LEVELS[level], own).values())


def code_health(
    systems: Mapping,
    named: Mapping[str, SystemAudio],
    own: Mapping,
    train: ShardSet,
    synthesizer: Path,
    songs: Mapping,
    params: Params,
) -> dict:
    """{system: {'level', 'hum_ratio' with bounds and, if its codes are stored, 'copied_seconds': the longest run of codes copied from
    one training clip}} for systems over codes, including the reconstructions. These have 'copied_seconds' if any system has."""
    levels = {name: music.level for name, music in named.items() if music.level}
    levels |= {name: name.removeprefix(f"{RECONSTRUCTED} ") for name in systems if name.startswith(RECONSTRUCTED)}
    codes = {name: found for name in levels if name in named and (found := named[name].codes(own)) is not None}
    known = {
        level: coded({c.clip_id: _audio(train, c) for c in train.clips}, synthesizer, level)
        for level in {levels[n] for n in codes}
    }
    result = {}
    for name, level in levels.items():
        again = f"{RECONSTRUCTED} {level}"
        result[name] = {"level": level}
        if again in systems:
            weights = resamples(
                len(systems[name]), [songs[c] for c in sorted(systems[name])], draws=params.draws, seed=params.seed
            )
            result[name] |= hum_scores(systems[name], systems[again], code_rate(level), weights)
        if level in known:
            played = coded(own, synthesizer, level) if name == again else list(codes.get(name, {}).values())
            result[name] |= {"copied_seconds": longest_copy(played, known[level]) / code_rate(level)} if played else {}
    return result


def _audio(shards: ShardSet, clip) -> np.ndarray:
    return shards.read(clip.clip_id, 0, clip.frames).audio


def systems_of(layout: Layout, own: Mapping[str, np.ndarray], split: str) -> dict[str, dict[str, np.ndarray]]:
    """{system: {clip: audio}} of all systems that params.yaml names. Raises as `named_systems` and `SystemAudio.sounds`."""
    systems = {}
    for name, music in named_systems(layout).items():
        found = music.sounds(set(own), split)
        for remark in uneven(found, own):
            say("evaluate", f"{name}: {remark}")
        systems[name] = {clip: as_long(audio, len(own[clip])) for clip, audio in found.items()}
    return systems


def evaluate_corpus(layout: Layout, params: Params) -> tuple[dict, list[dict]]:
    """(metrics, per-clip rows) of all systems of params.yaml and all controls of a corpus."""
    shards = layout.stage("shards")
    test, train = ShardSet(shards, params.split), ShardSet(shards, "train")
    clips = [c.clip_id for c in test.clips]
    own, songs = {c.clip_id: _audio(test, c) for c in test.clips}, {c.clip_id: c.song for c in test.clips}
    named, levels, synthesizer = named_systems(layout), names_of(layout.params, "levels"), layout.stage("synthesizer")
    systems = systems_of(layout, own, params.split)
    embedder = Embedder(params.embedding, layout)  # before any scoring, because its weights may be missing
    for level in levels:
        systems[f"{RECONSTRUCTED} {level}"] = reconstructions(own, synthesizer, level)
    systems |= control_audio(own, songs, params.seed, drawn_from(train))
    truth, rhythm = (
        true_rhythm(layout.stage("sources") / "truth", clips),
        read_rhythm(layout.stage("evaluate").parent / "rhythm/beats", clips),
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
    scored, rows = score_all(systems, {name: music.kind for name, music in named.items()}, reference, params)
    genres = {c.clip_id: c.genre for c in test.clips}
    for name, music in named.items():
        scored[name] |= {"seed": music.seed} if music.seed is not None else {}
    health = code_health(systems, named, own, train, synthesizer, songs, params)
    for name, found in health.items():
        scored[name]["codes"] = found
    for name in names_of(layout.params, "systems"):
        scored[name]["about"] = (layout.stage("baselines") / name / "about.txt").read_text(encoding="utf-8").strip()
    known = ((_audio(train, c), c.genre) for c in train.clips)
    some = [train.clips[i] for i in sorted(set(np.linspace(0, len(train.clips) - 1, params.coded_clips).astype(int)))]
    again = {
        level: reconstructions({c.clip_id: _audio(train, c) for c in some}, synthesizer, level).values()
        for level in levels
    }
    other = "high" if "high" in levels else levels[0]  # level for systems without codes
    facts, found = score_embedded(
        systems, known, genres, songs, embedder, source="train split", draws=params.draws, seed=params.seed,
        coded=again, level_of=lambda name: health.get(name, {}).get("level", other),
    )  # fmt: skip
    for name, (summary, per_clip) in found.items():
        scored[name] |= summary
        for row in rows:
            if row["system"] == name:
                row |= {"genre": genres[row["clip_id"]]} | per_clip[row["clip_id"]]
    facts |= (
        {"rhythm": read}
        if (
            read := rhythm_scores(
                reference, {c: f.downbeats for c, f in truth.items()}, draws=params.draws, seed=params.seed
            )
        )
        else {}
    )
    return {
        "clips": len(clips),
        "songs": len(set(songs.values())),
        "split": params.split,
        **facts,
        "systems": scored,
    }, rows


def rounded(value, digits: int = 6):
    """Nested dicts and lists with rounded numbers, and None for nan: valid JSON with the same bytes on every run."""
    if isinstance(value, dict):
        return {k: rounded(v, digits) for k, v in value.items()}
    if isinstance(value, float):
        return round(value, digits) if np.isfinite(value) else None
    return value


def as_json(value) -> str:
    """JSON text of nested dicts and lists, rounded by `rounded`."""
    return json.dumps(rounded(value), indent=2, allow_nan=False) + "\n"


def as_text(metrics: dict, protocols: tuple[str, ...]) -> str:
    """Tables of all systems as text, each with a note on undefined clips, and the note on the controls at the end."""
    songs = f"{metrics['songs']} songs" if metrics["songs"] else "songs unknown: no intervals over songs"
    lines = [
        f"{metrics['clips']} clips, {songs}; in brackets bootstrap 95 % intervals over clips",
        *metrics.get("remarks", []),
        "",
    ]
    if "embedding" in metrics:
        lines += ["All scores", overview.systems_table(metrics["systems"], brief=True).to_string(index=False), ""]
    for protocol in protocols:
        for _, title, table in overview.protocol_tables(metrics["systems"], protocol):
            lines += [title, table.to_string(index=False), ""]
        lines[-1:] = [overview.policy_line(next(iter(metrics["systems"].values())), protocol), ""]
    if any("sound" in s for s in metrics["systems"].values()):
        lines += ["Sound", overview.audio_table(metrics["systems"]).to_string(index=False), ""]
    return "\n".join([*lines, overview.control_note(metrics)])


def table_text(rows: list[dict]) -> str:
    """Per-clip rows as CSV; missing columns of a row are empty."""
    text = io.StringIO()
    writer = csv.DictWriter(text, list(dict.fromkeys(k for r in rows for k in r)), lineterminator="\n")
    writer.writeheader()
    writer.writerows([rounded(r) for r in rows])
    return text.getvalue()
