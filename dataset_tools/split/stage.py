"""The stage `split`: divide a corpus into parts that share no song."""

import dataclasses
import json
from pathlib import Path
from typing import Any

from dataset_tools.clips.rows import ClipRow
from dataset_tools.lib.core.accounting import read_ok
from dataset_tools.lib.core.array_file import read_npy
from dataset_tools.lib.core.atomic import check_writable, write_text
from dataset_tools.lib.core.errors import UserError
from dataset_tools.lib.core.file_memo import FileMemo
from dataset_tools.lib.core.layout import Layout
from dataset_tools.lib.core.manifest import read_published
from dataset_tools.lib.core.packs import is_stored
from dataset_tools.lib.core.schema import SEGMENT_SECONDS, ListedClip, leaks, read_records, write_records
from dataset_tools.lib.core.timebase import FPS
from dataset_tools.split.params import Params
from dataset_tools.split.remembered import RememberedPrints
from dataset_tools.split.rows import FoldRow, SplitRow
from dataset_tools.split.strategies import (
    Item,
    deal_folds,
    draw_test_groups,
    find_leaks,
    group_items,
    group_weight,
    official_parts,
)
from dataset_tools.split.summary import describe_duplicates, summarise


def split_corpus(layout: Layout, params: Params, out: Path | None = None, *, must_compare: bool = False) -> dict:
    """Split the clips that were cut, and write data/<corpus>/split. With `out`, split all clips of the manifest instead, and write
    that file. Returns the summary. must_compare: raise UserError if there is no audio to compare.

    Raises UserError as `read_manifest_items`, `read_clip_items` and `assign_parts`. With the rule 'refuse', also if one recording
    is in training and in another part. Nothing is written then.
    """
    if out:
        check_writable(out)
        source, items = layout.manifest / "clips.csv", read_manifest_items(layout.manifest)
    else:
        source, items = layout.stage("clips") / "rows.csv", read_clip_items(layout)
    items, compared = compare_recordings(items, layout, params)
    if must_compare and not compared["clips"]:
        raise UserError(
            f"--same-recording {params.same_recording}: no audio in {layout.stage('audio')}; run python -m dataset_tools.audio"
        )
    rows = assign_parts(items, params, str(source))
    if params.same_recording == "refuse":
        _refuse_same_recordings(compared, rows, str(source))
    chosen = {name: value for name, value in dataclasses.asdict(params).items() if name != "workers"}
    summary: dict[str, Any] = {"corpus": layout.corpus, "params": chosen}
    summary |= summarise(items, rows, read_published(layout.manifest)) | {"by_ear": compared}
    summary["remarks"] += describe_duplicates(compared, rows)
    write_records(out or layout.stage("split") / "split.csv", rows)
    if not out:
        write_text(layout.stage("split") / "summary.json", json.dumps(summary, indent=2) + "\n")
    return summary


def read_manifest_items(folder: Path) -> list[Item]:
    """Every clip of manifests/<corpus>/clips.csv. `seconds` is None if neither its times nor its number of segments is known."""
    return [
        Item(
            clip_id=clip.clip_id,
            song_id=clip.song_id,
            video_id=clip.video_id,
            official_split=clip.official_split,
            seconds=_clip_seconds(clip),
        )
        for clip in read_records(folder / "clips.csv", ListedClip)
    ]


def _clip_seconds(clip: ListedClip) -> float | None:
    if clip.start is not None and clip.end is not None:
        return clip.end - clip.start
    return None if clip.segments_2s is None else clip.segments_2s * SEGMENT_SECONDS


def read_clip_items(layout: Layout) -> list[Item]:
    """Every clip that the stage clips has cut (status ok). Raises UserError as `read_ok`."""
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


