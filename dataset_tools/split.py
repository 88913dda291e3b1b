"""Split a corpus so that no song is in two parts, and prove it.

For anyone, straight from the manifest, without any video downloaded:
    python -m dataset_tools.split --corpus tiktok --strategy official --out FILE.csv
    python -m dataset_tools.split --corpus tiktok --strategy random --seed 1 --test-fraction 0.2 --out FILE.csv
    python -m dataset_tools.split --corpus tiktok --strategy kfold --folds 5 --fold 0 --out FILE.csv --json
As a pipeline stage it splits the clips that were cut: data/<corpus>/clips/rows.csv -> data/<corpus>/split/.

Strategies: `official` takes the corpus's own labels; `random` draws whole songs until the test part has its share;
`kfold` deals whole songs into folds of even size, one of which is the test part. `--hold-out compilation` keeps whole
compilations together too: stricter, since clips of one compilation share a room, a camera and an edit.
"""

import argparse
import dataclasses
import json
import random
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from dataset_tools.base.atomic import write_text
from dataset_tools.base.cli import layout_of, run, say, stage_parser
from dataset_tools.base.errors import UserError
from dataset_tools.base.layout import Layout
from dataset_tools.base.params import load_params, require
from dataset_tools.base.schema import Clip, Row, read_records, write_records
from dataset_tools.base.timebase import FPS

PARTS = ("train", "val", "test")
CHOICES = {
    "strategy": ("official", "random", "kfold"),
    "hold_out": ("song", "compilation"),
    "balance": ("clips", "seconds"),
}


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

    def __post_init__(self):
        for name, known in CHOICES.items():
            value = getattr(self, name)
            require(value in known, f"{name} must be {' or '.join(known)}, found '{value}'")
        require(0 < self.test_fraction < 1, f"test_fraction must be between 0 and 1, found {self.test_fraction}")
        require(self.folds >= 2, f"folds must be at least 2, found {self.folds}")
        require(0 <= self.fold < self.folds, f"fold must be 0 to {self.folds - 1}, found {self.fold}")


@dataclass(frozen=True, kw_only=True)
class Item:
    """What a split needs to know of a clip."""

    clip_id: str
    song_id: str
    video_id: str
    """The compilation."""
    official_split: str = ""
    seconds: float | None = None


@dataclass(frozen=True, kw_only=True)
class CutClip(Row):
    """The columns of clips/rows.csv that matter here."""

    video_id: str
    song_id: str
    official_split: str = ""
    frames: int | None = None


@dataclass(frozen=True, kw_only=True)
class SplitRow:
    """One row of split.csv."""

    clip_id: str
    song_id: str
    split: str
    """'train', 'val' or 'test'."""


@dataclass(frozen=True, kw_only=True)
class Published:
    """One row of manifests/<corpus>/published.csv: what a publication says of the corpus, to compare the data with."""

    quantity: str
    """'clips', 'songs' or 'compilations'."""
    value: int
    source: str


def items_of_manifest(folder: Path) -> list[Item]:
    """Every clip of manifests/<corpus>/clips.csv; seconds only where its times are known."""
    return [
        Item(
            clip_id=clip.clip_id,
            song_id=clip.song_id,
            video_id=clip.video_id,
            official_split=clip.official_split,
            seconds=None if clip.start is None or clip.end is None else clip.end - clip.start,
        )
        for clip in read_records(folder / "clips.csv", Clip)
    ]


def items_of_clips(rows: Path) -> list[Item]:
    """Every clip that the clips stage cut (status ok)."""
    if not rows.is_file():
        raise UserError(
            f"{rows}: file not found; run python -m dataset_tools.clips, or give --out to split the manifest"
        )
    return [
        Item(
            clip_id=row.id,
            song_id=row.song_id,
            video_id=row.video_id,
            official_split=row.official_split,
            seconds=None if row.frames is None else row.frames / FPS,
        )
        for row in read_records(rows, CutClip)
        if row.status == "ok"
    ]


