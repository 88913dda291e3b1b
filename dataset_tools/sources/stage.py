"""The stage `sources`: check the records of a corpus, and render or prepare its videos if configured."""

import dataclasses
import os
from itertools import islice, pairwise
from pathlib import Path

from dataset_tools.lib.core.cli import say
from dataset_tools.lib.core.errors import UserError
from dataset_tools.lib.core.layout import Layout
from dataset_tools.lib.core.limits import CLIP_SECONDS
from dataset_tools.lib.core.manifest import Manifest, is_web, limit_manifest, load_manifest, save_manifest, url_problem
from dataset_tools.lib.core.names import find_file
from dataset_tools.lib.core.schema import Row, Video, write_records
from dataset_tools.lib.parallel.worker_process import report_step
from dataset_tools.lib.parallel.workers import run_all
from dataset_tools.sources.params import Params

STAGE = "sources"
MAX_PRINTED = 20  # unusable clips that are printed


def resolve_url(video: Video, manifest_folder: Path, target: Path) -> Video:
    """The video with a local url relative to the folder `target` instead of the manifest's. Web addresses are unchanged.

    Raises UserError for an absolute path, a scheme other than http or https, and a path or a symbolic link that leads out of the
    manifest's folder. A missing file is no error here; its row of `download` will report it.
    """
    if problem := url_problem(video.url, manifest_folder):
        raise UserError(f"{manifest_folder / 'videos.csv'}: video {video.video_id}: {problem}")
    if not video.url or is_web(video.url):
        return video
    file = find_file(manifest_folder, video.url) or manifest_folder / video.url
    return dataclasses.replace(video, url=Path(os.path.relpath(file, target)).as_posix())


def collect(folder: Path, target: Path, params: Params) -> Manifest:
    """Read and check the manifest in `folder`, with urls relative to `target`. Nothing is rendered."""
    if params.render:
        from dataset_tools.demo.render.compilation import CompilationClip, CompilationVideo

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
    manifest = limit_manifest(manifest, videos=params.videos, clips_per_video=params.clips_per_video)
    if params.render:
        _check_rendered(manifest, folder)
        return manifest
    videos = tuple(resolve_url(video, folder, target) for video in manifest.videos)
    return dataclasses.replace(manifest, videos=videos)


def _check_rendered(manifest: Manifest, folder: Path) -> None:
    """Raise UserError for a manifest that can't be rendered: wrong urls, videos without clips, clips without times, beyond
    `CLIP_SECONDS` of their video or overlapping, songs of an unknown genre or tempo."""
    from dataset_tools.demo.music.songs import compose

    for video in manifest.videos:
        where, clips = f"{folder / 'videos.csv'}: video {video.video_id}", manifest.clips_of(video.video_id)
        if video.url != (expected := f"media/{video.video_id}.mp4"):
            raise UserError(f"{where}: url must be {expected} to be rendered")
        if not clips:
            raise UserError(f"{where}: no clip of clips.csv belongs to it, so there is nothing to render; leave it out")
        for clip in clips:
            if clip.start is None:
                raise UserError(f"{folder / 'clips.csv'}: clip {clip.clip_id}: start and end are needed to render it")
            if clip.end > CLIP_SECONDS:
                raise UserError(
                    f"{folder / 'clips.csv'}: clip {clip.clip_id}: a rendered video has {CLIP_SECONDS} s at most, found end {clip.end}"
                )
        for first, second in pairwise(sorted(clips, key=lambda clip: clip.start)):
            if second.start < first.end:
                raise UserError(
                    f"{folder / 'clips.csv'}: clips {first.clip_id} and {second.clip_id} overlap in {video.video_id}, which can't be rendered"
                )
    for song in manifest.songs:
        try:
            compose(0, song.genre, tempo=song.tempo, seconds=2)
        except UserError as err:
            raise UserError(f"{folder / 'songs.csv'}: song {song.song_id}: {err}") from None


def _render(job: tuple) -> int:
    from dataset_tools.demo.render.compilation import render_compilation

    video, clips, songs, target, seed = job
    return render_compilation(video, clips, songs, target, seed=seed, rendered=report_step)


def sources(layout: Layout, params: Params) -> Manifest:
    """Write data/<corpus>/sources. Raises UserError for an invalid manifest; nothing is written then."""
    target = layout.stage(STAGE)
    manifest = collect(layout.manifest, target, params)
    if params.render:
        from dataset_tools.demo.render.compilation import write_score

        songs = {song.song_id: song for song in manifest.songs}
        jobs = [(v, list(manifest.clips_of(v.video_id)), songs, target, params.seed) for v in manifest.videos]
        run_all(_render, jobs, params.workers, f"{STAGE}: rendering clips", steps=len(manifest.clips))
        for song in manifest.songs:
            write_score(target / "scores" / f"{song.song_id}.mid", song, params.seed)
    if params.annotated:
        from dataset_tools.lib.aist.corpus import prepare_corpus

        prepared = prepare_corpus(manifest, layout.root / params.annotated, target)
        manifest = prepared.manifest
        for line in (
            *prepared.messages,
            *(f"{clip_id}: {reason}" for clip_id, reason in islice(prepared.unusable.items(), MAX_PRINTED)),
        ):
            say(STAGE, line)
        table = target / "annotated.csv"
        if len(prepared.unusable) > MAX_PRINTED:
            say(STAGE, f"... and {len(prepared.unusable) - MAX_PRINTED} more, all in {table}")
        rows = [
            Row(
                id=c.clip_id,
                status="failed" if c.clip_id in prepared.unusable else "ok",
                reason=prepared.unusable.get(c.clip_id, ""),
            )
            for c in manifest.clips
        ]
        write_records(table, rows, Row)
    save_manifest(manifest, target)
    return manifest
