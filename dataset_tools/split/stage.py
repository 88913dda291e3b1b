"""The stage `split`: parts of the corpus that share no song."""

import dataclasses
import json
from pathlib import Path
from typing import Any

from dataset_tools.clips.rows import ClipRow
from dataset_tools.lib.audio.audio_file import read_samples
from dataset_tools.lib.core.accounting import read_ok
from dataset_tools.lib.core.atomic import check_writable, write_text
from dataset_tools.lib.core.errors import Unreadable, UserError
from dataset_tools.lib.core.layout import Layout
from dataset_tools.lib.core.manifest import read_published
from dataset_tools.lib.core.progress import progress
from dataset_tools.lib.core.schema import SEGMENT, ListedClip, leaks, read_records, write_records
from dataset_tools.lib.core.timebase import FPS, SAMPLE_RATE
from dataset_tools.split.params import Params
from dataset_tools.split.rows import FoldRow, SplitRow
from dataset_tools.split.strategies import Item, dealt, drawn, groups_of, official, shared, weight_of
from dataset_tools.split.summary import doubles, summarise


def split_corpus(layout: Layout, params: Params, out: Path | None = None, *, must_hear: bool = False) -> dict:
    """Split the clips that were cut and write data/<corpus>/split, or with `out` split the manifest's and write that file;
    gives the summary. must_hear: whether it is an error that there is no sound to hear.

    Raises UserError as `items_of_manifest`, `items_of_clips` and `assign` do, and where one recording is in two parts under
    the rule 'refuse'; nothing is written then.
    """
    if out:
        check_writable(out)
        source, items = layout.manifest / "clips.csv", items_of_manifest(layout.manifest)
    else:
        source, items = layout.stage("clips") / "rows.csv", items_of_clips(layout)
    items, heard = listen(items, layout.stage("audio"), params.same_recording)
    if must_hear and not heard["clips"]:
        raise UserError(
            f"--same-recording {params.same_recording}: no sound in {layout.stage('audio')}; run python -m dataset_tools.audio"
        )
    rows = assign(items, params, str(source))
    if params.same_recording == "refuse":
        _refuse(heard, rows, str(source))
    summary: dict[str, Any] = {"corpus": layout.corpus, "params": dataclasses.asdict(params)}
    summary |= summarise(items, rows, read_published(layout.manifest)) | {"by_ear": heard}
    summary["remarks"] += doubles(heard, rows)
    write_records(out or layout.stage("split") / "split.csv", rows)
    if not out:
        write_text(layout.stage("split") / "summary.json", json.dumps(summary, indent=2) + "\n")
    return summary


def items_of_manifest(folder: Path) -> list[Item]:
    """Every clip of manifests/<corpus>/clips.csv; seconds only where its times or its segments are known."""
    return [
        Item(
            clip_id=clip.clip_id,
            song_id=clip.song_id,
            video_id=clip.video_id,
            official_split=clip.official_split,
            seconds=_seconds(clip),
        )
        for clip in read_records(folder / "clips.csv", ListedClip)
    ]


def _seconds(clip: ListedClip) -> float | None:
    if clip.start is not None and clip.end is not None:
        return clip.end - clip.start
    return None if clip.segments_2s is None else clip.segments_2s * SEGMENT


def items_of_clips(layout: Layout) -> list[Item]:
    """Every clip that the clips stage cut (status ok). Raises UserError where there is none, as `read_ok` does."""
    return [
        Item(
            clip_id=row.id,
            song_id=row.song_id,
            video_id=row.video_id,
            official_split=row.official_split,
            seconds=row.frames / FPS if row.frames and row.frames > 0 else None,
        )
        for row in read_ok(layout, "clips", ClipRow)
        if row.status == "ok"
    ]