def assign(items: list[Item], params: Params, source: str) -> list[SplitRow]:
    """Give every clip its part, sorted by clip id, with 0 songs shared between parts (and, with hold_out
    'compilation', 0 compilations shared).

    Raises UserError, naming `source`, for an empty part, a shared song or compilation in the official labels, a clip
    without a label, or balance by seconds where lengths are unknown.
    """
    items = sorted(items, key=lambda item: item.clip_id)
    if params.strategy == "official":
        parts = _official(items, source)
    else:
        groups = _groups(items, params.hold_out)
        weights = [_weight(group, params.balance, source) for group in groups]
        shuffled = list(range(len(groups)))
        random.Random(params.seed).shuffle(shuffled)
        test = _drawn(shuffled, weights, params) if params.strategy == "random" else _dealt(shuffled, weights, params)
        chosen = {item.clip_id for index in test for item in groups[index]}
        parts = {item.clip_id: "test" if item.clip_id in chosen else "train" for item in items}
    rows = [SplitRow(clip_id=item.clip_id, song_id=item.song_id, split=parts[item.clip_id]) for item in items]
    _prove(items, rows, params, source)
    return rows


def _official(items: list[Item], source: str) -> dict[str, str]:
    unlabelled = [item.clip_id for item in items if not item.official_split]
    if unlabelled:
        raise UserError(
            f"{source}: {len(unlabelled)} of {len(items)} clips have no official_split (the first is "
            f"'{unlabelled[0]}'); use --strategy random or kfold"
        )
    return {item.clip_id: item.official_split for item in items}


def _groups(items: list[Item], hold_out: str) -> list[list[Item]]:
    """Clips that must stay together: those of one song; with 'compilation' also those of one video, and so on
    through songs that several videos use. Ordered by their first clip."""
    parent: dict[tuple[str, str], tuple[str, str]] = {}

    def root(node):
        while parent.setdefault(node, node) != node:
            node = parent[node]
        return node

    for item in items:
        song = ("song", item.song_id)
        parent[root(("video", item.video_id) if hold_out == "compilation" else song)] = root(song)
    groups = defaultdict(list)
    for item in items:
        groups[root(("song", item.song_id))].append(item)
    return list(groups.values())


def _weight(group: list[Item], balance: str, source: str) -> float:
    if balance == "clips":
        return len(group)
    unknown = [item.clip_id for item in group if item.seconds is None]
    if unknown:
        raise UserError(f"{source}: the length of clip '{unknown[0]}' is not known yet; use --balance clips")
    return sum(item.seconds for item in group)


def _drawn(order: list[int], weights: list[float], params: Params) -> list[int]:
    """Groups for the test part: in random order, each that brings it nearer to its share."""
    target = params.test_fraction * sum(weights)
    test, filled = [], 0.0
    for index in order:
        if len(test) + 1 < len(order) and abs(filled + weights[index] - target) < abs(filled - target):
            test.append(index)
            filled += weights[index]
    return test or order[: len(order) > 1]  # one song that overshoots is still nearer than an empty test part


def _dealt(order: list[int], weights: list[float], params: Params) -> list[int]:
    """Groups of one fold: heaviest first, each to the lightest fold so far."""
    folds = [[] for _ in range(params.folds)]
    filled = [0.0] * params.folds
    for index in sorted(order, key=lambda i: -weights[i]):
        lightest = filled.index(min(filled))
        folds[lightest].append(index)
        filled[lightest] += weights[index]
    return folds[params.fold]


def shared(items: Iterable[Item], rows: Iterable[SplitRow], attribute: str) -> list[str]:
    """Sorted values of `attribute` ('song_id' or 'video_id') whose clips are in more than one part."""
    part_of = {row.clip_id: row.split for row in rows}
    parts = defaultdict(set)
    for item in items:
        parts[getattr(item, attribute)].add(part_of[item.clip_id])
    return sorted(value for value, found in parts.items() if len(found) > 1)


def _prove(items: list[Item], rows: list[SplitRow], params: Params, source: str) -> None:
    for part in ("train", "test"):
        if not any(row.split == part for row in rows):
            songs = len({item.song_id for item in items})
            raise UserError(
                f"{source}: the {part} part of the {params.strategy} split by {params.hold_out} is empty "
                f"({len(items)} clips, {songs} songs); use another strategy, --folds or --hold-out song"
            )
    held = [("song", "song_id")] + [("compilation", "video_id")] * (params.hold_out == "compilation")
    for word, attribute in held:
        both = shared(items, rows, attribute)
        if both:
            raise UserError(
                f"{source}: {len(both)} {word}s are in more than one part (the first is '{both[0]}'); "
                f"correct the labels or use --strategy random --hold-out {word}"
            )


