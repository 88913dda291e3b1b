"""Write the card of a corpus: contents, split, known problems and licence. Numbers are counted from the data."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

from dataset_tools.clips.rows import ClipRow
from dataset_tools.lib.core.atomic import atomic_write, write_text
from dataset_tools.lib.core.errors import UserError
from dataset_tools.lib.core.layout import Layout
from dataset_tools.lib.core.limits import printable
from dataset_tools.lib.core.manifest import Manifest, find_missing_values, load_manifest
from dataset_tools.lib.core.schema import SEGMENT_SECONDS, ListedClip, Row, read_records
from dataset_tools.lib.core.timebase import FPS
from dataset_tools.lib.core.yaml_file import read_yaml
from dataset_tools.sources.rules import check_manifest

PARTS = ("train", "val", "test", "")
COLOURS = {"train": "#4477aa", "val": "#ccbb44", "test": "#ee6677", "": "#bbbbbb"}


@dataclass(frozen=True, kw_only=True)
class CardText:
    """Content of manifests/<corpus>/card.yaml: the facts that can't be counted."""

    title: str = ""
    description: str = ""
    source: str = ""
    licence: str = "not stated (manifests/<corpus>/card.yaml)"
    known_problems: list[str] = field(default_factory=list)


def write_card(layout: Layout) -> tuple[Path, Path]:
    """Write docs/corpora/<corpus>.md and .png in the working folder and return their paths. Raises UserError for an invalid manifest."""
    text = card_text(layout)
    folder = layout.root / "docs" / "corpora"
    page, picture = folder / f"{layout.corpus}.md", folder / f"{layout.corpus}.png"
    with atomic_write(picture) as temporary:
        _draw(load_manifest(layout.manifest, clip=ListedClip), temporary)
    write_text(page, text)
    return page, picture


def card_text(layout: Layout) -> str:
    """The card as Markdown. It has a section on the stages' results if there are any."""
    manifest = load_manifest(layout.manifest, clip=ListedClip)
    about = read_card_text(layout.manifest / "card.yaml")
    _, _, notes = check_manifest(layout.manifest)
    parts = [part for part in PARTS if any(c.official_split == part for c in manifest.clips)]
    shared = {
        name: _find_shared(manifest, attribute)
        for name, attribute in (("songs", "song_id"), ("compilations", "video_id"))
    }
    dancers = [clip.dancers for clip in manifest.clips if clip.dancers]
    genres = Counter(song.genre for song in manifest.songs if song.genre)
    tempi = [song.tempo for song in manifest.songs if song.tempo]
    per_song = Counter(clip.song_id for clip in manifest.clips).values()
    facts = [
        ("compilations", str(len({c.video_id for c in manifest.clips}))),
        ("clips", str(len(manifest.clips))),
        ("songs", str(len({c.song_id for c in manifest.clips}))),
        ("clips per song", f"{min(per_song)} to {max(per_song)}, median {median(per_song):g}"),
        ("hours", _describe_hours(manifest.clips)),
        ("length of a clip", _describe_lengths(manifest.clips)),
        ("dancers", ", ".join(f"{n}: {k} clips" for n, k in sorted(Counter(dancers).items())) or "not known yet"),
        ("genres", ", ".join(f"{name} {k}" for name, k in sorted(genres.items())) or "not labelled"),
        ("tempo", f"{min(tempi):g} to {max(tempi):g} beats a minute" if tempi else "not known"),
        ("source", about.source or "not stated"),
        ("licence", about.licence),
    ]
    split = [
        (
            part or "none",
            *(str(len({getattr(c, a) for c in inside})) for a in ("clip_id", "song_id", "video_id")),
            _describe_hours(inside),
        )
        for part in parts
        if (inside := [c for c in manifest.clips if c.official_split == part])
    ]
    lines = [f"# Corpus card: {about.title or layout.corpus}", "", about.description, "", *_table(("", ""), facts)]
    lines += ["", "## Official split", "", *_table(("part", "clips", "songs", "compilations", "hours"), split), ""]
    lines += [
        f"{name.capitalize()} in more than one part: {len(found)}{' (' + ', '.join(found) + ')' if found else ''}."
        for name, found in shared.items()
    ]
    lines += ["", f"![Clips, songs and compilations]({layout.corpus}.png)", "", "## Known problems", ""]
    problems = [
        *about.known_problems,
        *(note.removeprefix(f"{layout.manifest}: ") for note in notes if "still missing" not in note),
    ]
    missing = [f"still missing: {line}" for line in find_missing_values(manifest)]
    lines += [f"- {line}" for line in (problems + missing) or ["none known"]]
    measured = _describe_measured(layout)
    lines += ["", "## Measured", "", *measured] if measured else []
    lines += ["", f"Written by `python -m dataset_tools.sources --corpus {layout.corpus} --card`; do not edit it."]
    return "\n".join(lines) + "\n"


def read_card_text(path: Path) -> CardText:
    """Read card.yaml; defaults if it does not exist. Raises UserError as `read_yaml`, and for unknown keys and wrong types."""
    if not path.is_file():
        return CardText()
    try:
        given: Any = read_yaml(path) or {}
        about = CardText(**given)
        if not isinstance(about.known_problems, list):
            raise TypeError("known_problems must be a list")
        for text in (about.title, about.description, about.source, about.licence, *about.known_problems):
            if not isinstance(text, str):
                raise TypeError(f"found '{printable(text)}' instead of a text")
    except TypeError as err:
        raise UserError(f"{path}: expected title, description, source, licence and known_problems: {err}") from None
    return about


def _find_shared(manifest: Manifest, attribute: str) -> list[str]:
    parts = {}
    for clip in manifest.clips:
        parts.setdefault(getattr(clip, attribute), set()).add(clip.official_split)
    return sorted(value for value, found in parts.items() if len(found) > 1)