def assign(items: list[Item], params: Params, source: str) -> list[SplitRow]:
    """Give every clip its part, sorted by clip id, with 0 songs shared between parts (and, with hold_out
    'compilation', 0 compilations shared). FoldRows for 'kfold'.

    Raises UserError, naming `source`, for an empty part, a shared song or compilation in the official labels, a clip
    without a label, or balance by seconds where lengths are unknown.
    """
    items = sorted(items, key=lambda item: item.clip_id)
    fold_of = {}
    if params.strategy == "official":
        parts = official(items, source)
    else:
        groups = groups_of(items, params.hold_out)
        weights = [weight_of(group, params.balance, source) for group in groups]
        if params.strategy == "random":
            test = set(drawn(weights, params.test_fraction, params.seed))
        else:
            if len(groups) < params.folds:
                kept = "songs" if params.hold_out == "song" else "groups of compilations that share songs"
                raise UserError(
                    f"{source}: {params.folds} folds of {len(groups)} {kept}: some would be empty; use fewer --folds"
                )
            folds = dealt(weights, params.folds, params.seed)
            fold_of = {item.clip_id: fold for group, fold in zip(groups, folds, strict=True) for item in group}
            test = {index for index, fold in enumerate(folds) if fold == params.fold}
        chosen = {item.clip_id for index in test for item in groups[index]}
        parts = {item.clip_id: "test" if item.clip_id in chosen else "train" for item in items}
    _prove(items, parts, params, source)
    rows = [SplitRow(clip_id=item.clip_id, song_id=item.song_id, split=parts[item.clip_id]) for item in items]
    if params.strategy == "kfold":
        return [FoldRow(**dataclasses.asdict(row), fold=fold_of[row.clip_id]) for row in rows]
    return rows


def _prove(items: list[Item], parts: dict[str, str], params: Params, source: str) -> None:
    for part in ("train", "test"):
        if part not in parts.values():
            songs = len({item.song for item in items})
            raise UserError(
                f"{source}: the {part} part of the {params.strategy} split by {params.hold_out} is empty "
                f"({len(items)} clips, {songs} songs); use another strategy, --folds or --hold-out song"
            )
    held = [("song", "song"), ("song", "song_id")]
    held += [("compilation", "video_id")] * (params.hold_out == "compilation")
    for word, attribute in held:
        both = shared(items, parts, attribute)
        if both:
            raise UserError(
                f"{source}: {len(both)} {word}s are in training and in another part (the first is '{both[0]}'); "
                f"correct the labels or use --strategy random --hold-out {word}"
            )


def listen(items: list[Item], folder: Path, rule: str) -> tuple[list[Item], dict]:
    """Compare the sound of all clips whose <clip_id>.wav is in `folder`; return the items, with `recording` set where
    `rule` is 'merge' and a recording has two song ids, and what was heard, for the summary."""
    sounds = [] if rule == "ignore" else [item for item in items if (folder / f"{item.clip_id}.wav").is_file()]
    heard: dict[str, Any] = {"rule": rule, "clips": len(sounds), "same": []}
    if rule == "ignore":
        return items, heard | {"said": "by ear: not checked (same_recording is ignore)"}
    if not sounds:
        return items, heard | {
            "said": f"by ear: not checked, no sound in {folder.name}/ yet (python -m dataset_tools.audio)"
        }
    from dataset_tools.split.fingerprint import fingerprint, joined, same_recordings

    songs = {item.clip_id: item.song_id for item in sounds}
    prints = {
        item.clip_id: fingerprint(_sound(folder / f"{item.clip_id}.wav"))
        for item in progress(sounds, "split: listening", unit="clip")
    }
    matches = same_recordings(prints, songs)
    heard["same"] = [
        {
            "songs": [songs[match.first], songs[match.second]],
            "clips": [match.first, match.second],
            "score": match.score,
            "tempo": match.tempo,
            "semitones": match.semitones,
        }
        for match in matches
    ]
    pairs = {tuple(sorted(pair["songs"])) for pair in heard["same"]}
    heard["said"] = f"by ear: {len(sounds)} of {len(items)} clips heard, {len(pairs)} pairs of songs are one recording"
    if rule == "merge":
        known_as = joined(matches, songs)
        items = [dataclasses.replace(item, recording=known_as.get(item.song_id, "")) for item in items]
    return items, heard


def _refuse(heard: dict, rows: list[SplitRow], source: str) -> None:
    part_of = {row.clip_id: row.split for row in rows}
    for pair in heard["same"]:
        first, second = pair["clips"]
        if leaks((part_of[first], part_of[second])):
            raise UserError(
                f"{source}: songs '{pair['songs'][0]}' and '{pair['songs'][1]}' sound like the same recording (clips "
                f"{first} in {part_of[first]} and {second} in {part_of[second]}, score {pair['score']:.2f}); give them "
                "one song id, or use --same-recording merge (or ignore, having listened to both)"
            )


def _sound(path: Path):
    try:
        sound = read_samples(path)
    except Unreadable as err:
        raise UserError(f"{path}: not readable ({err.reason}); run python -m dataset_tools.audio again") from None
    if sound.rate != SAMPLE_RATE or sound.channels != 1:
        raise UserError(
            f"{path}: must be mono at {SAMPLE_RATE} Hz, found {sound.channels} channels at {sound.rate}; run python -m dataset_tools.audio again"
        )
    return sound.audio[:, 0]