def summarise(items: list[Item], rows: list[SplitRow], params: Params, corpus: str, published: list[Published]) -> dict:
    """Counts of a split, ready for JSON: clips, songs, compilations and seconds (null where a length is unknown) per
    part, the proof, the compilations that parts share, and where the data differ from what was published."""
    part_of = {row.clip_id: row.split for row in rows}
    parts = {}
    for part in PARTS:
        inside = [item for item in items if part_of[item.clip_id] == part]
        if inside:
            parts[part] = _counts(inside)
    whole = _counts(items)
    return {
        "corpus": corpus,
        "params": dataclasses.asdict(params),
        "parts": parts,
        "whole": whole,
        "shared_songs": len(shared(items, rows, "song_id")),
        "shared_compilations": shared(items, rows, "video_id"),
        "remarks": [
            f"the clip list holds {whole[claim.quantity]} {claim.quantity}, {claim.source} says {claim.value}"
            for claim in published
            if whole[claim.quantity] != claim.value
        ],
    }


def _counts(items: list[Item]) -> dict:
    known = all(item.seconds is not None for item in items)
    return {
        "clips": len(items),
        "songs": len({item.song_id for item in items}),
        "compilations": len({item.video_id for item in items}),
        "seconds": round(sum(item.seconds for item in items), 3) if known else None,
    }


def read_published(folder: Path) -> list[Published]:
    """manifests/<corpus>/published.csv, or nothing where a corpus has none."""
    path = folder / "published.csv"
    claims = read_records(path, Published) if path.exists() else []
    for claim in claims:
        if claim.quantity not in ("clips", "songs", "compilations"):
            raise UserError(f"{path}: quantity must be clips, songs or compilations, found '{claim.quantity}'")
    return claims


def print_summary(summary: dict) -> None:
    """A few lines for people."""
    for part, counts in {**summary["parts"], "whole": summary["whole"]}.items():
        numbers = [f"{counts[name]} {name}" for name in ("clips", "songs", "compilations")]
        numbers.append("length unknown" if counts["seconds"] is None else f"{counts['seconds']:.1f} s")
        say("split", f"{part}: {', '.join(numbers)}")
    common = summary["shared_compilations"]
    say("split", f"songs in more than one part: {summary['shared_songs']}")
    say("split", f"compilations in more than one part: {len(common)} ({', '.join(common) or 'none'})")
    for remark in summary["remarks"]:
        say("split", f"remark: {remark}")


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
    parser.add_argument("--json", action="store_true", help="print the summary as JSON")
    return parser


def _chosen(args: argparse.Namespace, layout: Layout) -> Params:
    """Parameters of the stage (params.yaml) or, with --out, the defaults; arguments override either."""
    params = Params() if args.out else load_params(layout.params, "split", Params)
    given = {f.name: getattr(args, f.name) for f in dataclasses.fields(Params) if getattr(args, f.name) is not None}
    try:
        return dataclasses.replace(params, **given)
    except ValueError as err:
        raise UserError(f"split: {err}") from None


def main(argv: list[str] | None = None) -> int:
    args = _parser().parse_args(argv)
    layout = layout_of(args)
    params = _chosen(args, layout)
    if args.out:
        source = layout.manifest / "clips.csv"
        items = items_of_manifest(layout.manifest)
    else:
        source = layout.stage("clips") / "rows.csv"
        items = items_of_clips(source)
    rows = assign(items, params, str(source))
    summary = summarise(items, rows, params, layout.corpus, read_published(layout.manifest))
    write_records(args.out or layout.stage("split") / "split.csv", rows, SplitRow)
    text = json.dumps(summary, indent=2)
    if not args.out:
        write_text(layout.stage("split") / "summary.json", text + "\n")
    if args.json:
        print(text)
    else:
        print_summary(summary)
    return 0


if __name__ == "__main__":
    run(main)
