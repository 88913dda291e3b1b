"""Score music against the dances' own: protocols P1 to P4, with controls and 95 % intervals (docs/evaluation.md).

Anyone's sound files, paired by name (X.wav with X.wav) or by a CSV with columns generated, reference, song and genre;
with --train, a folder of training music (<genre>/<name>.wav), also genre accuracy, FAD and novelty:
    python -m d2m_model.evaluate --generated DIR --reference DIR [--pairs CSV] [--protocol P1|P2|P3|P4|all] [--json OUT]
                                 [--train DIR [--embedding vggish|demo]]
As a pipeline stage, every level and variant of params.yaml, its baselines and the controls:
    python -m d2m_model.evaluate --corpus demo
"""

import argparse
import csv
import io
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from d2m_model.metrics import overview
from d2m_model.metrics.bootstrap import resamples
from d2m_model.metrics.code_health import code_rate, hum_scores, longest_copy
from d2m_model.metrics.controls import beat_controls, control_sounds, drawn_from
from d2m_model.metrics.embedding import WEIGHTS, Embedder, score_embedded
from d2m_model.metrics.inputs import (
    PairedSounds,
    as_long,
    read_pairs,
    read_rhythm,
    read_sound,
    training_files,
    true_rhythm,
    uneven,
)
from d2m_model.metrics.motion_beats import motion_beats
from d2m_model.metrics.scoring import PROTOCOLS, Reference, rhythm_scores, score_system
from d2m_model.metrics.systems import RECONSTRUCTED, Music, Others, named_systems
from dataset_tools.base.atomic import check_writable, write_text
from dataset_tools.base.cli import layout_of, run, say, stage_parser
from dataset_tools.base.errors import UserError
from dataset_tools.base.layout import Layout
from dataset_tools.base.params import load_params, names_of, require
from dataset_tools.base.shard_format import NO_POSE, SPLITS
from dataset_tools.base.shard_set import ShardSet
from dataset_tools.base.timebase import LEVELS
from dataset_tools.base.workers import run_all


@dataclass(frozen=True, kw_only=True)
class Params(Others):
    """Section `evaluate` of params.yaml."""

    protocols: tuple[str, ...] = PROTOCOLS
    draws: int = 2000
    """Bootstrap resamples, of the clips and of the songs."""
    seed: int = 0
    """Of the bootstrap and of the random controls."""
    split: str = "test"
    """Whose clips are scored."""
    segments: bool = False
    """Count P1 and P2 in whole segments of 2 s, as the paper did (86 on AIST++), not in whole clips."""
    embedding: str = "vggish"
    """Of genre accuracy, FAD, KAD and novelty: 'vggish' (fetched) for real music, 'demo' for rendered songs."""
    workers: int = 1
    """Processes that score systems; scores do not depend on their number."""
    coded_clips: int = 64
    """Training clips, evenly spaced, that are coded and decoded again for the FAD to coded music."""

    def __post_init__(self):
        super().__post_init__()
        require(len(self.protocols) > 0 and set(self.protocols) <= set(PROTOCOLS), f"protocols must be among {', '.join(PROTOCOLS)}")
        require(self.draws >= 100, f"draws must be at least 100, found {self.draws}")
        require(self.workers >= 1, f"workers must be at least 1, found {self.workers}")
        require(self.coded_clips >= 1, f"coded_clips must be at least 1, found {self.coded_clips}")
        require(self.embedding in WEIGHTS, f"embedding must be {' or '.join(WEIGHTS)}, found '{self.embedding}'")
        require(self.split in SPLITS, f"split must be one of {', '.join(SPLITS)}, found '{self.split}'")


