"""Music for videos of one's own: one file, or all of a folder."""

import tempfile
from collections.abc import Collection
from itertools import pairwise
from pathlib import Path

from d2m_model.generation.arguments import outputs
from d2m_model.generation.beats import write_beats
from d2m_model.generation.composing import Composer, Dance
from d2m_model.generation.finish import write_wav
from d2m_model.generation.mux import CONTAINERS, mux
from d2m_model.generation.own_video import Posed, read_dance, read_posed
from d2m_model.generation.settings import Params
from d2m_model.rhythm.model import load_rhythm
from dataset_tools.base.atomic import check_writable
from dataset_tools.base.cli import say
from dataset_tools.base.errors import UserError
from dataset_tools.base.layout import Layout
from dataset_tools.base.timebase import frames_to_seconds

VIDEOS = (".mp4", ".mov", ".mkv", ".webm", ".avi", ".m4v", ".mpg", ".mpeg", ".3gp", ".flv", ".wmv")
"""Names of videos in a folder; what is in them may be anything that FFmpeg reads."""


def read_for(composers: Collection[Composer], video: Path, layout: Layout) -> tuple[Posed, Dance]:
    """A video's dancers, and what the composers want of them: visual features only where one reads them, beats only where
    one follows them. Raises UserError as `read_dance` does, and where the corpus's rhythm is not trained."""
    streams = {composer.stream for composer in composers}
    rhythm = load_rhythm(layout.stage("rhythm") / "model.pt") if "beats" in streams else None
    with tempfile.TemporaryDirectory(prefix="d2m-") as scratch:
        posed = (read_posed if streams == {"beats"} else read_dance)(video, Path(scratch), layout)
    beats = rhythm.beats_of(posed.pose[:, 0]) if rhythm else None
    visual = getattr(posed, "visual", None)
    return posed, Dance(frames=len(posed.pose), size=posed.size, pose=posed.pose, visual=visual, beats=beats)


def told(dance: Dance) -> str:
    """What the rhythm found, for the line about a video."""
    if dance.beats is None:
        return ""
    tempo = f", {dance.beats.tempo:.0f} beats a minute" if dance.beats.tempo else ""
    style = f", most like {max(dance.beats.style, key=dance.beats.style.get)}" if dance.beats.style else ""
    return f"; {len(dance.beats.beats)} beats{tempo}{style}"


def generate_video(video: Path, outs: dict[str, Path], models: dict[str, Composer], layout: Layout, params: Params, *, beats: bool) -> None:
    """Make music for a video file: one output per level, a video (its picture unchanged) or a .wav; with `beats` a
    .json beside each.

    Raises UserError: no such file, not a video, an output of another kind or that can't be written.
    """
    posed, dance = read_for(set(models.values()), video, layout)
    seconds = frames_to_seconds(dance.frames)
    say("generate", f"{video.name}: {seconds:.1f} s, dancer seen in {posed.coverage:.0%} of the frames{told(dance)}")
    if posed.coverage == 0:
        say("generate", f"warning: nobody was found in {video.name}; the music follows nobody")
    for level, out in outs.items():
        audio = models[level].compose(dance, params)
        note = ""
        if out.suffix.lower() == ".wav":
            write_wav(out, audio)
        elif not mux(video, audio, out, delay=posed.begin):
            note = ", picture encoded again as H.264"
        if beats:
            write_beats(out.with_suffix(".json"), audio, sound=out.name, level=level, seed=params.seed, seconds=seconds)
        say("generate", f"{level}: {seconds:.1f} s of music -> {out}{note}")


def generate_folder(videos: Path, folder: Path, level: str, models: dict[str, Composer], layout: Layout, params: Params, *, beats: bool) -> None:
    """`generate_video` for every video of a folder, in the order of their names, under their names in another folder.

    Raises UserError: no video there, two of one name, the same folder twice; and at the end, when some failed.
    """
    found = sorted(f for f in videos.iterdir() if f.suffix.lower() in VIDEOS and f.is_file() and not f.name.startswith("."))
    if not found:
        raise UserError(f"{videos}: no video in this folder (looked for {', '.join(VIDEOS)})")
    twice = next((a for a, b in pairwise(sorted(f.stem for f in found)) if a == b), None)
    if twice:
        raise UserError(f"{videos}: two videos are called {twice}; rename one of them")
    if folder.is_file() or (folder.exists() and folder.samefile(videos)):
        raise UserError(f"{folder}: --out must be another folder when --video is one")
    check_writable(folder / found[0].name)
    failed = []
    for video in found:
        suffix = video.suffix.lower() if video.suffix.lower() in CONTAINERS else ".mp4"
        try:
            generate_video(video, outputs(folder / f"{video.stem}{suffix}", level), models, layout, params, beats=beats)
        except UserError as err:
            say("generate", f"failed: {err}")
            failed.append(video.name)
    if failed:
        raise UserError(f"{len(failed)} of {len(found)} videos failed: {', '.join(failed)}; the others are in {folder}")
