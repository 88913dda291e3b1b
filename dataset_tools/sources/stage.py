"""sources: check a corpus manifest and give its records with URLs that resolve; render the corpus where that is asked.

Writes videos.csv, clips.csv and songs.csv. A local file stays a path relative to videos.csv, so that two clones write
the same bytes. With `render`, the compilations that the manifest describes are rendered to media/<video_id>.mp4 with
their ground truth in truth/<clip_id>.npz and the songs' scores in scores/<song_id>.mid. With `annotated` (AIST++), a user's
downloads are checked: annotated.csv says of every clip whether they make it usable.

Instead of that, `--check` and `--deep` look for errors in the manifest and in what stages have made of it, `--card`
writes the corpus's card, and `import-annotations FILE` fills a manifest in from an annotation sheet: see
docs/corpora/README.md.
"""

import argparse
import dataclasses
import os
from dataclasses import dataclass
from itertools import islice, pairwise
from pathlib import Path

from dataset_tools.base.cli import layout_of, run, say, stage_parser
from dataset_tools.base.errors import UserError
from dataset_tools.base.layout import Layout
from dataset_tools.base.limits import CLIP_SECONDS
from dataset_tools.base.manifest import (
    Manifest,
    absent_files,
    is_web,
    limited,
    load_manifest,
    missing_values,
    save_manifest,
    url_problem,
)
from dataset_tools.base.names import find_file
from dataset_tools.base.params import load_params, require
from dataset_tools.base.schema import Row, Video, write_records
from dataset_tools.base.workers import run_all, step

STAGE = "sources"
SHOWN = 20  # unusable clips that are printed


@dataclass(frozen=True, kw_only=True)
class Params:
    """Section `sources` of params.yaml."""

    render: bool = False
    """Render the compilations from the manifest's further columns (see dataset_tools/demo) instead of finding them."""
    seed: int = 1
    """Of the rendering: another seed gives other songs, dancers and rooms at the same times."""
    annotated: str = ""
    """Folder, relative to the root, of a user's AIST++ downloads (see dataset_tools/aist/corpus.py); empty for others."""
    videos: int = 0
    """Use only the first so many videos; 0 = all."""
    clips_per_video: int = 0
    """Use only the first so many clips of each video; 0 = all."""
    workers: int = 2

    def __post_init__(self):
        require(self.videos >= 0, f"videos must be at least 0 (0 = all), found {self.videos}")
        require(
            self.clips_per_video >= 0, f"clips_per_video must be at least 0 (0 = all), found {self.clips_per_video}"
        )
        require(self.workers >= 1, f"workers must be at least 1, found {self.workers}")


def resolve_url(video: Video, manifest_folder: Path, target: Path) -> Video:
    """The video with a local URL counted from the folder `target` instead of the manifest's; web URLs are unchanged.

    Raises UserError: an absolute path, a scheme other than http or https, a path or a symbolic link that leads out of
    the manifest's folder. A file that is not there is no error: its row of `download` will say so.
    """
    if problem := url_problem(video.url, manifest_folder):
        raise UserError(f"{manifest_folder / 'videos.csv'}: video {video.video_id}: {problem}")
    if not video.url or is_web(video.url):
        return video
    file = find_file(manifest_folder, video.url) or manifest_folder / video.url
    return dataclasses.replace(video, url=Path(os.path.relpath(file, target)).as_posix())


def collect(folder: Path, target: Path, params: Params) -> Manifest:
    """Checked records of the manifest in `folder`, as `target` will hold them; rendered media are not made here."""
    if params.render:
        from dataset_tools.demo.compilation import CompilationClip, CompilationVideo

        try:
            manifest = load_manifest(folder, video=CompilationVideo, clip=CompilationClip)
        except UserError as err:
            if ".csv: column " not in str(err).removeprefix(str(folder)):
                raise
            raise UserError(
                f"{err}; params.yaml asks to render this corpus (sources.render): are these the parameters of another one?"
            ) from None
    else:
        manifest = load_manifest(folder)
    manifest = limited(manifest, videos=params.videos, clips_per_video=params.clips_per_video)
    if params.render:
        _check_rendered(manifest, folder)
        return manifest
    videos = tuple(resolve_url(video, folder, target) for video in manifest.videos)
    return dataclasses.replace(manifest, videos=videos)


def _check_rendered(manifest: Manifest, folder: Path) -> None:
    """Raise UserError for what can't be rendered: another place of a video, a video without clips, clips without times, past
    `CLIP_SECONDS` of their video or over each other, a song of an unknown genre or tempo."""
    from dataset_tools.demo.songs import compose

    for video in manifest.videos:
        where, clips = f"{folder / 'videos.csv'}: video {video.video_id}", manifest.clips_of(video.video_id)
        if video.url != (expected := f"media/{video.video_id}.mp4"):
            raise UserError(f"{where}: url must be {expected} to be rendered")
        if not clips:
            raise UserError(f"{where}: no clip of clips.csv is of it, so there is nothing to render; leave it out")
        for clip in clips:
            if clip.start is None:
                raise UserError(f"{folder / 'clips.csv'}: clip {clip.clip_id}: start and end are needed to render it")
            if clip.end > CLIP_SECONDS:
                raise UserError(f"{folder / 'clips.csv'}: clip {clip.clip_id}: a rendered video has {CLIP_SECONDS} s at most, found end {clip.end}")
        for first, second in pairwise(sorted(clips, key=lambda clip: clip.start)):
            if second.start < first.end:
                raise UserError(f"{folder / 'clips.csv'}: clips {first.clip_id} and {second.clip_id} share time of {video.video_id}, which can't be rendered")
    for song in manifest.songs:
        try:
            compose(0, song.genre, tempo=song.tempo, seconds=2)
        except UserError as err:
            raise UserError(f"{folder / 'songs.csv'}: song {song.song_id}: {err}") from None


