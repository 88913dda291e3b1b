"""Split a corpus so that no song is in two parts, and prove it, by its labels and by ear. (Official val and test parts may
share songs with each other, as AIST++'s do; never with training.)

For anyone, straight from the manifest, without any video downloaded:
    python -m dataset_tools.split --corpus tiktok --strategy official --out FILE.csv
    python -m dataset_tools.split --corpus tiktok --strategy random --seed 1 --test-fraction 0.2 --out FILE.csv
    python -m dataset_tools.split --corpus tiktok --strategy kfold --folds 5 --fold 0 --out FILE.csv --json
As a pipeline stage it splits the clips that were cut: data/<corpus>/clips/rows.csv -> data/<corpus>/split/.

Strategies: `official` takes the corpus's own labels; `random` draws whole songs until the test part has its share;
`kfold` deals whole songs into folds of even size, one of which is the test part (the column `fold` says of every clip
for which fold it is test). `--hold-out compilation` keeps whole compilations together too: stricter, since clips of one
compilation share a room, a camera and an edit. Lengths in a manifest without times are those of its 2 s segments.

Labels can be wrong: where data/<corpus>/audio holds the clips' sound, fingerprints find the same recording under two
song ids, sped up or slowed down (0.8 to 1.3, with its pitch or without) or a semitone higher or lower (445 clips take some 5
minutes, more with the square of their number). `--same-recording refuse` ends with an error if that puts one recording into two parts, `merge` treats
such songs as one (under `official` it goes where most of its clips are labelled), `ignore` does not listen.
"""

import argparse
import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path

from dataset_tools.base.accounting import read_ok
from dataset_tools.base.atomic import check_writable, write_text
from dataset_tools.base.cli import layout_of, run, say, stage_parser
from dataset_tools.base.errors import Unreadable, UserError
from dataset_tools.base.layout import Layout
from dataset_tools.base.manifest import read_published
from dataset_tools.base.params import load_params, require
from dataset_tools.base.schema import SEGMENT, ListedClip, Row, leaks, read_records, write_records
from dataset_tools.base.sound_file import read_samples
from dataset_tools.base.timebase import FPS, SAMPLE_RATE
from dataset_tools.base.workers import progress
from dataset_tools.partition.strategies import (
    FoldRow,
    Item,
    SplitRow,
    dealt,
    drawn,
    groups_of,
    official,
    shared,
    weight_of,
)
from dataset_tools.partition.summary import lines_of, summarise

CHOICES = {
    "strategy": ("official", "random", "kfold"),
    "hold_out": ("song", "compilation"),
    "balance": ("clips", "seconds"),
    "same_recording": ("refuse", "merge", "ignore"),
}

IDLE = {
    "official": ("balance", "seed", "test_fraction", "folds", "fold"),
    "random": ("folds", "fold"),
    "kfold": ("test_fraction",),
}
"""Strategy -> the parameters that it does not read."""


@dataclass(frozen=True, kw_only=True)
class Params:
    """Section `split` of params.yaml."""

    strategy: str = "official"
    """'official', 'random' or 'kfold'."""
    hold_out: str = "song"
    """What stays in one part: 'song', or 'compilation' (whole compilations and whole songs)."""
    balance: str = "clips"
    """What test_fraction and even folds are measured in: 'clips' or 'seconds'."""
    seed: int = 0
    test_fraction: float = 0.2
    """Share of the test part, for 'random'; the nearest that whole songs give."""
    folds: int = 5
    fold: int = 0
    """Which fold is the test part, for 'kfold'; the same seed gives the same folds."""
    same_recording: str = "refuse"
    """What to do when two song ids sound like one recording: 'refuse' it in two parts, 'merge' the ids, 'ignore'."""

    def __post_init__(self):
        for name, known in CHOICES.items():
            value = getattr(self, name)
            require(value in known, f"{name} must be {' or '.join(known)}, found '{value}'")
        require(0 < self.test_fraction < 1, f"test_fraction must be between 0 and 1, found {self.test_fraction}")
        require(self.folds >= 2, f"folds must be at least 2, found {self.folds}")
        require(0 <= self.fold < self.folds, f"fold must be 0 to {self.folds - 1}, found {self.fold}")