def assign_parts(items: list[Item], params: Params, source: str) -> list[SplitRow]:
    """Assign every clip to a part. Returns rows sorted by clip id; FoldRows for 'kfold'.

    No song (and, with hold_out 'compilation', no compilation) is in training and in another part.

    Raises UserError, which names `source`, for an empty part, official labels with a song or compilation in training and in
    another part, a clip without a label, and balance by seconds with unknown lengths.
    """
    items = sorted(items, key=lambda item: item.clip_id)
    fold_of = {}
    if params.strategy == "official":
        parts = official_parts(items, source)
    else:
        groups = group_items(items, params.hold_out)
        weights = [group_weight(group, params.balance, source) for group in groups]
        if params.strategy == "random":
            test = set(draw_test_groups(weights, params.test_fraction, params.seed))
        else:
            if len(groups) < params.folds:
                kept = "songs" if params.hold_out == "song" else "groups of compilations that share songs"
                raise UserError(
                    f"{source}: {params.folds} folds of {len(groups)} {kept}: some would be empty; use fewer --folds"
                )
            folds = deal_folds(weights, params.folds, params.seed)
            fold_of = {item.clip_id: fold for group, fold in zip(groups, folds, strict=True) for item in group}
            test = {index for index, fold in enumerate(folds) if fold == params.fold}
        chosen = {item.clip_id for index in test for item in groups[index]}
        parts = {item.clip_id: "test" if item.clip_id in chosen else "train" for item in items}
    _check_split(items, parts, params, source)
    rows = [SplitRow(clip_id=item.clip_id, song_id=item.song_id, split=parts[item.clip_id]) for item in items]
    if params.strategy == "kfold":
        return [FoldRow(**dataclasses.asdict(row), fold=fold_of[row.clip_id]) for row in rows]
    return rows


def _check_split(items: list[Item], parts: dict[str, str], params: Params, source: str) -> None:
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
        both = find_leaks(items, parts, attribute)
        if both:
            raise UserError(
                f"{source}: {len(both)} {word}s are in training and in another part (the first is '{both[0]}'); "
                f"correct the labels or use --strategy random --hold-out {word}"
            )


def compare_recordings(items: list[Item], layout: Layout, params: Params) -> tuple[list[Item], dict]:
    """Compare the audio of all clips that have some in data/<corpus>/audio. Returns (items, findings for the summary).

    With the rule 'merge', the items of songs that are one recording have the same `recording`.
    """
    folder, rule = layout.stage("audio"), params.same_recording
    audio = [] if rule == "ignore" else [item for item in items if is_stored(folder / f"{item.clip_id}.wav")]
    compared: dict[str, Any] = {"rule": rule, "clips": len(audio), "same": []}
    if rule == "ignore":
        return items, compared | {"said": "by ear: not checked (same_recording is ignore)"}
    if not audio:
        return items, compared | {
            "said": f"by ear: not checked, no audio in {folder.name}/ yet (python -m dataset_tools.audio)"
        }
    from dataset_tools.split.fingerprint import find_same_recordings, merge_groups
    from dataset_tools.split.kept_prints import keep_prints

    songs = {item.clip_id: item.song_id for item in audio}
    paths = {clip_id: folder / f"{clip_id}.wav" for clip_id in songs}
    kept = keep_prints(paths, layout.cache("split"), FileMemo(layout.memo("split")), params.workers)
    prints = RememberedPrints(list(songs), lambda clip_id: read_npy(kept[clip_id]))
    matches = find_same_recordings(prints, songs)
    compared["same"] = [
        {
            "songs": [songs[match.first], songs[match.second]],
            "clips": [match.first, match.second],
            "score": match.score,
            "tempo": match.tempo,
            "semitones": match.semitones,
        }
        for match in matches
    ]
    pairs = {tuple(sorted(pair["songs"])) for pair in compared["same"]}
    compared["said"] = (
        f"by ear: {len(audio)} of {len(items)} clips heard, {len(pairs)} pairs of songs are one recording"
    )
    if rule == "merge":
        known_as = merge_groups(matches, songs)
        items = [dataclasses.replace(item, recording=known_as.get(item.song_id, "")) for item in items]
    return items, compared


def _refuse_same_recordings(compared: dict, rows: list[SplitRow], source: str) -> None:
    part_of = {row.clip_id: row.split for row in rows}
    for pair in compared["same"]:
        first, second = pair["clips"]
        if leaks((part_of[first], part_of[second])):
            raise UserError(
                f"{source}: songs '{pair['songs'][0]}' and '{pair['songs'][1]}' sound like the same recording (clips "
                f"{first} in {part_of[first]} and {second} in {part_of[second]}, score {pair['score']:.2f}); give them "
                "one song id, or use --same-recording merge (or ignore, after listening to both)"
            )