def _render(job: tuple) -> int:
    from dataset_tools.demo.compilation import render_compilation

    video, clips, songs, target, seed = job
    return render_compilation(video, clips, songs, target, seed=seed, rendered=step)


def sources(layout: Layout, params: Params) -> Manifest:
    """Write data/<corpus>/sources. Raises UserError where the manifest breaks a rule; nothing is written then."""
    target = layout.stage(STAGE)
    manifest = collect(layout.manifest, target, params)
    if params.render:
        from dataset_tools.demo.compilation import write_score

        songs = {song.song_id: song for song in manifest.songs}
        jobs = [(v, list(manifest.clips_of(v.video_id)), songs, target, params.seed) for v in manifest.videos]
        run_all(_render, jobs, params.workers, f"{STAGE}: rendering clips", steps=len(manifest.clips))
        for song in manifest.songs:
            write_score(target / "scores" / f"{song.song_id}.mid", song, params.seed)
    if params.annotated:
        from dataset_tools.aist.corpus import prepare

        made = prepare(manifest, layout.root / params.annotated, target)
        manifest = made.manifest
        for line in (*made.said, *(f"{clip_id}: {reason}" for clip_id, reason in islice(made.unfit.items(), SHOWN))):
            say(STAGE, line)
        table = target / "annotated.csv"
        if len(made.unfit) > SHOWN:
            say(STAGE, f"... and {len(made.unfit) - SHOWN} more, all in {table}")
        rows = [Row(id=c.clip_id, status="failed" if c.clip_id in made.unfit else "ok", reason=made.unfit.get(c.clip_id, "")) for c in manifest.clips]
        write_records(table, rows, Row)
    save_manifest(manifest, target)
    return manifest


def import_sheet(layout: Layout, args: argparse.Namespace) -> int:
    """Fill the manifest in from an annotation sheet and say all that became of it; 1 where values disagree."""
    from dataset_tools.corpus.annotations import import_annotations

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
        say(STAGE, f"{len(found.conflicts)} conflicts: correct one side (--replace takes the sheet's value where it says only one)")
    for line in [] if args.dry_run else missing_values(load_manifest(layout.manifest)):
        say(STAGE, f"still missing: {layout.manifest / line}")
    return 1 if found.conflicts else 0


def check(layout: Layout, *, deep: bool) -> int:
    """Say what is wrong with the corpus, one line each; 1 where anything is."""
    from dataset_tools.corpus.check import check_corpus

    found = check_corpus(layout, deep=deep)
    for line in found.notes:
        say(STAGE, f"note: {line}")
    for line in found.problems:
        say(STAGE, f"error: {line}")
    say(STAGE, found.summary)
    return 1 if found.problems else 0


def card(layout: Layout) -> int:
    """Write the corpus's card to docs/corpora."""
    from dataset_tools.corpus.card import write_card

    say(STAGE, f"wrote {' and '.join(map(str, write_card(layout)))}")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = stage_parser("dataset_tools.sources", __doc__)
    parser.add_argument("--check", action="store_true", help="look for errors in the manifest and the stages' results")
    parser.add_argument("--deep", action="store_true", help="the same, and open every file there is")
    parser.add_argument("--card", action="store_true", help="write docs/corpora/<corpus>.md with its plots")
    actions = parser.add_subparsers(dest="action", title="other than the stage itself")
    sheet = actions.add_parser(
        "import-annotations", help="fill a manifest in from an annotation sheet (.csv or .xlsx)",
        description="Fill urls, times and dancers of a manifest in from an annotation sheet; what is there is kept.",
    )  # fmt: skip
    sheet.add_argument("file", type=Path, metavar="FILE")
    sheet.add_argument("--corpus", default=argparse.SUPPRESS, help="corpus to fill in (default: tiktok)")
    sheet.add_argument("--root", type=Path, default=argparse.SUPPRESS, help="working folder")
    sheet.add_argument("--map", action="append", default=[], metavar="THEIRS=OURS", help="what a column is; may be repeated")
    sheet.add_argument("--sheet", default="", help="sheet of an .xlsx file (default: its first)")
    sheet.add_argument("--by-order", action="store_true", help="no column names the clips: rows stand in their order")
    sheet.add_argument("--fill-down", action="store_true", help="an empty video, song or url is the one above it")
    sheet.add_argument("--replace", action="store_true", help="where sheet and manifest disagree, take the sheet's value")
    sheet.add_argument("--dry-run", action="store_true", help="say what would happen, write nothing")
    return parser


def main(argv: list[str] | None = None) -> int:
    """Run the stage, or what else is asked for."""
    args = _parser().parse_args(argv)
    if args.action == "import-annotations":
        args.corpus = args.corpus or "tiktok"
        return import_sheet(layout_of(args), args)
    layout = layout_of(args)
    if args.check or args.deep or args.card:
        code = check(layout, deep=args.deep) if args.check or args.deep else 0
        return max(code, card(layout) if args.card else 0)
    made = sources(layout, load_params(layout.params, STAGE, Params))
    say(STAGE, f"{len(made.videos)} videos, {len(made.clips)} clips, {len(made.songs)} songs")
    for line in missing_values(made):
        say(STAGE, f"still missing: {layout.manifest / line}")
    if absent := absent_files(made.videos, layout.stage(STAGE)):
        say(STAGE, f"still missing: the files that the urls of {len(absent)} of {len(made.videos)} videos name ({', '.join(absent[:3])})")
    return 0


if __name__ == "__main__":
    run(main)