@dataclass(frozen=True, kw_only=True)
class CutClip(Row):
    """The columns of clips/rows.csv that matter here."""

    video_id: str
    song_id: str
    official_split: str = ""
    frames: int | None = None


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
        for row in read_ok(layout, "clips", CutClip)
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
                raise UserError(f"{source}: {params.folds} folds of {len(groups)} {kept}: some would be empty; use fewer --folds")
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
    heard = {"rule": rule, "clips": len(sounds), "same": []}
    if rule == "ignore":
        return items, heard | {"said": "by ear: not checked (same_recording is ignore)"}
    if not sounds:
        return items, heard | {"said": f"by ear: not checked, no sound in {folder.name}/ yet (python -m dataset_tools.audio)"}
    from dataset_tools.sound.fingerprint import fingerprint, joined, same_recordings

    songs = {item.clip_id: item.song_id for item in sounds}
    prints = {item.clip_id: fingerprint(_sound(folder / f"{item.clip_id}.wav")) for item in progress(sounds, "split: listening")}
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


def _sound(path: Path):
    try:
        sound = read_samples(path)
    except Unreadable as err:
        raise UserError(f"{path}: not readable ({err.reason}); run python -m dataset_tools.audio again") from None
    if sound.rate != SAMPLE_RATE or sound.channels != 1:
        raise UserError(f"{path}: must be mono at {SAMPLE_RATE} Hz, found {sound.channels} channels at {sound.rate}; run python -m dataset_tools.audio again")
    return sound.audio[:, 0]


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


def _parser() -> argparse.ArgumentParser:
    parser = stage_parser("dataset_tools.split", __doc__)
    parser.add_argument("--out", type=Path, help="split the manifest into this file (else: run as a pipeline stage)")
    parser.add_argument("--strategy", choices=CHOICES["strategy"])
    parser.add_argument("--hold-out", choices=CHOICES["hold_out"])
    parser.add_argument("--balance", choices=CHOICES["balance"])
    parser.add_argument("--seed", type=int)
    parser.add_argument("--test-fraction", type=float)
    parser.add_argument("--folds", type=int)
    parser.add_argument("--fold", type=int, help="which fold is the test part (default: 0)")
    parser.add_argument("--same-recording", choices=CHOICES["same_recording"])
    parser.add_argument("--json", action="store_true", help="print the summary as JSON")
    return parser


def _chosen(args: argparse.Namespace, layout: Layout) -> Params:
    """Parameters of the stage (params.yaml) or, with --out, the defaults; arguments override either."""
    params = Params() if args.out else load_params(layout.params, "split", Params)
    given = {f.name: getattr(args, f.name) for f in dataclasses.fields(Params) if getattr(args, f.name) is not None}
    try:
        chosen = dataclasses.replace(params, **given)
    except ValueError as err:
        raise UserError(f"split: {err}") from None
    if idle := [f"--{name.replace('_', '-')}" for name in IDLE[chosen.strategy] if name in given]:
        raise UserError(f"split: {', '.join(idle)} would change nothing under --strategy {chosen.strategy}; leave it out")
    return chosen


def main(argv: list[str] | None = None) -> int:
    """The command line; the exit status."""
    args = _parser().parse_args(argv)
    layout = layout_of(args)
    params = _chosen(args, layout)
    if args.out:
        check_writable(args.out)
        source = layout.manifest / "clips.csv"
        items = items_of_manifest(layout.manifest)
    else:
        source = layout.stage("clips") / "rows.csv"
        items = items_of_clips(layout)
    items, heard = listen(items, layout.stage("audio"), params.same_recording)
    if args.same_recording in ("refuse", "merge") and not heard["clips"]:
        raise UserError(
            f"--same-recording {args.same_recording}: no sound in {layout.stage('audio')}; run python -m dataset_tools.audio"
        )
    rows = assign(items, params, str(source))
    if params.same_recording == "refuse":
        _refuse(heard, rows, str(source))
    summary = {"corpus": layout.corpus, "params": dataclasses.asdict(params)}
    summary |= summarise(items, rows, read_published(layout.manifest)) | {"by_ear": heard}
    write_records(args.out or layout.stage("split") / "split.csv", rows)
    text = json.dumps(summary, indent=2)
    if not args.out:
        write_text(layout.stage("split") / "summary.json", text + "\n")
    if args.json:
        print(text)
    else:
        for line in lines_of(summary):
            say("split", line)
    return 0


if __name__ == "__main__":
    run(main)
