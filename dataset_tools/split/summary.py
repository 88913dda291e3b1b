"""Summarise a split, for people and as JSON, and compare it with the published numbers of the corpus."""

from collections import defaultdict
from collections.abc import Iterator

from dataset_tools.lib.core.manifest import QUANTITIES, Published, compare_counts
from dataset_tools.split.rows import SplitRow
from dataset_tools.split.strategies import PARTS, Item, find_leaks


def summarise(items: list[Item], rows: list[SplitRow], published: list[Published]) -> dict:
    """Counts of a split, ready for JSON: clips, songs, compilations and seconds (None if a length is unknown) of each part, the number
    of shared songs, the shared compilations, and remarks, among them differences from the published numbers."""
    part_of = {row.clip_id: row.split for row in rows}
    inside = {part: [item for item in items if part_of[item.clip_id] == part] for part in PARTS}
    whole = _count(items)
    both = find_leaks(items, part_of, "video_id")
    remarks = compare_counts(whole, published)
    shared = {item.song_id for item in inside["val"]} & {item.song_id for item in inside["test"]}
    if shared:
        remarks.append(
            f"val and test share {len(shared)} songs, so choices made on val are made on music of the test part"
        )
    tested = {item.video_id for item in inside["test"]}
    trained = tested & {item.video_id for item in inside["train"]}
    if trained:
        remarks.append(
            f"{len(trained)} of the {len(tested)} compilations of the test part are also in the training part: a test "
            "clip's room, camera and edit may be known from training (--hold-out compilation separates them)"
        )
    return {
        "parts": {part: _count(found) for part, found in inside.items() if found},
        "whole": whole,
        "shared_songs": len(find_leaks(items, part_of, "song_id")),
        "shared_compilations": both,
        "remarks": remarks,
    }


def describe_duplicates(comparison: dict, rows: list[SplitRow]) -> list[str]:
    """A line for each pair of songs that are one recording according to the fingerprints but keep two ids in one part.

    Under the rule 'refuse' no such pair is in training and in another part; under 'merge' the two count as one song.
    """
    if comparison["rule"] != "refuse":
        return []
    part_of = {row.clip_id: row.split for row in rows}
    parts = defaultdict(set)
    for pair in comparison["same"]:
        parts[tuple(sorted(pair["songs"]))] |= {part_of[clip_id] for clip_id in pair["clips"]}
    return [
        f"songs {first} and {second} are one recording under two ids, in {' and '.join(sorted(found))} alone: nothing leaks, but "
        "they count as two songs, and another split may part them; give them one song id, or use --same-recording merge"
        for (first, second), found in sorted(parts.items())
    ]


def _count(items: list[Item]) -> dict:
    known = all(item.seconds is not None for item in items)
    return {
        "clips": len(items),
        "songs": len({item.song_id for item in items}),
        "compilations": len({item.video_id for item in items}),
        "seconds": round(sum(item.seconds for item in items), 3) if known else None,
    }


def format_summary(summary: dict) -> Iterator[str]:
    """Yield the summary as lines for people."""
    for part, counts in {**summary["parts"], "whole": summary["whole"]}.items():
        numbers = [f"{counts[name]} {name}" for name in QUANTITIES]
        numbers.append("length unknown" if counts["seconds"] is None else f"{counts['seconds']:.1f} s")
        yield f"{part}: {', '.join(numbers)}"
    common, ear = summary["shared_compilations"], summary["by_ear"]
    yield f"songs in training and another part: {summary['shared_songs']}"
    yield f"compilations in training and another part: {len(common)} ({', '.join(common) or 'none'})"
    yield ear["said"]
    for pair in ear["same"]:
        yield (
            f"same recording: songs {' and '.join(pair['songs'])}, clips {' and '.join(pair['clips'])} (score "
            f"{pair['score']:.2f}, tempo x {pair['tempo']:.2f}, {pair['semitones']:+.1f} semitones)"
        )
    for remark in summary["remarks"]:
        yield f"remark: {remark}"