def score_pairs(pairs: PairedSounds, params: Params, train: Path | None = None, embedder: Embedder | None = None) -> dict:
    """Score generated sounds and the controls that need no VQ-VAE: {'clips', 'songs', 'remarks', 'systems'}, and where
    there is a folder of training music with its embedder 'embedding' and 'genre'."""
    reference = Reference(audio=pairs.reference, songs=pairs.songs)
    files = [path for path, _ in training_files(train)] if train else []
    drawn = (lambda rng: read_sound(files[int(rng.integers(len(files)))])) if files else None
    systems = {"generated": pairs.generated} | control_sounds(pairs.reference, reference.song_of, params.seed, drawn)
    scored = score_all(systems, {"generated": "model"}, reference, params)[0]
    facts = {}
    if train:
        known = ((read_sound(path), genre) for path, genre in training_files(train))
        cut = {name: {c: as_long(a, len(pairs.reference[c])) for c, a in sounds.items()} for name, sounds in systems.items()}
        source, draw = f"music in {train.name}", {"draws": params.draws, "seed": params.seed}
        facts, found = score_embedded(cut, known, pairs.genres, pairs.songs, embedder, source=source, **draw)
        for name, (summary, _) in found.items():
            scored[name] |= summary
    songs = len(set(pairs.songs.values())) if pairs.songs else None
    without = ["VQ reconstruction, which a corpus's levels give"] + ([] if train else ["random training song, which --train gives"])
    remarks = [*pairs.remarks, f"controls that are not here: {'; '.join(without)}"]
    return {"clips": len(pairs.generated), "songs": songs, "remarks": remarks, **facts, "systems": scored}


def score_all(systems: Mapping[str, Mapping], kinds: Mapping[str, str], reference: Reference, params: Params) -> tuple[dict, list[dict]]:
    """Every system -> ({system: summary with its kind: that of `kinds`, else control}, per-clip rows)."""
    score = partial(
        score_system, reference=reference, protocols=params.protocols, draws=params.draws, seed=params.seed, segments=params.segments
    )
    scored, rows = {}, []
    for name, (summary, per_clip) in zip(systems, run_all(score, list(systems.values()), params.workers, "evaluate"), strict=True):
        scored[name] = {"kind": kinds.get(name, "control")} | summary
        rows += [{"system": name} | r for r in per_clip]
    return scored, rows


def reconstructions(own: Mapping[str, np.ndarray], synthesizer: Path, level: str) -> dict[str, np.ndarray]:
    """{clip: sound}: music coded and decoded again at a level."""
    from d2m_model.metrics.reconstruction import coded_again
    from d2m_model.training.vqvae_files import load_vqvae

    return coded_again(load_vqvae(synthesizer / level / "model.pt"), LEVELS[level], own)


def coded(own: Mapping[str, np.ndarray], synthesizer: Path, level: str) -> list[np.ndarray]:
    """Codes (L,) of each clip's music at a level."""
    from d2m_model.metrics.reconstruction import codes_of
    from d2m_model.training.vqvae_files import load_vqvae

    return list(codes_of(load_vqvae(synthesizer / level / "model.pt"), LEVELS[level], own).values())


def code_health(systems: Mapping, named: Mapping[str, Music], own: Mapping, train: ShardSet, synthesizer: Path, songs: Mapping, params: Params) -> dict:
    """{system over codes: {'level', 'hum_ratio' with bounds and, where its codes are kept, 'copied_seconds', the longest run
    of codes from one training clip}}; the reconstructions among them, whose codes are kept where any system's are."""
    levels = {name: music.level for name, music in named.items() if music.level}
    levels |= {name: name.removeprefix(f"{RECONSTRUCTED} ") for name in systems if name.startswith(RECONSTRUCTED)}
    codes = {name: found for name in levels if name in named and (found := named[name].codes(own)) is not None}
    known = {level: coded({c.clip_id: _audio(train, c) for c in train.clips}, synthesizer, level) for level in {levels[n] for n in codes}}
    result = {}
    for name, level in levels.items():
        again = f"{RECONSTRUCTED} {level}"
        result[name] = {"level": level}
        if again in systems:
            weights = resamples(len(systems[name]), [songs[c] for c in sorted(systems[name])], draws=params.draws, seed=params.seed)
            result[name] |= hum_scores(systems[name], systems[again], code_rate(level), weights)
        if level in known:
            played = coded(own, synthesizer, level) if name == again else list(codes.get(name, {}).values())
            result[name] |= {"copied_seconds": longest_copy(played, known[level]) / code_rate(level)} if played else {}
    return result


def _audio(shards: ShardSet, clip) -> np.ndarray:
    return shards.read(clip.clip_id, 0, clip.frames).audio


