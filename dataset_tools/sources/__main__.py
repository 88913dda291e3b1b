"""sources: check the manifest of a corpus and write its records with URLs that resolve; render or prepare the videos if configured.

Writes videos.csv, clips.csv and songs.csv. Local files stay paths relative to videos.csv, so that all clones write the same
bytes. With `render`, the compilations described in the manifest are rendered to media/<video_id>.mp4, with ground truth in
truth/<clip_id>.npz and the songs' scores in scores/<song_id>.mid. With `annotated` (AIST++), a user's downloads are prepared;
annotated.csv says for every clip whether it is usable.

Other actions: `new NAME VIDEO...` starts a corpus from video files, `--check` and `--deep` look for errors in the manifest and
in the results of stages, `--card` writes the corpus card, and `import-annotations FILE` fills in a manifest from an annotation
sheet. See docs/corpora/README.md.
"""

import argparse
from pathlib import Path

from dataset_tools.lib.core.cli import layout_of, run, say, stage_parser
from dataset_tools.lib.core.errors import UserError
from dataset_tools.lib.core.layout import Layout
from dataset_tools.lib.core.manifest import find_missing_files, find_missing_values, load_manifest
from dataset_tools.lib.core.params import load_params
from dataset_tools.sources.params import Params
from dataset_tools.sources.stage import STAGE, sources


def import_sheet(layout: Layout, args: argparse.Namespace) -> int:
    """Fill in the manifest from an annotation sheet and print the results. Returns 1 if values conflict."""
    from dataset_tools.sources.annotations import import_annotations

    found = import_annotations(
        layout.manifest, args.file, sheet=args.sheet, mapping=args.map, by_order=args.by_order,
        fill_down=args.fill_down, replace=args.replace, dry_run=args.dry_run,
    )  # fmt: skip
    say(STAGE, "columns read: " + ", ".join(f"'{theirs}' as {ours}" for ours, theirs in found.used.items()))
    for line in (*found.notes, *(f"conflict: {conflict}" for conflict in found.conflicts)):
        say(STAGE, line)
    verb = "would fill in" if args.dry_run else "filled in"
    say(STAGE, f"{args.file}: {found.rows} rows; {verb} {found.counts()}; {found.same} values were there already")
    if found.conflicts:
        say(
            STAGE,
            f"{len(found.conflicts)} conflicts: correct one side (--replace takes the sheet's value, unless the sheet has several)",
        )
    for line in [] if args.dry_run else find_missing_values(load_manifest(layout.manifest)):
        say(STAGE, f"still missing: {layout.manifest / line}")
    return 1 if found.conflicts else 0


def check(layout: Layout, *, deep: bool) -> int:
    """Print the errors of the corpus, one line each. Returns 1 if there are any."""
    from dataset_tools.sources.check import check_corpus

    found = check_corpus(layout, deep=deep)
    for line in found.notes:
        say(STAGE, f"note: {line}")
    for line in found.problems:
        say(STAGE, f"error: {line}")
    say(STAGE, found.summary)
    return 1 if found.problems else 0


def card(layout: Layout) -> int:
    """Write the corpus's card to docs/corpora."""
    from dataset_tools.sources.card import write_card

    say(STAGE, f"wrote {' and '.join(map(str, write_card(layout)))}")
    return 0


def new(args: argparse.Namespace) -> int:
    """Begin a corpus from video files, and say what to do next."""
    from dataset_tools.sources.new_corpus import new_corpus

    if args.corpus:
        raise UserError("--corpus would change nothing: NAME is the new corpus; leave it out")
    cuts = set(args.cut)
    if "none" in cuts and len(cuts) > 1:
        raise UserError(f"--cut none with --cut {', '.join(sorted(cuts - {'none'}))}: give one or the other")
    for line in new_corpus(Layout(root=args.root, corpus=args.name), args.videos, cuts - {"none"}):
        say(STAGE, line)
    root = "" if args.root == Path(".") else f" --root {args.root}"
    say(
        STAGE,
        f"next: correct the tables by hand, then python -m dataset_tools.sources --corpus {args.name}{root} --check",
    )
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = stage_parser("dataset_tools.sources", __doc__)
    parser.add_argument("--check", action="store_true", help="look for errors in the manifest and the stages' results")
    parser.add_argument("--deep", action="store_true", help="the same, and open every file")
    parser.add_argument("--card", action="store_true", help="write docs/corpora/<corpus>.md with its plots")
    actions = parser.add_subparsers(dest="action", title="other than the stage itself")
    begin = actions.add_parser(
        "new", help="begin a corpus from video files",
        description="Write manifests/NAME/videos.csv, clips.csv and songs.csv from video files, to be corrected by hand, and a "
        "card.yaml. Files from elsewhere are copied to manifests/NAME/media. Clips in which one recording is heard get one song id.",
    )  # fmt: skip
    begin.add_argument("name", metavar="NAME", help="name of the new corpus")
    begin.add_argument("videos", nargs="+", metavar="VIDEO", help="a video file with audio")
    begin.add_argument("--root", type=Path, default=argparse.SUPPRESS, help="working folder")
    begin.add_argument(
        "--cut", choices=("none", "scenes", "silence"), action="append", default=[],
        help="cut videos into clips at scene changes, or at silences of half a second; may be repeated (default: none)",
    )  # fmt: skip
    sheet = actions.add_parser(
        "import-annotations", help="fill in a manifest from an annotation sheet (.csv or .xlsx)",
        description="Fill in urls, times and dancers of a manifest from an annotation sheet. Existing values are kept.",
    )  # fmt: skip
    sheet.add_argument("file", type=Path, metavar="FILE")
    sheet.add_argument("--corpus", default=argparse.SUPPRESS, help="corpus to fill in (default: tiktok)")
    sheet.add_argument("--root", type=Path, default=argparse.SUPPRESS, help="working folder")
    sheet.add_argument(
        "--map", action="append", default=[], metavar="THEIRS=OURS", help="role of a column; may be repeated"
    )
    sheet.add_argument("--sheet", default="", help="sheet of an .xlsx file that has several")
    sheet.add_argument(
        "--by-order",
        action="store_true",
        help="for a sheet in which no column names the clips: the rows are in the order of the clips",
    )
    sheet.add_argument("--fill-down", action="store_true", help="an empty video, song or url repeats the one above it")
    sheet.add_argument(
        "--replace", action="store_true", help="where sheet and manifest disagree, take the sheet's value"
    )
    sheet.add_argument("--dry-run", action="store_true", help="print what would happen, write nothing")
    return parser


def main(argv: list[str] | None = None) -> int:
    """Run the stage or another action."""
    args = _parser().parse_args(argv)
    if args.action == "new":
        return new(args)
    if args.action == "import-annotations":
        args.corpus = args.corpus or "tiktok"
        return import_sheet(layout_of(args), args)
    layout = layout_of(args)
    if args.check or args.deep or args.card:
        code = check(layout, deep=args.deep) if args.check or args.deep else 0
        return max(code, card(layout) if args.card else 0)
    made = sources(layout, load_params(layout.params, STAGE, Params))
    say(STAGE, f"{len(made.videos)} videos, {len(made.clips)} clips, {len(made.songs)} songs")
    for line in find_missing_values(made):
        say(STAGE, f"still missing: {layout.manifest / line}")
    if absent := find_missing_files(made.videos, layout.stage(STAGE)):
        say(
            STAGE,
            f"still missing: the files that the urls of {len(absent)} of {len(made.videos)} videos name ({', '.join(absent[:3])})",
        )
    return 0


if __name__ == "__main__":
    run(main)