def _describe_hours(clips) -> str:
    known = [clip.end - clip.start for clip in clips if clip.start is not None and clip.end is not None]
    segments = [clip.segments_2s for clip in clips if clip.segments_2s]
    if len(known) == len(clips):
        return f"{sum(known) / 3600:.3f}"
    if len(segments) == len(clips):
        return f"at least {SEGMENT_SECONDS * sum(segments) / 3600:.2f} ({sum(segments)} segments of 2 s)"
    return (
        f"{sum(known) / 3600:.3f} of {len(known)} clips; the others' times are not known yet"
        if known
        else "not known yet"
    )


def _describe_lengths(clips) -> str:
    known = sorted(clip.end - clip.start for clip in clips if clip.start is not None and clip.end is not None)
    segments = sorted(clip.segments_2s for clip in clips if clip.segments_2s)
    if known:
        some = (
            ""
            if len(known) == len(clips)
            else f" ({len(known)} of {len(clips)} clips; the others' times are not known yet)"
        )
        return f"{known[0]:.1f} to {known[-1]:.1f} s, median {median(known):.1f} s{some}"
    if segments:
        return f"{segments[0]} to {segments[-1]} segments of 2 s, median {median(segments):g}"
    return "not known yet"


def _table(header: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> list[str]:
    return [
        f"| {' | '.join(header)} |",
        f"|{'---|' * len(header)}",
        *(f"| {' | '.join(_cell(c) for c in row)} |" for row in rows),
    ]


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


def _describe_measured(layout: Layout) -> list[str]:
    """Lines about the stages' results: statuses, hours, and why clips dropped out."""
    rows = []
    lines: list[str] = []
    for stage in ("download", "clips", "pose", "i3d", "audio", "shards"):
        path = layout.stage(stage) / "rows.csv"
        if not path.is_file():
            continue
        found: list[Any] = read_records(path, ClipRow if stage == "clips" else Row)
        counts = Counter(row.status for row in found)
        others = ", ".join(f"{n} {status}" for status, n in sorted(counts.items()) if status != "ok")
        reasons = Counter(row.reason for row in found if row.status != "ok")
        rows.append(
            (
                stage,
                f"{counts['ok']} of {len(found)}",
                others or "none",
                "; ".join(f"{r} ({n})" for r, n in reasons.most_common(3)),
            )
        )
        if stage == "clips":
            ok = [row for row in found if row.status == "ok"]
            hours = sum(row.frames or 0 for row in ok) / FPS / 3600
            lines.append(f"Cut clips: {hours:.3f} hours, {len({row.song_id for row in ok})} songs.")
            gone = {row.song_id for row in found} - {row.song_id for row in ok}
            lines += [f"Songs that dropped out with all their clips: {', '.join(sorted(gone))}."] if gone else []
    return [*_table(("stage", "ok", "not", "most frequent reasons"), rows), "", *lines] if rows else []


def _draw(manifest: Manifest, path: Path) -> None:
    """Draw four plots, each by part of the official split: clip lengths, clips per song, clips per compilation, dancers."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 6), dpi=100, layout="constrained")
    FigureCanvasAgg(figure)
    grid: Any = figure.subplots(2, 2)
    axes = grid.ravel()
    parts = [part for part in PARTS if any(c.official_split == part for c in manifest.clips)]
    timed = any(c.start is not None for c in manifest.clips)

    def length(clip):
        if timed:
            return clip.end - clip.start if clip.start is not None else None
        return clip.segments_2s

    def histogram(axis, values_of, xlabel, *, whole=False):
        values = [
            [v for c in manifest.clips if c.official_split == p and (v := values_of(c)) is not None] for p in parts
        ]
        if any(values):
            bins = [n + 0.5 for n in range(max(map(max, filter(None, values))) + 1)] if whole else 20
            axis.hist(
                values,
                bins=bins,
                rwidth=0.9,
                stacked=True,
                color=[COLOURS[p] for p in parts],
                label=[p or "no part" for p in parts],
            )
            axis.locator_params(integer=True)
        else:
            axis.set(xticks=[], yticks=[])
            axis.text(0.5, 0.5, "not known yet", ha="center", va="center", transform=axis.transAxes)
        axis.set(xlabel=xlabel, ylabel="clips")

    def bars(axis, attribute, xlabel):
        total = Counter(getattr(c, attribute) for c in manifest.clips)
        order = [name for name, _ in sorted(total.items(), key=lambda item: (-item[1], item[0]))]
        base = [0] * len(order)
        for part in parts:
            counts = Counter(getattr(c, attribute) for c in manifest.clips if c.official_split == part)
            axis.bar(range(len(order)), [counts[n] for n in order], bottom=base, width=0.9, color=COLOURS[part])
            base = [b + counts[n] for b, n in zip(base, order, strict=True)]
        axis.set(
            xlabel=f"{xlabel} ({len(order)}, most used first)",
            ylabel="clips",
            ylim=(0, 1.05 * max(total.values(), default=1)),
        )
        axis.yaxis.get_major_locator().set_params(integer=True)
        axis.set_xticks(
            range(len(order)) if len(order) <= 20 else [], order if len(order) <= 20 else [], rotation=60, fontsize=7
        )

    histogram(axes[0], length, "length of a clip / s" if timed else "segments of 2 s in a clip", whole=not timed)
    bars(axes[1], "song_id", "songs")
    bars(axes[2], "video_id", "compilations")
    histogram(axes[3], lambda clip: clip.dancers, "dancers", whole=True)
    axes[0].legend(frameon=False)
    for axis in axes:
        axis.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, format="png", metadata={"Software": None})