def systems_of(layout: Layout, own: Mapping[str, np.ndarray], split: str) -> dict[str, dict[str, np.ndarray]]:
    """{system: {clip: sound}} of every system that params.yaml names. Raises as `named_systems` and `Music.sounds`."""
    systems = {}
    for name, music in named_systems(layout).items():
        found = music.sounds(set(own), split)
        for remark in uneven(found, own):
            say("evaluate", f"{name}: {remark}")
        systems[name] = {clip: as_long(audio, len(own[clip])) for clip, audio in found.items()}
    return systems


def evaluate_corpus(layout: Layout, params: Params) -> tuple[dict, list[dict]]:
    """Every system of params.yaml and every control of a corpus -> (metrics, per-clip rows)."""
    shards = layout.stage("shards")
    test, train = ShardSet(shards, params.split), ShardSet(shards, "train")
    clips = [c.clip_id for c in test.clips]
    own, songs = {c.clip_id: _audio(test, c) for c in test.clips}, {c.clip_id: c.song for c in test.clips}
    named, levels, synthesizer = named_systems(layout), names_of(layout.params, "levels"), layout.stage("synthesizer")
    systems = systems_of(layout, own, params.split)
    embedder = Embedder(params.embedding, layout)  # before any scoring, for its weights may not be had
    for level in levels:
        systems[f"{RECONSTRUCTED} {level}"] = reconstructions(own, synthesizer, level)
    systems |= control_sounds(own, songs, params.seed, drawn_from(train))
    truth, rhythm = true_rhythm(layout.stage("sources") / "truth", clips), read_rhythm(layout.stage("evaluate").parent / "rhythm/beats", clips)
    systems |= beat_controls({c: len(audio) for c, audio in own.items()}, train, layout.stage("sources") / "truth", rhythm)
    reference = Reference(
        audio=own,
        songs=songs,
        beats={c: found.beats for c, found in truth.items()},
        rhythm=rhythm,
        motion_beats={c.clip_id: motion_beats(test.read(c.clip_id).pose[:, 0]) for c in test.clips if NO_POSE not in test.info.pose_weights},
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
    again = {level: reconstructions({c.clip_id: _audio(train, c) for c in some}, synthesizer, level).values() for level in levels}
    other = "high" if "high" in levels else levels[0]  # of what plays no codes
    facts, found = score_embedded(
        systems, known, genres, songs, embedder, source="train split", draws=params.draws, seed=params.seed,
        coded=again, level_of=lambda name: health.get(name, {}).get("level", other),
    )  # fmt: skip
    for name, (summary, per_clip) in found.items():
        scored[name] |= summary
        for row in rows:
            if row["system"] == name:
                row |= {"genre": genres[row["clip_id"]]} | per_clip[row["clip_id"]]
    facts |= {"rhythm": read} if (read := rhythm_scores(reference, {c: f.downbeats for c, f in truth.items()}, draws=params.draws, seed=params.seed)) else {}
    return {"clips": len(clips), "songs": len(set(songs.values())), "split": params.split, **facts, "systems": scored}, rows


def rounded(value, digits: int = 6):
    """Numbers of nested dicts and lists rounded, nan as null: the same bytes on every run and valid JSON."""
    if isinstance(value, dict):
        return {k: rounded(v, digits) for k, v in value.items()}
    if isinstance(value, float):
        return round(value, digits) if np.isfinite(value) else None
    return value


def as_json(value) -> str:
    """JSON text of nested dicts and lists, rounded as `rounded` does."""
    return json.dumps(rounded(value), indent=2, allow_nan=False) + "\n"


def as_text(metrics: dict, protocols: tuple[str, ...]) -> str:
    """Tables of all systems, with the policy under each and the controls' note at the end."""
    songs = f"{metrics['songs']} songs" if metrics["songs"] else "songs unknown: no intervals over songs"
    lines = [f"{metrics['clips']} clips, {songs}; in brackets bootstrap 95 % intervals over clips", *metrics.get("remarks", []), ""]
    if "embedding" in metrics:
        lines += ["All scores", overview.systems_table(metrics["systems"], brief=True).to_string(index=False), ""]
    for protocol in protocols:
        for _, title, table in overview.protocol_tables(metrics["systems"], protocol):
            lines += [title, table.to_string(index=False), ""]
        lines[-1:] = [overview.policy_line(next(iter(metrics["systems"].values())), protocol), ""]
    if any("sound" in s for s in metrics["systems"].values()):
        lines += ["Sound", overview.sound_table(metrics["systems"]).to_string(index=False), ""]
    return "\n".join([*lines, overview.control_note(metrics)])


def table_text(rows: list[dict]) -> str:
    """Per-clip rows as CSV; a column that a row does not have is empty in it."""
    text = io.StringIO()
    writer = csv.DictWriter(text, list(dict.fromkeys(k for r in rows for k in r)), lineterminator="\n")
    writer.writeheader()
    writer.writerows([rounded(r) for r in rows])
    return text.getvalue()


def score_folders(args: argparse.Namespace) -> int:
    """The command on two folders of sounds."""
    if not (args.generated and args.reference):
        raise UserError("--generated and --reference go together: both folders are needed")
    if args.json:
        check_writable(args.json)
    if args.embedding and not args.train:
        raise UserError("--embedding is of the scores that --train adds: name a folder of training music")
    params = Params() if args.protocol == "all" else Params(protocols=(args.protocol,))
    pairs = read_pairs(args.generated, args.reference, args.pairs)
    embedder = None
    if args.train:
        genres = {genre for _, genre in training_files(args.train)}
        if pairs.genres and "" not in genres and (unknown := set(pairs.genres.values()) - genres):
            raise UserError(f"{args.pairs}: no folder {args.train / min(unknown)}, but a dance has this genre; there are: {', '.join(sorted(genres))}")
        embedder = Embedder(args.embedding or params.embedding, Layout(root=args.root, corpus=""))
    metrics = score_pairs(pairs, params, args.train, embedder)
    print(as_text(rounded(metrics), params.protocols))
    if args.json:
        write_text(args.json, as_json(metrics))
    return 0


def main(argv: list[str] | None = None) -> int:
    """The command line; the exit status."""
    parser = stage_parser("d2m_model.evaluate", __doc__)
    parser.add_argument("--generated", type=Path, help="folder of generated sound files (.wav, .flac, .ogg, .mp3)")
    parser.add_argument("--reference", type=Path, help="folder of the dances' own music")
    parser.add_argument("--pairs", type=Path, help="CSV with columns generated, reference and, where known, song and genre (default: equal names)")
    parser.add_argument("--json", type=Path, help="where to write all scores of --generated")
    parser.add_argument("--protocol", default="all", choices=(*PROTOCOLS, "all"), help="which to compute (default: all; the stage takes params.yaml's)")
    parser.add_argument("--train", type=Path, help="folder of the music that was trained on, <genre>/<name>.wav: adds genre accuracy, FAD and novelty")
    parser.add_argument("--embedding", choices=tuple(WEIGHTS), help="of --train's scores (default: vggish, fetched when first needed)")
    args = parser.parse_args(argv)
    if args.generated or args.reference:
        return score_folders(args)
    if args.pairs or args.json or args.train or args.embedding or args.protocol != "all":
        raise UserError(
            "--pairs, --json, --protocol, --train and --embedding need --generated and --reference; the stage takes its section of params.yaml"
        )
    layout = layout_of(args)
    params = load_params(layout.params, "evaluate", Params)
    metrics, rows = evaluate_corpus(layout, params)
    out = layout.stage("evaluate")
    write_text(out / "per_clip.csv", table_text(rows))
    write_text(out / "metrics.json", as_json(metrics))
    for old in (out / "summary").glob("*.json"):  # of a system that is no longer in params.yaml
        old.unlink()
    for name, summary in metrics["systems"].items():
        write_text(out / "summary" / f"{name.replace(' ', '-')}.json", as_json(overview.headline(summary)))
    write_text(out / "systems.csv", table_text([{"system": n, "kind": s["kind"]} | overview.headline(s) for n, s in metrics["systems"].items()]))
    say("evaluate", f"{metrics['clips']} {params.split} clips of {metrics['songs']} songs, 95 % intervals over clips")
    print(overview.systems_table(rounded(metrics["systems"]), brief=True).to_string(index=False), flush=True)
    return 0


if __name__ == "__main__":
    run(main)
